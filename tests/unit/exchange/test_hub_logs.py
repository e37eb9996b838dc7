"""The log of a hub says what happened and to whom, and nothing of what was carried."""

import json
import logging
import subprocess
import sys

import pytest

from vnedoc.exchange.hub.logs import JSONFormatter, TextFormatter


def record(*, error=None, **fields):
    made = logging.getLogger("vnedoc.hub.TEST").makeRecord(
        "vnedoc.hub.TEST", logging.WARNING, __file__, 1, "a %s", ("word",), None, extra=fields
    )
    if error is not None:
        made.exc_info = (type(error), error, error.__traceback__)
    return made


def test_a_line_is_one_object():
    line = JSONFormatter().format(record(system="TEST.A", status=200, address=None))
    assert "\n" not in line
    fields = json.loads(line)
    assert fields["message"] == "a word"
    assert (fields["system"], fields["status"], fields["address"]) == ("TEST.A", 200, None)
    assert fields["level"] == "warning"
    assert fields["time"].endswith("+00:00")


def test_as_words():
    line = TextFormatter().format(record(system="TEST.A", address=None))
    assert " a word " in line
    assert line.endswith("system=TEST.A")


@pytest.mark.parametrize("formatter", [JSONFormatter(), TextFormatter()])
def test_the_words_of_an_exception_are_kept_out(formatter):
    try:
        try:
            raise ValueError("Nguyễn TEST")
        except ValueError as inner:
            raise RuntimeError("Quyết định TEST") from inner
    except RuntimeError as error:
        line = formatter.format(record(error=error))
    assert "TEST" not in line.replace("vnedoc.hub.TEST", "").replace("test_hub_logs", "")
    assert "builtins.RuntimeError < builtins.ValueError" in line
    assert "test_the_words_of_an_exception_are_kept_out" in line


_LIBRARIES = """
import logging
from python_multipart.multipart import MultipartParser
from vnedoc.exchange.hub.logs import log_to

log_to(form="FORM")
try:
    MultipartParser(b"-").write(b"---x SAID BY A STRANGER")
except ValueError:
    pass
logging.getLogger("TEST.somebody").warning("SAID BY A STRANGER")
logging.getLogger("TEST.somebody").error("SAID BY A STRANGER %s", "TOO")
logging.getLogger("vnedoc.hub").warning("ours")
"""


@pytest.mark.parametrize("form", ["json", "text"])
def test_what_libraries_say_is_no_line_without_a_form_and_not_told_word_for_word(form):
    ended = subprocess.run(
        [sys.executable, "-c", _LIBRARIES.replace("FORM", form)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    library, ours = ended.stderr.splitlines()
    assert "SAID BY A STRANGER" not in ended.stderr
    if form == "json":
        said = json.loads(library)
        assert (said["level"], said["logger"], said["message"]) == (
            "error",
            "TEST.somebody",
            "a library reports an error",
        )
        assert said["line"] == "<string>:12"
        assert json.loads(ours)["message"] == "ours"
    else:
        assert " error TEST.somebody a library reports an error " in library
        assert " ours" in ours
