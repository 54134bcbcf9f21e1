"""Where the metadata database is: a SQLite file, or a database of a PostgreSQL server."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from embeddings.errors import InvalidInput

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

VARIABLE = "FOOTNOTE_DATABASE_URL"
EXPECTED = "postgresql://user:password@host:port/name"
# Options of PostgreSQL's own library, behind the question mark.
_SECRET_OPTIONS = ("password", "sslpassword")
_SCHEMES = frozenset({"postgresql", "postgres", "postgresql+psycopg"})


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """url: for SQLAlchemy, with the password, and so not for eyes.

    path: of the SQLite file; None: a database of a PostgreSQL server.
    """

    url: str = field(repr=False)
    path: Path | None = None

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of this machine."""
        return self.path is not None

    @property
    def dialect(self) -> str:
        """As SQLAlchemy names it: "sqlite" or "postgresql"."""
        return "sqlite" if self.is_sqlite else "postgresql"

    @property
    def shown(self) -> str:
        """With *** for the password: for messages."""
        if self.path is not None:
            return str(self.path)
        return self._plain().difference_update_query(_SECRET_OPTIONS).render_as_string()

    @property
    def conninfo(self) -> str:
        """The URL as PostgreSQL's own library reads it, with the password."""
        return self._plain().render_as_string(hide_password=False)

    def _plain(self) -> "URL":
        return _parsed(self.url).set(drivername="postgresql")

    def __str__(self) -> str:
        return self.shown


def sqlite_address(path: Path) -> DatabaseAddress:
    """The SQLite file at `path`."""
    return DatabaseAddress(f"sqlite:///{path}", path)


def postgres_address(source: str) -> DatabaseAddress:
    """The database that a URL names. Raises InvalidInput, without the password in it."""
    url = _parsed(source)
    if url.drivername not in _SCHEMES:
        raise _refused(f"a URL that begins with {url.drivername}:")
    if not (url.host or url.query.get("host") or url.query.get("service")):
        raise _refused("a URL without a host")
    if not url.database and not url.query.get("service"):
        raise _refused("a URL without the name of a database")
    whole = url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    return DatabaseAddress(whole)


def to_address(given: DatabaseAddress | Path) -> DatabaseAddress:
    """The address; a path is that of a SQLite file."""
    return sqlite_address(given) if isinstance(given, Path) else given


def _parsed(source: str) -> "URL":
    # Settings are read by commands that need nothing of SQLAlchemy, and it takes as long as all else of them.
    from sqlalchemy.engine import make_url  # noqa: PLC0415
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    try:
        return make_url(source)
    except (ArgumentError, ValueError):
        raise _refused("a text that is no URL") from None  # its message would tell the password


def _refused(found: str) -> InvalidInput:
    return InvalidInput(
        f"{VARIABLE} is {found}; it must be {EXPECTED}",
        field=VARIABLE,
        found=found,
        expected=EXPECTED,
        next_step="correct it, or leave it out: without it the metadata is in a file under FOOTNOTE_HOME",
    )
