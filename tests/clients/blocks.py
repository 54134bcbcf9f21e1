"""The code blocks of a page of the guide."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HEADING = re.compile(r"^#+ (.+)$")


@dataclass(frozen=True, slots=True)
class Block:
    """An indented block of code. heading: what it stands under; number: its place there, from 1."""

    page: str
    heading: str
    number: int
    code: str

    def __str__(self) -> str:
        return f"{self.page}: {self.heading} {self.number}"


def code_blocks(page: Path) -> Iterator[Block]:
    """Every block of a page in its order. Two empty lines within a block belong to it."""
    heading, number, lines = "", 0, list[str]()
    for line in [*page.read_text(encoding="utf-8").splitlines(), "end"]:
        if line.startswith("    ") or (lines and not line.strip()):
            lines.append(line)
            continue
        if lines:
            number += 1
            yield Block(page.name, heading, number, textwrap.dedent("\n".join(lines)).strip() + "\n")
            lines = []
        if found := _HEADING.match(line):
            heading, number = found.group(1), 0
