"""A small package in memory is read by another way than a stream; both say the same of it, whatever it is."""

import io
import random

import pytest

from tests import edxml
from tests.fuzz.fuzz_package import LIMITS, seeds
from vnedoc._internal.xml import StreamTarget, XMLRefusedError, parse_into, parse_whole_into
from vnedoc.errors import PackageError
from vnedoc.exchange.package import read_package

BITS = [
    *[
        b"<",
        b"&",
        b"&amp;",
        b"&#38;",
        b"&#x26;#38;",
        b"&TEST;",
        b"</edXML>",
        b"\0",
        b"<a>",
        b"<a b='&#38;'/>",
        b"]]>",
    ],
    *[
        b"<![CDATA[<x>&amp;]]>",
        b"<!-- TEST -->",
        b"<?TEST x?>",
        b"<!DOCTYPE edXML>",
        b"\xff",
        b"\xc3\xa1",
        b"\r\n",
    ],
]
WHOLE = edxml.package(
    edxml.attached("a.pdf", edxml.PDF), header='<edXML:Odd a="1 &amp; 2">a<b/>c</edXML:Odd>'
)
CASES = {
    "clean": WHOLE,
    "comments and instructions": WHOLE.replace(b"a<b/>c", b"a<!-- x -->b<?y z?>c<b>d</b>e<!-- f -->g"),
    "comment in a value": WHOLE.replace(b"<edXML:OrganId>", b"<edXML:OrganId><!-- x -->", 1),
    "CDATA": WHOLE.replace(b"a<b/>c", b"<![CDATA[a & <b>]]>c"),
    "references in attributes": WHOLE.replace(b"1 &amp; 2", b"&#38; &amp;#38; &#x26;amp; &lt;"),
    "text behind": WHOLE + b"TEST",
    "an element behind": WHOLE + b"<TEST/>",
    "a comment behind": WHOLE + b"<!-- TEST -->",
    "line ends": WHOLE.replace(b"><", b">\r\n<"),
    "UTF-16": WHOLE.decode().replace("UTF-8", "UTF-16").replace("utf-8", "UTF-16").encode("utf-16"),
    "bytes before": b"\xef\xbb\xbf" + WHOLE,
    "DTD": WHOLE.replace(b"?>", b"?><!DOCTYPE edXML [<!ENTITY a 'TEST'>]>", 1),
    "entity": WHOLE.replace(b"a<b/>c", b"&nbsp;"),
    "cut": WHOLE[:-20],
    "deep": WHOLE.replace(b"a<b/>c", b"<a>" * 200 + b"</a>" * 200),
    "deeper than the parser goes": WHOLE.replace(b"a<b/>c", b"<a>" * 3000 + b"</a>" * 3000),
    "much text": WHOLE.replace(b"a<b/>c", b"TEST " * 400_000),
    "two contents": WHOLE.replace(b"</edXML:ContentTransferEncoded>", b"<a/></edXML:ContentTransferEncoded>"),
    "nothing": b"",
    "no XML": b"TEST",
}


def outcome(source):
    try:
        return read_package(source, folder=None, limits=LIMITS, lines=False)
    except PackageError as error:
        return error.code, {name: value for name, value in error.values.items() if name != "path"}


def damaged(content, seed):
    chance = random.Random(seed)
    damaged = bytearray(content)
    for _ in range(chance.randint(1, 5)):
        place = chance.randrange(len(damaged))
        match chance.randrange(3):
            case 0:
                damaged[place] ^= 1 << chance.randrange(8)
            case 1:
                del damaged[place : place + chance.randint(1, 60)]
            case _:
                damaged[place:place] = chance.choice(BITS)
    return bytes(damaged)


@pytest.mark.parametrize("content", CASES.values(), ids=CASES)
def test_odd_packages_are_read_alike(content):
    assert outcome(content) == outcome(io.BytesIO(content))


def test_the_end_of_a_cdata_section_is_no_text_wherever_it_stands():
    # The parser that reads a whole text at once finds it at most places only.
    long = edxml.package(edxml.attached("a.pdf", b"%PDF-1.7 TEST " * 300))
    start = long.index(b"JVBERi0xLjcgVEVTVC")
    for place in range(start, start + 4000, 7):
        content = long[:place] + b"]]>" + long[place:]
        assert outcome(content) == outcome(io.BytesIO(content)), place
        assert outcome(content)[0] == "edxml.not-xml"


def test_the_other_way_is_taken(monkeypatch):
    monkeypatch.setattr("vnedoc.exchange._edxml.reader.parse_into", None)
    assert outcome(WHOLE).sha256
    with pytest.raises(TypeError):
        outcome(io.BytesIO(WHOLE))


@pytest.mark.parametrize("number", range(len(seeds())))
def test_damaged_packages_are_read_alike(number):
    content = seeds()[number]
    assert outcome(content) == outcome(io.BytesIO(content))
    for seed in range(40):
        broken = damaged(content, f"{number} {seed}")
        assert outcome(broken) == outcome(io.BytesIO(broken)), seed


class Told(StreamTarget):
    """Keeps what it is told, with texts that follow each other as one."""

    def __init__(self):
        self.events = []

    def start(self, tag, attributes):
        self.events.append(("start", tag, dict(attributes)))

    def end(self, tag):
        self.events.append(("end", tag))

    def data(self, text):
        if self.events and self.events[-1][0] == "data":
            text = self.events.pop()[1] + text
        self.events.append(("data", text))

    def close(self):
        self.events.append("close")


@pytest.mark.parametrize(
    "name", ["clean", "comments and instructions", "CDATA", "references in attributes", "line ends"]
)
def test_a_target_is_told_the_same(name):
    whole, streamed = Told(), Told()
    parse_whole_into(whole, CASES[name])
    parse_into(streamed, [CASES[name]])
    assert whole.events == streamed.events


@pytest.mark.parametrize("name", ["DTD", "entity", "cut", "text behind", "deeper than the parser goes"])
def test_a_target_is_told_nothing_of_what_is_refused(name):
    whole = Told()
    with pytest.raises(XMLRefusedError):
        parse_whole_into(whole, CASES[name])
    assert whole.events == []
