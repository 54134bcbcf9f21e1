"""A chunk as encoder and word index see it."""

from collections.abc import Sequence

# A longer heading line would take the encoder's tokens from the text.
MAX_CONTEXT_CHARS = 200


def passage_text(title: str | None, heading_path: Sequence[str], text: str) -> str:
    """The chunk's text under a line with its document's title and its headings.

    They say what the chunk takes for granted.
    """
    context = passage_context(title, heading_path, text)
    return f"{context}\n{text}" if context else text


def passage_context(title: str | None, heading_path: Sequence[str], text: str) -> str:
    """That line; empty for neither. Headings that stand in the chunk itself are not said twice."""
    headings = [heading for heading in heading_path if heading != title and heading not in text]
    return " / ".join([title, *headings] if title else headings)[:MAX_CONTEXT_CHARS]
