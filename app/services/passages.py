"""A chunk as encoder and word index see it."""

# A longer title would take the encoder's tokens from the text.
MAX_TITLE_CHARS_SEEN = 200


def passage_text(title: str | None, text: str) -> str:
    """The chunk's text under its document's title, which says what the chunk takes for granted."""
    return f"{title[:MAX_TITLE_CHARS_SEEN]}\n{text}" if title else text
