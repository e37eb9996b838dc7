"""What is public: named in an ``__all__``, there, documented, and loaded lazily at the top."""

import importlib
import inspect
import pkgutil
import types

import pytest

import vnedoc

MODULES = [
    module.name
    for module in pkgutil.walk_packages(vnedoc.__path__, "vnedoc.")
    if not any(part.startswith("_") for part in module.name.split(".")) and ".migrations" not in module.name
]


@pytest.mark.parametrize("name", MODULES)
def test_a_public_module_names_what_is_public_and_documents_it(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, "a module says its one job"
    public = getattr(module, "__all__", None)
    if public is None:
        defined = [
            item
            for item, value in vars(module).items()
            if not item.startswith("_") and getattr(value, "__module__", None) == name
        ]
        assert defined == [], "a module that defines names lists the public ones"
        return
    for item in public:
        value = getattr(module, item)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{name}.{item} has no docstring"


def test_everything_at_the_top_is_there() -> None:
    for name in vnedoc.__all__:
        value = getattr(vnedoc, name)
        assert not isinstance(value, types.ModuleType)
    assert set(vnedoc.__all__) <= set(dir(vnedoc))


def test_there_is_nothing_else_at_the_top() -> None:
    with pytest.raises(AttributeError, match="no attribute 'sign_word'"):
        vnedoc.sign_word  # noqa: B018 - the access is the test
