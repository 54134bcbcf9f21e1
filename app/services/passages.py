"""A chunk as encoder and word index see it."""

from collections.abc import Sequence

# A longer heading line would take the encoder's tokens from the text.
MAX_CONTEXT_CHARS = 200


def passage_text(title: str | None, heading_path: Sequence[str], text: str) -> str:
    """The chunk's text under a line with its document's title and its headings.

    They say what the chunk takes for granted. Headings that stand in the chunk itself are not said twice.
    """
    headings = [heading for heading in heading_path if heading != title and heading not in text]
    context = " / ".join([title, *headings] if title else headings)
    return f"{context[:MAX_CONTEXT_CHARS]}\n{text}" if context else text
