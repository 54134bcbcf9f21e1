"""JSON, JSON Lines and XML as readable text."""

import re
from collections.abc import Iterator
from xml.etree import ElementTree as ET

import msgspec

from embeddings.errors import Unreadable
from retrieval.extraction.containers import reject_entities
from retrieval.extraction.reading import Reading

_BYTE = re.compile(r"\(byte (\d+)\)")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)")
_FIRST_PRINTED = 0xA0  # below: ASCII, whose escapes JSON needs, and control characters


def read_json(text: str) -> Reading:
    """Return indented JSON without escapes: a search can't find Russian in those, nor quote one long line.

    Numbers stay as they are written: 19.90 is not 19.9 to a search.
    """
    return Reading(_indent(text, 1), headings=())


def read_json_lines(text: str) -> Reading:
    """Return each line as a paragraph of indented JSON."""
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    return Reading("\n\n".join(_indent(line, number) for number, line in lines), headings=())


def _indent(value: str, line: int) -> str:
    try:
        indented = msgspec.json.format(value, indent=2)
    except msgspec.DecodeError as error:
        place = _BYTE.search(str(error))
        before = value.encode()[: int(place[1])].count(b"\n") if place else 0
        raise _broken("JSON", line + before, str(error)) from error
    except RecursionError as error:
        raise _broken("JSON", line, "nested too deeply") from error
    return _join_surrogates(_ESCAPE.sub(_unescape, indented))


def _unescape(match: re.Match[str]) -> str:
    code = int(match[1], 16) if match[1] else 0
    return chr(code) if code >= _FIRST_PRINTED else match[0]


def _join_surrogates(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def read_xml(text: str) -> Reading:
    """Return one `element: words` line for each element that holds words, a blank line between groups of
    them.

    Raises Unreadable for broken XML and for entity declarations.
    """
    reject_entities(text.encode("utf-8", "replace"), "the file")
    try:
        root = ET.fromstring(_without_declaration(text))  # noqa: S314  # entities were refused before
    except ET.ParseError as error:
        raise _broken("XML", error.position[0], str(error)) from error
    text = "\n".join(_element_lines(root))
    return Reading(re.sub(r"\n{3,}", "\n\n", text).strip(), headings=())


def _without_declaration(text: str) -> str:
    """The text is decoded: an encoding that its declaration names no longer holds."""
    return text[text.index("?>") + 2 :] if text.lstrip().startswith("<?xml") and "?>" in text else text


def _element_lines(root: ET.Element) -> Iterator[str]:
    stack: list[ET.Element | None] = [root]
    while stack:
        element = stack.pop()
        if element is None:
            yield ""
        elif len(element) and not _has_own_words(element):
            yield ""
            stack.extend([None, *reversed(element)])
        elif words := " ".join("".join(element.itertext()).split()):
            yield f"{element.tag.rpartition('}')[2]}: {words}"


def _has_own_words(element: ET.Element) -> bool:
    """Tell running text with inline marks from an element that only groups others."""
    return any((part or "").strip() for part in (element.text, *(child.tail for child in element)))


def _broken(kind: str, line: int, reason: str) -> Unreadable:
    return Unreadable(
        f"the {kind} is broken at line {line}: {reason}",
        found=f"an error at line {line}",
        expected=f"valid {kind}",
        next_step="repair that line, or rename the file to .txt to add it as plain text",
    )
