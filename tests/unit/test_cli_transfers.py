"""Progress of transfers: on a terminal, for long ones, and nowhere else."""

import io
import sys

import pytest

from vnedoc._cli._transfers import terminal_progress
from vnedoc._cli.main import CLIState
from vnedoc._internal import transfers

MEGABYTE = 1024 * 1024


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def open_terminal(monkeypatch):
    """A function that puts a terminal in the place of standard error; pytest changes it before each test."""

    def open_terminal():
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys, "stderr", Terminal())
        return sys.stderr

    return open_terminal


def move(size, *, told=True, verbosity=0):
    with (
        terminal_progress(CLIState(verbosity=verbosity)) as progress,
        progress.transfer("15/UBND-TEST", size if told else None) as tell,
        transfers.watched(tell),
    ):
        for _ in range(4):
            transfers.moved(size // 4)


@pytest.mark.parametrize("told", [True, False])
def test_a_long_transfer_is_shown(open_terminal, told):
    terminal = open_terminal()
    move(8 * MEGABYTE, told=told)
    assert "15/UBND-TEST" in terminal.getvalue()


def test_a_short_one_is_not(open_terminal):
    terminal = open_terminal()
    move(100_000)
    assert terminal.getvalue() == ""


def test_neither_is_any_that_nobody_wants_to_see(open_terminal):
    terminal = open_terminal()
    move(8 * MEGABYTE, verbosity=-1)
    assert terminal.getvalue() == ""


def test_a_log_gets_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    move(8 * MEGABYTE)
    assert sys.stderr.getvalue() == ""


def test_names_of_strangers_are_no_markup(open_terminal):
    terminal = open_terminal()
    with terminal_progress(CLIState()) as progress, progress.transfer("[red]\x1b[2J", None) as tell:
        tell(8 * MEGABYTE)
    assert "\x1b[2J(" not in terminal.getvalue()
    assert "(red]" in terminal.getvalue()


def test_who_does_not_watch_is_not_told():
    told = []
    transfers.moved(1)
    with transfers.watched(told.append):
        transfers.moved(2)
        transfers.moved(3)
    transfers.moved(4)
    assert told == [2, 3]
