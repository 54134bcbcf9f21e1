"""What commands write on stdout: JSON for programs, tables and lines for people."""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

# Escape sequences in a document would drive the reader's terminal; file names may hold lone surrogates.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def print_json(value: Any) -> None:
    """Print dataclasses, Structs and plain values as indented JSON in UTF-8."""
    typer.echo(json_text(value))


def json_text(value: Any, *, indented: bool = True) -> str:
    """A value as JSON; on one line when it is not indented, as a line of JSON Lines."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(value), indent=2 if indented else -1).decode()


def open_console(*, stderr: bool = False) -> "Console":
    """What writes text with colours: none in a pipe, with NO_COLOR, and on a terminal that has none."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def print_text(console: "Console", *parts: "str | tuple[str, str]") -> None:
    """Print one line of parts, plain or each with its style. A pipe gets it uncut."""
    from rich.text import Text

    console.print(Text.assemble(*parts), soft_wrap=not console.is_terminal)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print aligned columns; a cell that is None stays empty."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*headers, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else printable(str(cell))) for cell in row))
    console = Console()
    if not console.is_terminal:  # a pipe has no width: never cut a cell
        console.width = 100_000
    console.print(table)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print one `name: value` a line; a value that is None is left out."""
    known = [(name, value) for name, value in fields if value is not None]
    width = max((len(name) for name, _ in known), default=0) + 2
    for name, value in known:
        typer.echo(f"{name + ':':<{width}}{printable(str(value))}")


def printable(text: str) -> str:
    """The text with a replacement for what cannot be shown: all controls but tab and newline, surrogates."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str, length: int) -> str:
    """The text on one line, cut to at most `length` characters."""
    flat = printable(" ".join(text.split()))
    return flat if len(flat) <= length else flat[: length - 1] + "…"
