"""The entry point: global options, commands loaded on demand, errors turned into one sentence and an exit code."""

from __future__ import annotations

import dataclasses
import importlib
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from vnedoc import messages
from vnedoc._cli._figures import number_text, size_text
from vnedoc._internal.version import VERSION
from vnedoc.errors import ExitCode, VnedocError

if TYPE_CHECKING:
    from vnedoc.config import Config

__all__ = ["CLIState", "cli", "run"]

# Where each command lives; its module is imported when it is called, so that `--version` is instant.
COMMANDS = {
    "complete": "vnedoc._cli.prepare:complete",
    "config": "vnedoc._cli.config:config",
    "demo": "vnedoc._cli.demo:demo",
    "directory": "vnedoc._cli.directory:directory",
    "doctor": "vnedoc._cli.doctor:doctor",
    "extend": "vnedoc._cli.extend:extend",
    "hub": "vnedoc._cli.hub:hub",
    "inspect": "vnedoc._cli.inspect:inspect",
    "pack": "vnedoc._cli.package:pack",
    "pki": "vnedoc._cli.pki:pki",
    "prepare": "vnedoc._cli.prepare:prepare",
    "recall": "vnedoc._cli.orders:recall",
    "receive": "vnedoc._cli.exchange:receive",
    "replace": "vnedoc._cli.orders:replace",
    "reply": "vnedoc._cli.exchange:reply",
    "retry": "vnedoc._cli.worker:retry",
    "send": "vnedoc._cli.exchange:send",
    "sign": "vnedoc._cli.sign:sign",
    "signer": "vnedoc._cli.signer:signer",
    "status": "vnedoc._cli.status:status",
    "store": "vnedoc._cli.store:store",
    "trust": "vnedoc._cli.trust:trust",
    "unpack": "vnedoc._cli.package:unpack",
    "update": "vnedoc._cli.orders:update",
    "validate": "vnedoc._cli.package:validate",
    "verify": "vnedoc._cli.verify:verify",
    "worker": "vnedoc._cli.worker:worker",
}
# As shells say of a program that SIGINT (2) has ended.
STOPPED = 130


@dataclasses.dataclass(slots=True)
class CLIState:
    """What the global options say; commands find it as the object of click's context."""

    language: str = "vi"
    config_path: Path | None = None
    verbosity: int = 0
    _config: Config | None = None

    def config(self) -> Config:
        """Return the settings; they are read when a command first asks for them.

        Raises:
            ConfigurationError: The settings are unreadable or wrong.
        """
        if self._config is None:
            from vnedoc.config import load_config

            self._config = load_config(self.config_path)
        return self._config

    def text(self, message_id: str, /, **values: object) -> str:
        """Return a message in the user's language."""
        return messages.text(message_id, self.language, **values)

    def number(self, number: int) -> str:
        """Return a number with its thousands apart, as the user's language writes it."""
        return number_text(number, self.language)

    def size(self, count: int) -> str:
        """Return a number of bytes as people read it."""
        return size_text(count, self.language)


class _CommandsOnDemand(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's shape
    if value and not ctx.resilient_parsing:
        click.echo(f"vnedoc {VERSION}")
        ctx.exit()


@click.command(
    cls=_CommandsOnDemand, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="Settings file (default: vnedoc.toml)."
)
@click.option(
    "--lang",
    "language",
    type=click.Choice(["vi", "en"]),
    envvar="VNEDOC_LANG",
    default="vi",
    show_default=True,
    help="Language of messages.",
)
@click.option(
    "-v", "--verbose", count=True, help="Say more of what is done; twice shows where a bug happened."
)
@click.option("-q", "--quiet", is_flag=True, help="Say less: no progress, no warnings of the log.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version.",
)
@click.pass_context
def cli(ctx: click.Context, *, config_path: Path | None, language: str, verbose: int, quiet: bool) -> None:
    """Sign, verify and exchange the administrative documents of Vietnamese state agencies.

    \b
    Exit codes: 0 done, every signature TOTAL-PASSED · 1 the answer is no · 2 wrong usage ·
    3 cannot tell · 4 an input cannot be read · 5 configuration, credential, missing extra ·
    6 network or remote trouble, try again · 7 the other side refused · 70 a bug of ours ·
    130 stopped by whoever runs it (Ctrl+C).
    """
    state = ctx.ensure_object(CLIState)
    state.language, state.config_path, state.verbosity = language, config_path, -1 if quiet else verbose
    _log_to_stderr(state.verbosity)
    if ctx.get_parameter_source("language") is ParameterSource.DEFAULT:
        state.language = state.config().language or language


def _log_to_stderr(verbosity: int) -> None:
    """Let our own loggers speak; those of libraries stay silent, because they may log what we never would."""
    levels = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
    logger = logging.getLogger("vnedoc")
    logger.handlers = [logging.StreamHandler(sys.stderr)]
    logger.setLevel(levels.get(verbosity, logging.DEBUG))
    logger.propagate = False


def run() -> None:
    """Run the command line and end the process."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show Vietnamese must not end the work half-way.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # always a TextIOWrapper here
    sys.exit(call(sys.argv[1:]))


def call(arguments: list[str]) -> int:
    """Run one command and return its exit code; no error leaves it as a traceback."""
    logger = logging.getLogger("vnedoc")
    before = logger.handlers, logger.level, logger.propagate
    try:
        return _call(arguments)
    finally:
        # A program that calls commands has a log of its own.
        logger.handlers, logger.level, logger.propagate = before


def _call(arguments: list[str]) -> int:
    state = CLIState(language=_language_of(arguments))
    try:
        result = cli.main(args=arguments, prog_name="vnedoc", standalone_mode=False, obj=state)
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.Abort:
        click.echo(messages.text("cli.aborted", state.language), err=True)
        return STOPPED
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except VnedocError as exc:
        _show(exc, state.language)
        return exc.exit_code
    except Exception as exc:  # noqa: BLE001 - the edge of the program: a bug becomes a sentence and code 70
        click.echo(
            messages.text("cli.bug", state.language, kind=type(exc).__name__, reason=str(exc)), err=True
        )
        if "-vv" in arguments:
            traceback.print_exception(exc)
        return ExitCode.BUG
    return int(result) if isinstance(result, int) else ExitCode.DONE


def _show(error: VnedocError, language: str) -> None:
    click.echo(messages.text("cli.error", language, text=error.text(language)), err=True)
    hint = error.hint(language)
    if hint:
        click.echo(f"  {hint}", err=True)


def _language_of(arguments: list[str]) -> str:
    """Tell the language before click has read the options: an error in the options needs one, too."""
    language = os.environ.get("VNEDOC_LANG", "vi")
    for position, argument in enumerate(arguments):
        if argument == "--lang" and position + 1 < len(arguments):
            language = arguments[position + 1]
        elif argument.startswith("--lang="):
            language = argument.removeprefix("--lang=")
    return language if language in {"vi", "en"} else "vi"
