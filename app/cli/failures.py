"""How a failure ends a command: the reason on stderr, an exit code, never a traceback."""

import os
from typing import Any

import typer
from typer.core import TyperGroup

from embeddings.errors import Conflict, FootnoteError, InvalidInput, NotFound

EXIT_FAILURE = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

_BAD_INPUT = (InvalidInput, NotFound, Conflict)


class FootnoteGroup(TyperGroup):
    """The root of the commands, where every expected failure ends."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except FootnoteError as error:
            typer.echo(describe(error), err=True)
            raise typer.Exit(exit_code(error)) from error
        except OSError as error:
            if isinstance(error, BrokenPipeError):  # `footnote ... | head`: typer ends it quietly
                raise
            typer.echo(f"error: {error.strerror or error}{_place(error)}", err=True)
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


def exit_code(error: FootnoteError) -> int:
    """2 when the caller can mend it by asking for something else, 1 otherwise."""
    return EXIT_BAD_INPUT if isinstance(error, _BAD_INPUT) else EXIT_FAILURE


def _place(error: OSError) -> str:
    return "" if error.filename is None else f": {os.fsdecode(error.filename)}"
