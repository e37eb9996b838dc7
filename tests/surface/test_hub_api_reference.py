"""The page on the administration API is the one that its description makes, and that says all there is to say."""

from tests.surface.hub_api_reference import PATH, render
from vnedoc.exchange.hub.admin import describe


def test_the_reference_of_the_administration_api_is_up_to_date() -> None:
    assert PATH.read_text(encoding="utf-8") == render(), "run `make docs`"


def test_every_call_says_its_role_and_every_field_what_it_is() -> None:
    document = describe()
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            assert call["description"].split("Role: ")[1].split(".")[0] in {"viewer", "operator", "admin"}
            assert call["security"] == [{"token": []}], (method, path)
            for status, answer in call["responses"].items():
                if status >= "4":
                    assert list(answer["content"]) == ["application/problem+json"], (method, path, status)
    for name, schema in document["components"]["schemas"].items():
        for field, kind in schema.get("properties", {}).items():
            assert kind.get("description"), f"{name}.{field}"
