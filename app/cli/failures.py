"""How a failure ends a command: the reason on stderr, an exit code, never a traceback."""

import os
from typing import Any

import typer
from typer.core import TyperGroup

from app.cli.output import json_text
from app.cli.suggestions import suggest
from embeddings.errors import Conflict, FootnoteError, InvalidInput, NotFound

EXIT_FAILURE = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

_BAD_INPUT = (InvalidInput, NotFound, Conflict)
# Click's UsageError, whether typer uses click or brings its own.
_USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]


class FootnoteGroup(TyperGroup):
    """The root of the commands, where every expected failure ends."""

    def invoke(self, ctx: Any) -> Any:
        as_json = "--json" in ctx.args
        try:
            return super().invoke(ctx)
        except FootnoteError as error:
            found = suggest(error)
            typer.echo(json_text(failure_fields(found)) if as_json else describe(found), err=True)
            raise typer.Exit(exit_code(found)) from error
        except _USAGE_ERROR as error:
            if not as_json:
                raise
            typer.echo(json_text(_usage_fields(error)), err=True)
            raise typer.Exit(EXIT_BAD_INPUT) from error
        except KeyboardInterrupt:
            typer.echo("Stopped.", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except OSError as error:
            if isinstance(error, BrokenPipeError):  # `footnote ... | head`: typer ends it quietly
                raise
            message = f"{error.strerror or error}{_place(error)}"
            told = json_text(_fields("os_error", message)) if as_json else f"error: {message}"
            typer.echo(told, err=True)
            raise typer.Exit(EXIT_FAILURE) from error


def describe(error: FootnoteError) -> str:
    """The message, then what was found, what is expected and what to do, a line each."""
    details = {
        "field": error.field,
        "found": error.found,
        "expected": error.expected,
        "next": error.next_step,
    }
    lines = [f"  {name + ':':<10}{value}" for name, value in details.items() if value is not None]
    return "\n".join([f"error: {error.message}", *lines])


def failure_fields(error: FootnoteError) -> dict[str, object]:
    """The same for programs, with `--json`."""
    return _fields(error.code, error.message, error.field, error.found, error.expected, error.next_step)


def exit_code(error: FootnoteError) -> int:
    """2 when the caller can mend it by asking for something else, 1 otherwise."""
    return EXIT_BAD_INPUT if isinstance(error, _BAD_INPUT) else EXIT_FAILURE


def _fields(
    code: str,
    message: str,
    field: str | None = None,
    found: str | None = None,
    expected: str | None = None,
    next_step: str | None = None,
) -> dict[str, object]:
    told = {"code": code, "message": message, "field": field, "found": found}
    return {"error": {**told, "expected": expected, "next": next_step}}


def _usage_fields(error: Any) -> dict[str, object]:
    """Of a wrong word on the command line."""
    command = None if error.ctx is None else f"see {error.ctx.command_path} --help"
    return _fields("usage", error.format_message(), next_step=command)


def _place(error: OSError) -> str:
    return "" if error.filename is None else f": {os.fsdecode(error.filename)}"
