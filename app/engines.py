"""The engines that keep indexes of this database: those that the settings name, and FAISS.

A release remembers its engine by the URL without user and password; the settings of each process hold the
rest. An index on an engine is a cache, as a build is: it is made from SQL, and made anew when it is lost.
"""

import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

from app.db.following import Wanted
from app.settings import Settings
from embeddings.errors import FootnoteError, InvalidInput, UpstreamFailed
from retrieval.engines.address import FAISS, EngineAddress, EngineKind, find_engine, parse_engines
from retrieval.engines.types import IndexKey
from retrieval.search_index import SearchIndex

logger = logging.getLogger("footnote.engines")

INDEX_URL = "FOOTNOTE_INDEX_URL"
# Imported by the first that needs an engine: its clients take longer to load than all of FAISS.
_OPEN = "retrieval.engines.open"


class IndexEngines:
    """Opens and drops indexes on engines. Its calls block, but for those that only look names up.

    engines: the first is for new collections. index_id: under which this database's indexes are kept.
    """

    def __init__(self, engines: Sequence[EngineAddress], index_id: str) -> None:
        self._engines = tuple(engines)
        self._places = {engine.shown: _place(engine) for engine in engines}
        self._index_id = index_id

    @property
    def default(self) -> str | None:
        """What a new collection's release names; None: FAISS."""
        return _remembered(self._engines[0])

    @property
    def names(self) -> tuple[str, ...]:
        """What a client may choose from, the one for new collections first."""
        return tuple(engine.shown for engine in self._engines)

    def name(self, given: str) -> str | None:
        """What a release remembers of the engine that a client names; None: FAISS. Raises InvalidInput."""
        return _remembered(find_engine(self._engines, given))

    def open(self, wanted: Wanted, dimension: int) -> SearchIndex:
        """The index, empty where there is none yet.

        Raises UpstreamFailed when the settings do not name its engine, Overloaded when that cannot be
        reached, InvalidInput when it cannot hold such vectors.
        """
        from retrieval.engines.open import open_engine_index  # noqa: PLC0415

        return open_engine_index(self._address(wanted), self._key(wanted), dimension)

    def drop(self, wanted: Wanted) -> None:
        """Delete an index; one that is not there is no error. Raises as `open` does."""
        from retrieval.engines.open import drop_engine_index  # noqa: PLC0415

        drop_engine_index(self._address(wanted), self._key(wanted))

    def stored(self) -> list[Wanted]:
        """What the engines hold of this database. The log tells of those that cannot be asked."""
        found = []
        for name in {place: name for name, place in self._places.items()}.values():
            try:
                found += self.kept_by(name)
            except FootnoteError as error:
                logger.warning("cannot ask %s for indexes that nothing needs: %s", name, error.message)
        return found

    def kept_by(self, name: str) -> list[Wanted]:
        """What one engine of the settings holds of this database. Raises as `open` does."""
        engine = find_engine(self._engines, name)
        if engine == FAISS:
            return []
        from retrieval.engines.open import list_engine_indexes  # noqa: PLC0415

        return [_wanted(key, engine) for key in list_engine_indexes(engine, self._index_id)]

    def unneeded(self, stored: Iterable[Wanted], needed: Iterable[Wanted]) -> list[Wanted]:
        """What of `stored` nothing needs. An engine may have several names in the settings."""
        kept = {self._placed(wanted) for wanted in needed}
        return [wanted for wanted in stored if self._placed(wanted) not in kept]

    def drop_all(self, unneeded: Sequence[Wanted]) -> int:
        """Delete these indexes; returns how many went. What cannot be deleted now stays; the log says so."""
        dropped = 0
        for wanted in unneeded:
            try:
                self.drop(wanted)
            except FootnoteError as error:
                logger.warning("an index that nothing needs stays on %s: %s", wanted.engine, error.message)
            else:
                logger.info("collection %d: dropped an index on %s", wanted.collection_id, wanted.engine)
                dropped += 1
        return dropped

    def close(self) -> None:
        """Close the connections of this process, if it ever made some."""
        if (opened := sys.modules.get(_OPEN)) is not None:
            opened.close_engines()

    def _placed(self, wanted: Wanted) -> tuple[Wanted, str]:
        name = wanted.engine or FAISS.shown
        return replace(wanted, engine=None), self._places.get(name, name)

    def _key(self, wanted: Wanted) -> IndexKey:
        return IndexKey(wanted.collection_id, wanted.chunking, wanted.model_id, self._index_id)

    def _address(self, wanted: Wanted) -> EngineAddress:
        try:
            return find_engine(self._engines, wanted.engine)
        except InvalidInput as error:
            raise UpstreamFailed(
                f"the index of this release is kept by {wanted.engine}, which {INDEX_URL} does not name",
                field=INDEX_URL,
                found=" ".join(self.names),
                expected=f"{wanted.engine}, with its user and password, among them",
                next_step=f"add it to {INDEX_URL}, or: footnote migrate-index COLLECTION --to faiss",
            ) from error


def engines_of(settings: Settings, index_id: str) -> IndexEngines:
    """The engines that the settings name. Raises InvalidInput for a URL that names none."""
    database = settings.database
    metadata = None if database.is_sqlite else database.conninfo
    return IndexEngines(parse_engines(settings.index_url, metadata, INDEX_URL), index_id)


def _place(engine: EngineAddress) -> str:
    """What is the same for all names of one database, whoever asks it and in whatever way."""
    if engine.kind != EngineKind.POSTGRESQL:
        return engine.shown
    parts = urlsplit(engine.words_url)
    options = dict(parse_qsl(parts.query))
    host, port = parts.hostname or options.get("host", ""), parts.port or options.get("port", "5432")
    return f"{host}:{port}{parts.path}"


def _remembered(engine: EngineAddress) -> str | None:
    return None if engine == FAISS else engine.shown


def _wanted(key: IndexKey, engine: EngineAddress) -> Wanted:
    return Wanted(key.collection_id, key.chunking, key.model_id, engine.shown)
