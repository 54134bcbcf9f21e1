"""Fitting the fusion of a stored collection."""

from dataclasses import replace

from app.resources import Resources
from app.services.tuning import TuningService
from app.services.types import DocumentInput, SearchInput
from retrieval.judgements import JudgedQuery
from retrieval.types import Fusion, FusionMethod, Normalisation

NAMES = ("маяк", "скала", "берег", "лодка", "чайка", "песок", "волна", "ветер", "парус", "якорь")
# By meaning alone: in 32 dimensions the one rare word of a text hardly shows.
WORST = Fusion(FusionMethod.CONVEX, alpha=1.0, normalisation=Normalisation.MIN_MAX)


def tuning(resources: Resources) -> TuningService:
    return TuningService(resources.database, resources.indexes, resources.collections)


async def fill(resources: Resources, collection: str) -> list[JudgedQuery]:
    """Forty documents, and for each of them a query with a word that stands in it alone."""
    documents = [
        DocumentInput(f"Common words in all of them, and {NAMES[i % 10]}{i} once.", f"d{i}")
        for i in range(40)
    ]
    await resources.documents.add(collection, documents)
    return [JudgedQuery(f"common words of {NAMES[i % 10]}{i}", {f"d{i}": 1}) for i in range(40)]


async def test_better_fusion_is_put_in_service_when_asked(resources: Resources, notes: str) -> None:
    judged = await fill(resources, notes)
    await set_fusion(resources, notes, WORST)

    tried = await tuning(resources).tune(notes, judged)
    assert tried.report.is_better
    assert not tried.applied
    assert (await resources.collections.get(notes)).settings.fusion == WORST

    applied = await tuning(resources).tune(notes, judged, apply=True)
    assert applied.applied
    assert applied.report.best.held_out.value > applied.report.present.held_out.value
    assert (await resources.collections.get(notes)).settings.fusion == applied.report.best.fusion
    found = await resources.search.search(notes, SearchInput(judged[7].query))
    assert found.hits[0].document_id == "d7"


async def test_fusion_that_gains_nothing_is_left_alone(resources: Resources, notes: str) -> None:
    judged = await fill(resources, notes)
    best = (await tuning(resources).tune(notes, judged)).report.best.fusion
    await set_fusion(resources, notes, best)

    again = await tuning(resources).tune(notes, judged, apply=True)

    assert not again.applied
    assert (await resources.collections.get(notes)).settings.fusion == best


async def test_queries_whose_documents_are_not_there_are_counted(resources: Resources, notes: str) -> None:
    judged = await fill(resources, notes)
    strange = [JudgedQuery("a lighthouse", {"nowhere": 1}), JudgedQuery("a rock", {"nowhere": 2, "d1": 0})]

    found = await tuning(resources).tune(notes, [*judged, *strange])

    assert found.skipped == 2
    assert found.report.train_queries + found.report.held_out_queries == 40


async def set_fusion(resources: Resources, collection: str, fusion: Fusion) -> None:
    settings = (await resources.collections.get(collection)).settings
    await resources.collections.update(collection, replace(settings, fusion=fusion))
