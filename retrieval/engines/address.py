"""Which engine holds an index: a URL of the settings, checked and taken apart.

    faiss                                              files of this machine (retrieval.builds)
    postgresql                                         the metadata database, which needs pgvector
    postgresql://user:password@host:port/name          another database with pgvector
    milvus://user:password@host:port/database          vectors there, words in the metadata database
    milvus+lite:///path/file.db                        the same with a file, for tests in one process

An engine is known by its address without user and password: `shown` is what a release remembers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from embeddings.errors import InvalidInput

EXPECTED = (
    "faiss, postgresql, postgresql://user:password@host:port/name, milvus://host:port or "
    "milvus+lite:///path/file.db"
)
_SECRETS = {"user", "password", "sslpassword", "passfile", "token"}


class EngineKind(StrEnum):
    FAISS = "faiss"
    POSTGRESQL = "postgresql"
    MILVUS = "milvus"


_SCHEMES = {
    "postgresql": EngineKind.POSTGRESQL,
    "postgres": EngineKind.POSTGRESQL,
    "postgresql+psycopg": EngineKind.POSTGRESQL,
    "milvus": EngineKind.MILVUS,
    "milvus+lite": EngineKind.MILVUS,
}


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """An index engine.

    shown: its name in releases, answers and messages. url: for its client, with the password. words_url: the
    PostgreSQL that holds the words, and the state of each index; empty where the engine is FAISS.
    """

    kind: EngineKind
    shown: str
    url: str = field(default="", repr=False)
    words_url: str = field(default="", repr=False)


FAISS = EngineAddress(EngineKind.FAISS, "faiss")


def parse_engine(source: str, database_url: str | None, field: str = "index_url") -> EngineAddress:
    """The engine that a URL names.

    database_url: of the metadata database where that is PostgreSQL, as its own library reads it; else None.
    Raises InvalidInput, without a password in it.
    """
    if source == EngineKind.FAISS:
        return FAISS
    if source == EngineKind.POSTGRESQL:
        own = _metadata_database(source, database_url, field)
        return EngineAddress(EngineKind.POSTGRESQL, source, own, own)
    parts = _split(source, field)
    shown = _without_secrets(parts)
    if _SCHEMES[parts.scheme] == EngineKind.POSTGRESQL:
        url = urlunsplit(parts._replace(scheme="postgresql"))
        return EngineAddress(EngineKind.POSTGRESQL, shown, url, url)
    return EngineAddress(EngineKind.MILVUS, shown, source, _metadata_database(shown, database_url, field))


def parse_engines(
    source: str, database_url: str | None, field: str = "index_url"
) -> tuple[EngineAddress, ...]:
    """The engines of a list that white space separates, each once: the first is for new collections.

    FAISS is always among them. Raises as `parse_engine` does.
    """
    named = [parse_engine(each, database_url, field) for each in source.split()]
    return tuple({engine.shown: engine for engine in (*named, FAISS)}.values())


def find_engine(engines: Sequence[EngineAddress], shown: str | None, field: str = "engine") -> EngineAddress:
    """The engine of this name among those of the settings; None names FAISS.

    A whole URL finds it too. Raises InvalidInput when the settings do not have it.
    """
    wanted = EngineKind.FAISS.value if shown is None else _shown(shown)
    for engine in engines:
        if engine.shown == wanted:
            return engine
    raise InvalidInput(
        f"the index engine {wanted} is not among those of the settings",
        field=field,
        found=wanted,
        expected=f"one of {', '.join(engine.shown for engine in engines)}",
        next_step="add its URL to FOOTNOTE_INDEX_URL of every process, or name one of these",
    )


def _shown(source: str) -> str:
    try:
        parts = urlsplit(source)
        return _without_secrets(parts) if parts.scheme in _SCHEMES else source
    except ValueError:
        return source


def _metadata_database(engine: str, database_url: str | None, field: str) -> str:
    if database_url is None:
        raise InvalidInput(
            f"the index engine {engine} needs PostgreSQL as the metadata database",
            field=field,
            found="metadata in SQLite",
            expected="a PostgreSQL in FOOTNOTE_DATABASE_URL",
            next_step="set FOOTNOTE_DATABASE_URL, or keep the index in FAISS",
        )
    scheme, _, rest = database_url.partition("://")
    return f"{scheme.partition('+')[0]}://{rest}"


def _split(source: str, field: str) -> SplitResult:
    try:
        parts = urlsplit(source)
        found = f"a URL that begins with {parts.scheme}:" if parts.scheme else "a text that is no URL"
        _ = parts.port  # raises for one that is no number
    except ValueError:
        raise _refused("a text that is no URL", field) from None
    if parts.scheme not in _SCHEMES:
        raise _refused(found, field)
    if parts.scheme == "milvus" and not parts.hostname:
        raise _refused("a URL without a host", field)
    if parts.scheme == "milvus+lite" and (parts.netloc or not parts.path.endswith(".db")):
        raise _refused("a URL without the path of a file that ends in .db", field)
    return parts


def _without_secrets(parts: SplitResult) -> str:
    query = [(name, value) for name, value in parse_qsl(parts.query) if name.lower() not in _SECRETS]
    host = parts.netloc.rpartition("@")[2]
    scheme = "postgresql" if _SCHEMES[parts.scheme] == EngineKind.POSTGRESQL else parts.scheme
    return f"{scheme}://{host}{parts.path}" + (f"?{urlencode(query)}" if query else "")


def _refused(found: str, field: str) -> InvalidInput:
    return InvalidInput(
        f"{field} has {found}; expected {EXPECTED}",
        field=field,
        found=found,
        expected=EXPECTED,
        next_step="correct it, or leave it out: then the index is in files of this machine",
    )
