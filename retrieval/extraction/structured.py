"""JSON, JSON Lines and XML as readable text."""

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator

from embeddings.errors import Unreadable
from retrieval.extraction.containers import reject_entities
from retrieval.extraction.reading import Reading


def read_json(text: str) -> Reading:
    """Return indented JSON with real letters: a search can't find Russian in `\\u0440` escapes, nor read one long line."""
    try:
        return Reading(_dump(json.loads(text)), headings=())
    except json.JSONDecodeError as error:
        raise _broken("JSON", error.lineno, error.msg) from error
    except RecursionError as error:
        raise _broken("JSON", 1, "nested too deeply") from error


def read_json_lines(text: str) -> Reading:
    """Return each line as a paragraph of indented JSON."""
    paragraphs: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            if line.strip():
                paragraphs.append(_dump(json.loads(line)))
        except json.JSONDecodeError as error:
            raise _broken("JSON Lines", number, error.msg) from error
        except RecursionError as error:
            raise _broken("JSON Lines", number, "nested too deeply") from error
    return Reading("\n\n".join(paragraphs), headings=())


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def read_xml(text: str) -> Reading:
    """Return one `element: words` line for each element that holds words, a blank line between groups of them.

    Raises Unreadable for broken XML and for entity declarations.
    """
    reject_entities(text.encode("utf-8", "replace"), "the file")
    try:
        root = ElementTree.fromstring(_without_declaration(text))
    except ElementTree.ParseError as error:
        raise _broken("XML", error.position[0], str(error)) from error
    text = "\n".join(_element_lines(root))
    return Reading(re.sub(r"\n{3,}", "\n\n", text).strip(), headings=())


def _without_declaration(text: str) -> str:
    """The text is decoded: an encoding that its declaration names no longer holds."""
    return text[text.index("?>") + 2 :].lstrip() if text.lstrip().startswith("<?xml") and "?>" in text else text


def _element_lines(root: ElementTree.Element) -> Iterator[str]:
    stack: list[ElementTree.Element | None] = [root]
    while stack:
        element = stack.pop()
        if element is None:
            yield ""
        elif len(element) and not _has_own_words(element):
            yield ""
            stack.extend([None, *reversed(element)])
        elif words := " ".join("".join(element.itertext()).split()):
            yield f"{element.tag.rpartition('}')[2]}: {words}"


def _has_own_words(element: ElementTree.Element) -> bool:
    """Tell running text with inline marks from an element that only groups others."""
    return any((part or "").strip() for part in (element.text, *(child.tail for child in element)))


def _broken(kind: str, line: int, reason: str) -> Unreadable:
    return Unreadable(
        f"the {kind} is broken at line {line}: {reason}",
        found=f"an error at line {line}",
        expected=f"valid {kind}",
        next_step="repair that line, or rename the file to .txt to add it as plain text",
    )
