"""Rings of documents that answer each other are found, in bounded time."""

import pytest

from tests import edxml
from vnedoc.exchange.codes import BusinessKind
from vnedoc.exchange.models import Business, DocumentHeader, ReplacementInfo, ResponseFor
from vnedoc.exchange.package import read_package
from vnedoc.exchange.threads import MAX_RINGS, earlier_documents, find_rings
from vnedoc.exchange.validation import find_thread_faults, validate_package


def named(own: str, *answered: str, **changes: object) -> DocumentHeader:
    return edxml.document(
        document_id=own, response_for=tuple(ResponseFor(document_id=item) for item in answered), **changes
    )


@pytest.mark.parametrize(
    ("links", "rings"),
    [
        ({"a": "", "b": "a", "c": "ab"}, []),
        ({"a": "a"}, ["a"]),
        ({"a": "b", "b": "a"}, ["ab"]),
        ({"a": "b", "b": "c", "c": "a"}, ["abc"]),
        ({"a": "b", "b": "c", "c": "b"}, ["bc"]),
        ({"a": "x", "b": "xy"}, []),
        ({"a": "bc", "b": "d", "c": "d", "d": ""}, []),
    ],
)
def test_rings(links: dict[str, str], rings: list[str]) -> None:
    found = find_rings(named(own, *answered) for own, answered in links.items())
    assert ["".join(ring) for ring in found] == rings


def test_a_replacement_counts_and_an_order_about_a_document_does_not() -> None:
    replaced = Business.replace(ReplacementInfo("b"))
    assert earlier_documents(named("a", "c", business=replaced)) == ("c", "b")
    recall = Business(BusinessKind.RECALL, "r", "a")
    assert earlier_documents(named("a", "a", business=recall)) == ()


def test_a_long_thread_and_a_dense_one_end() -> None:
    count = 20_000
    chain = [named(str(number), str(number + 1)) for number in range(count)]
    assert find_rings(chain) == ()
    ring = [*chain[:-1], named(str(count - 1), "0")]
    assert len(find_rings(ring)[0]) == count
    dense = [named(str(number), *(str(other) for other in range(60))) for number in range(60)]
    assert len(find_rings(dense)) == MAX_RINGS


def test_a_package_that_answers_itself_is_reported_with_its_line() -> None:
    answer = (
        f"<edXML:ResponseFor><edXML:DocumentId>{edxml.DOCUMENT_ID}</edXML:DocumentId></edXML:ResponseFor>"
    )
    content = edxml.package(edxml.attached("a.pdf", edxml.PDF), header="\n\n" + answer)
    report = validate_package(read_package(content, folder=None))
    (finding,) = [item for item in report.errors if item.id == "edxml.answers-itself"]
    assert finding.line == 1
    assert edxml.DOCUMENT_ID in finding.text("vi")


def test_packages_in_a_ring_are_reported() -> None:
    def package(own: str, answered: str) -> bytes:
        answer = f"<edXML:ResponseFor><edXML:DocumentId>{answered}</edXML:DocumentId></edXML:ResponseFor>"
        content = edxml.package(edxml.attached("a.pdf", edxml.PDF), header="\n" + answer)
        return content.replace(edxml.DOCUMENT_ID.encode(), own.encode())

    packages = {
        own: read_package(package(own, answered), folder=None)
        for own, answered in {"A": "B", "B": "A", "C": "A"}.items()
    }
    faults = find_thread_faults(packages)
    assert set(faults) == {"A", "B"}
    assert [(item.id, item.line) for item in faults["A"]] == [("edxml.cyclic-response", 2)]
    assert "A → B → A" in faults["B"][0].text("en")
