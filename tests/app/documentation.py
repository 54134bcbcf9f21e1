"""The commands that the documentation shows, and those that exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from app.cli.program import program

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "app" / "guide"
_SHOWN = re.compile(r"^ {4}(?:\.venv/bin/)?(footnote .*)$|`(footnote [^`]+)`", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")


def existing_commands() -> dict[str, Any]:
    """Every command that does something, by its words: `collections create`."""
    return dict(_leaves(get_command(program), ()))


def _leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield " ".join(path), command
        return
    for name, child in children.items():
        yield from _leaves(child, (*path, name))


def shown_commands(page: Path) -> list[list[str]]:
    """The words of each `footnote ...` in code blocks and code spans of a page."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    return [shlex.split(block or span, comments=True)[1:] for block, span in _SHOWN.findall(text)]


def local_links(page: Path) -> list[str]:
    """Targets of the links of a page that are no URLs."""
    text = page.read_text(encoding="utf-8")
    return [target for target, _ in _LINK.findall(text) if "://" not in target]


def find_fault(words: list[str]) -> str | None:
    """What is wrong with a shown command, or None: an unknown command or option."""
    command: Any = get_command(program)
    rest = list(words)
    while (children := getattr(command, "commands", None)) is not None:
        if not rest:
            return None  # a group alone is a subject to talk about
        if rest[0].startswith("-"):
            break  # an option of the group itself
        if rest[0] not in children:
            return f"no command {rest[0]!r}"
        command = children[rest.pop(0)]
    if command.context_settings.get("ignore_unknown_options"):
        return None  # it passes them on
    known = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    unknown = [word for word in rest if word.startswith("-") and word.split("=")[0] not in known]
    return f"no option {unknown[0]}" if unknown else None
