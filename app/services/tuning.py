"""The fusion of a collection, fitted to judged queries."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from anyio import to_thread

from app.db.engine import Database
from app.db.judged import documents_of, known_documents
from app.indexes import Indexes, Served
from app.services.collections import CollectionService
from retrieval.candidates import Candidates
from retrieval.fusion_tuning import ScoredQuery, TuningReport, tune_fusion
from retrieval.judgements import JudgedQuery
from retrieval.ranking import SearchRequest
from retrieval.types import Fusion

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Tuning:
    """What fitting found. skipped: queries none of whose right documents is in the collection.

    applied: whether the best fusion was put into the collection's settings.
    """

    report: TuningReport
    skipped: int
    applied: bool


class TuningService:
    """Fits the fusion of collections. Searches go on meanwhile."""

    def __init__(self, database: Database, indexes: Indexes, collections: CollectionService) -> None:
        self._database = database
        self._indexes = indexes
        self._collections = collections

    async def tune(
        self,
        collection: str,
        judged: Sequence[JudgedQuery],
        *,
        apply: bool = False,
        seed: int = 0,
        progress: Progress = lambda _what, _done, _total: None,
    ) -> Tuning:
        """Fit every fusion on half of the queries and judge it on the others.

        apply: put the best one in service if it gains and the lower bound of its gain is not below zero.
        Raises NotFound for the collection, InvalidInput for too few queries.
        """
        served = await self._indexes.follow(collection)
        findable = await self._findable(served, judged)
        scored = []
        for done, query in enumerate(findable, start=1):
            scored.append(await self._score(served, query))
            progress("queries", done, len(findable))
        present = served.collection.settings.fusion or Fusion()
        report = await to_thread.run_sync(tune_fusion, scored, present, seed)
        applied = apply and report.is_better
        if applied:
            settings = (await self._collections.get(collection)).settings
            await self._collections.update(collection, replace(settings, fusion=report.best.fusion))
        return Tuning(report, len(judged) - len(findable), applied)

    async def _findable(self, served: Served, judged: Sequence[JudgedQuery]) -> list[JudgedQuery]:
        """The queries that have a right document in the collection, without the grades of all others."""
        ids = sorted({document for query in judged for document in query.grades})
        async with self._database.read() as connection:
            known = await known_documents(connection, served.collection.id, ids)
        kept = (
            JudgedQuery(query.query, {d: grade for d, grade in query.grades.items() if d in known})
            for query in judged
        )
        return [query for query in kept if any(query.grades.values())]

    async def _score(self, served: Served, judged: JudgedQuery) -> ScoredQuery:
        encoded = await served.encoding.query(judged.query)
        request = SearchRequest(judged.query, encoded.vector, coverage=encoded.coverage)
        candidates = await to_thread.run_sync(served.index.candidates, request)
        async with self._database.read() as connection:
            owners = await documents_of(connection, candidates.chunk_ids.tolist())
        return _scored(candidates, owners, judged.grades)


def _scored(candidates: Candidates, owners: Mapping[int, str], grades: Mapping[str, int]) -> ScoredQuery:
    """owners: document id by chunk id; a chunk that is gone by now stands for a document of its own."""
    names = [owners.get(chunk_id, chunk_id) for chunk_id in candidates.chunk_ids.tolist()]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    gains = [float(grades.get(name, 0)) if isinstance(name, str) else 0.0 for name in numbers]
    return ScoredQuery(
        candidates,
        np.array([numbers[name] for name in names], np.int64),
        np.array(gains, np.float64),
        np.array(sorted(grades.values(), reverse=True), np.float64),
    )
