"""Errors: a stable code, one sentence in two languages, an exit code, and a way across processes."""

import inspect
import pickle

import pytest

from vnedoc import errors
from vnedoc.errors import ExitCode

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.VnedocError) and kind is not errors.VnedocError
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_an_exit_code_of_the_table(kind: type[errors.VnedocError]) -> None:
    assert kind.exit_code in set(ExitCode) - {ExitCode.DONE}
    assert kind.__name__.endswith("Error")
    assert kind.__name__ in errors.__all__


def test_an_error_speaks_both_languages() -> None:
    error = errors.CredentialError("signer.wrong-passphrase", path="a.p12")
    assert str(error) == "The passphrase of the key file a.p12 is wrong."
    assert error.text("vi") == "Mật khẩu của tệp khóa a.p12 không đúng."
    assert error.hint("vi")
    assert error.exit_code is ExitCode.CONFIGURATION
    assert not error.retryable


def test_an_error_crosses_processes() -> None:
    error = errors.TimestampError("timestamp.http-status", url="http://tsa.test", status=503)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is errors.TimestampError
    assert (again.code, again.values, str(again)) == (error.code, error.values, str(error))
    assert again.retryable


def test_the_tree_at_the_top_of_the_module_names_every_error() -> None:
    assert errors.__doc__ is not None
    for kind in KINDS:
        assert kind.__name__ in errors.__doc__
