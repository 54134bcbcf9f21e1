"""Names of collections."""

import re

from embeddings.errors import InvalidInput

_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def check_collection_name(name: str) -> None:
    """Raise InvalidInput for what cannot be a collection's name."""
    if not _PATTERN.fullmatch(name):
        expected = "1 to 64 of a-z, 0-9, _ and -, starting with a letter or digit"
        raise InvalidInput(
            f"the name {name[:80]!r} is not allowed; expected {expected}",
            field="name",
            found=repr(name[:80]),
            expected=expected,
        )
