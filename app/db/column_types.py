"""Types of columns that mean the same on SQLite and on PostgreSQL."""

from typing import Annotated

from sqlalchemy import BigInteger, Identity, Integer, String
from sqlalchemy.orm import mapped_column
from sqlalchemy.types import TypeEngine

# Ids and sequence numbers: 64 bits. In SQLite all integers have them, and only INTEGER counts up by itself.
KEY: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")


def text(length: int | None = None) -> TypeEngine[str]:
    """Text that is compared by its code points, as SQLite does, and not by the rules of a language: so pages
    and uniqueness do not depend on how a server was set up.
    """
    return String(length).with_variant(String(length, collation="C"), "postgresql")


# A number that another row is known by, or of a write.
Key = Annotated[int, mapped_column(KEY)]
# The id of a new row: it counts up and, as the indexes need it, never comes back.
Id = Annotated[int, mapped_column(KEY, Identity(), primary_key=True)]
