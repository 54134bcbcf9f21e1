"""Engines that keep indexes: caches, so nothing that is wrong with them loses anything."""

from collections.abc import Iterator
from dataclasses import dataclass

from app.db.following import Wanted
from app.doctor.findings import Finding, ok, problem, some_of, warning
from app.doctor.models import KnownModels
from app.doctor.reading import Reader
from app.engines import INDEX_URL, IndexEngines, engines_of
from app.services.release_types import FAISS, ReleaseState
from app.settings import Settings
from embeddings.errors import FootnoteError, InvalidInput

CHECK = "index engines"
# What a release that is being built lacks is on its way.
_BUILT = (ReleaseState.READY, ReleaseState.SERVING, ReleaseState.PREVIOUS)
LOAD = "nothing: it is made from SQL when the collection is next searched, which takes a while if it is large"


@dataclass(frozen=True, slots=True)
class _Use:
    """A release that an engine keeps the index of. wanted: None for a model that is not known."""

    name: str
    serving: bool
    engine: str
    wanted: Wanted | None


def check_engines(settings: Settings, connection: Reader, known: KnownModels) -> Iterator[Finding]:
    """Whether the engines can be reached that the settings name, and hold what releases need."""
    ((index_id,),) = connection.execute("SELECT index_id FROM identity")
    try:
        engines = engines_of(settings, str(index_id))
    except InvalidInput as error:
        yield problem(CHECK, error.message, f"correct {INDEX_URL}")
        return
    uses = list(_uses(connection, known))
    for name in sorted({use.engine for use in uses} - set(engines.names)):
        users = [use for use in uses if use.engine == name]
        told = problem if any(use.serving for use in users) else warning
        yield told(
            CHECK,
            f"{name} keeps the index of {some_of([use.name for use in users])}, and no setting names it",
            f"add its URL to {INDEX_URL}, or: footnote migrate-index COLLECTION --to faiss",
        )
    for name in engines.names:
        yield from _check_engine(engines, name, [use for use in uses if use.engine == name])


def _check_engine(engines: IndexEngines, name: str, uses: list[_Use]) -> Iterator[Finding]:
    if name == FAISS:
        return
    try:
        stored = set(engines.kept_by(name))
    except FootnoteError as error:
        told = problem if any(use.serving for use in uses) else warning
        yield told(CHECK, f"{name}: {error.message}", error.next_step or f"correct {INDEX_URL}")
        return
    if lost := [use.name for use in uses if use.wanted is not None and use.wanted not in stored]:
        yield warning(CHECK, f"{name} holds no index of {some_of(lost)}", LOAD)
    yield ok(CHECK, f"{name} can be reached; indexes of this database that it holds: {len(stored):,}")


def _uses(connection: Reader, known: KnownModels) -> Iterator[_Use]:
    rows = connection.execute(
        "SELECT c.name, r.number, r.state, r.collection_id, r.chunking, r.encoder, r.model_id, r.engine"
        " FROM releases r JOIN collections c ON c.id = r.collection_id"
        " WHERE r.engine IS NOT NULL ORDER BY c.name, r.number"
    )
    for name, number, state, collection_id, chunking, encoder, model_id, engine in rows:
        if state in _BUILT:
            model = model_id if encoder is not None else known.default
            wanted = None if model is None else Wanted(collection_id, chunking, model, engine)
            yield _Use(f"{name} (release {number})", state == ReleaseState.SERVING, engine, wanted)
