"""Releases side by side: made, verified, switched, taken back, pruned, and never mixed."""

import asyncio
import itertools
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from app.db.models import Chunk, Document, Vector
from app.encoders import LoadedEncoder
from app.resources import Models, Resources, open_resources
from app.services.release_types import ReindexInput, Release, ReleaseState
from app.services.types import CollectionSettings, DocumentInput, FileInput, SearchInput
from app.settings import Settings
from embeddings.errors import Conflict, InvalidInput, ModelDamaged, NotFound
from retrieval.types import SearchMode
from tests.app.hashing_encoder import HashingEncoder, hash_word

WIDE = "wide"  # a folder whose encoder has another dimension
BLIND = "blind"  # one to which all texts look alike


def note(number: int) -> DocumentInput:
    """Five sentences of words that no other note has."""
    text = (
        f"Note: маяк{number} lamp{number} rope{number}. " + f"Then lamp{number} and tide{number} rose. " * 4
    )
    return DocumentInput(text, f"note-{number}", metadata={"number": number})


def about(number: int) -> str:
    """A question that one note answers best."""
    return note(number).text


@pytest.fixture
def wide() -> HashingEncoder:
    return HashingEncoder("wide@1", dimension=48)


@pytest.fixture
def models(models: Models, wide: HashingEncoder) -> Models:
    """The hashing encoder, and others in the folders `wide` and `blind`."""
    others = {WIDE: wide, BLIND: HashingEncoder("blind@1", dimension=1)}

    def load(folder: Path) -> LoadedEncoder:
        if folder.name not in others:
            raise ModelDamaged(f"no model in {folder}")
        return LoadedEncoder(others[folder.name], models.tokenizer)

    return Models(models.encoder, models.tokenizer, models.answerer, load)


@pytest.fixture
async def notes(resources: Resources) -> str:
    """Thirty notes, each of two chunks."""
    await resources.collections.create("notes", CollectionSettings(32, 0))
    await resources.documents.add("notes", [note(number) for number in range(30)])
    return "notes"


async def reindex(resources: Resources, promote: bool = True, **wanted: str | int) -> Release:
    return await resources.releases.reindex("notes", ReindexInput(**wanted), promote=promote)  # type: ignore[arg-type]


async def find(
    resources: Resources, query: str, mode: SearchMode = SearchMode.DENSE
) -> tuple[int, list[str]]:
    """The release that answered, and the ids of the documents that it found."""
    output = await resources.search.search("notes", SearchInput(query, mode, limit=5))
    return output.release, [hit.document_id for hit in output.hits]


async def count(resources: Resources, *columns: object) -> list[tuple[object, ...]]:
    """How many rows there are for each value of the columns."""
    statement = select(*columns, func.count()).group_by(*columns).order_by(*columns)  # type: ignore[call-overload]
    async with resources.database.read() as connection:
        return [tuple(row) for row in await connection.execute(statement)]


async def test_first_release_serves_from_the_start(resources: Resources, notes: str) -> None:
    (release,) = await resources.releases.list(notes)
    assert (release.number, release.state, release.encoder) == (1, ReleaseState.SERVING, None)
    assert (await find(resources, "note"))[0] == 1


async def test_other_encoder_takes_over_with_all_documents_and_no_new_sequence_number(
    resources: Resources, notes: str, wide: HashingEncoder
) -> None:
    before = await resources.collections.get(notes)
    release = await reindex(resources, encoder=WIDE)
    assert (release.number, release.state, release.model_id) == (2, ReleaseState.SERVING, "wide@1")
    number, found = await find(resources, about(7))
    assert (number, found[0]) == (2, "note-7")
    after = await resources.collections.get(notes)
    assert (after.last_seq, after.documents, after.chunks) == (before.last_seq, 30, before.chunks)
    assert len(wide.encoded) == before.chunks
    assert [each.state for each in await resources.releases.list(notes)] == ["serving", "previous"]


async def test_other_chunking_cuts_every_document_anew(resources: Resources, notes: str) -> None:
    before = await resources.collections.get(notes)
    await reindex(resources, chunk_max_tokens=16)
    after = await resources.collections.get(notes)
    assert after.settings.chunk_max_tokens == 16
    assert after.chunks > before.chunks
    output = await resources.search.search(notes, SearchInput("note", limit=1000))
    assert len(output.hits) == after.chunks
    document = await resources.documents.get(notes, "note-3")
    assert document.chunks == sum(hit.document_id == "note-3" for hit in output.hits)


async def test_report_tells_what_was_compared(resources: Resources, notes: str) -> None:
    report = (await reindex(resources, promote=False, encoder=WIDE)).report
    assert report is not None
    assert (report["documents"], report["vectors"], report["indexed"]) == (
        30,
        report["chunks"],
        report["chunks"],
    )
    assert (report["queries"], report["recall_at_10"], report["reasons"]) == (report["chunks"], 1.0, [])


async def test_ready_release_does_not_answer_until_it_is_promoted(resources: Resources, notes: str) -> None:
    release = await reindex(resources, promote=False, encoder=WIDE)
    assert (release.number, release.state) == (2, ReleaseState.READY)
    assert (await find(resources, "note"))[0] == 1
    await resources.documents.add(notes, [note(77)])
    await resources.releases.promote(notes, 2)
    number, found = await find(resources, about(77))
    assert (number, found[0]) == (2, "note-77")


async def test_rollback_finds_what_was_written_and_not_what_was_deleted_since(
    resources: Resources, notes: str
) -> None:
    await reindex(resources, encoder=WIDE, chunk_max_tokens=16)
    await resources.documents.add(notes, [note(77), DocumentInput("A cormorant dives.", "note-5")])
    await resources.documents.delete(notes, "note-6")
    assert (await resources.releases.rollback(notes)).number == 1
    assert (await find(resources, about(77)))[1][0] == "note-77"
    number, found = await find(resources, "cormorant", SearchMode.LEXICAL)
    assert (number, found) == (1, ["note-5"])
    everything = await resources.search.search(notes, SearchInput("note", limit=1000))
    assert {hit.document_id for hit in everything.hits} == {f"note-{n}" for n in range(30) if n != 6} | {
        "note-77"
    }
    assert (await resources.releases.rollback(notes)).number == 2


async def test_no_search_mixes_two_releases_while_they_are_switched(resources: Resources, notes: str) -> None:
    await reindex(resources, encoder=WIDE, chunk_max_tokens=16)
    sizes = {1: 0, 2: 0}
    for number in (1, 2):
        await resources.releases.promote(notes, number)
        output = await resources.search.search(notes, SearchInput("note", SearchMode.DENSE, limit=1000))
        sizes[output.release] = len(output.hits)
    assert sizes[2] > sizes[1] > 0
    stop, seen = asyncio.Event(), set()

    async def search() -> None:
        while not stop.is_set():
            output = await resources.search.search(notes, SearchInput("note", SearchMode.DENSE, limit=1000))
            assert len(output.hits) == sizes[output.release]
            assert {hit.document_id for hit in output.hits} == {f"note-{n}" for n in range(30)}
            seen.add(output.release)

    searches = [asyncio.create_task(search()) for _ in range(4)]
    for number in itertools.islice(itertools.cycle((1, 2)), 10):
        await resources.releases.promote(notes, number)
        await asyncio.sleep(0.01)
    stop.set()
    await asyncio.gather(*searches)
    assert seen == {1, 2}


async def test_writes_during_a_reindex_and_its_switch_are_found(resources: Resources, notes: str) -> None:
    async def write() -> None:
        for number in range(40, 60):
            await resources.documents.add(notes, [note(number)])
            await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    await reindex(resources, encoder=WIDE, chunk_max_tokens=16)
    await writing
    output = await resources.search.search(notes, SearchInput("note", SearchMode.DENSE, limit=1000))
    assert output.release == 2
    assert {hit.document_id for hit in output.hits} == {f"note-{n}" for n in [*range(30), *range(40, 60)]}


async def test_release_that_golden_queries_find_less_with_is_not_put_in_service(
    resources: Resources, notes: str
) -> None:
    await resources.documents.add(notes, [DocumentInput("Cormorant", "bird")])
    # A word that no document has: only the vectors lead from it to the bird.
    same = next(word for word in map(str, itertools.count()) if hash_word(word) == hash_word("cormorant"))
    await resources.releases.add_golden(notes, same, ["bird"])
    release = await reindex(resources, encoder=BLIND)
    assert release.state == ReleaseState.FAILED
    assert release.report is not None
    assert release.report["golden_recall_at_10_in_service"] == 1.0
    assert release.report["golden_recall_at_10"] == 0.0
    assert (await find(resources, same))[0] == 1
    with pytest.raises(Conflict) as caught:
        await resources.releases.promote(notes, release.number)
    assert "golden queries" in caught.value.message


async def test_interrupted_reindex_goes_on_where_it_stopped(
    settings: Settings, models: Models, wide: HashingEncoder
) -> None:
    async with open_resources(settings, models) as first:
        await first.collections.create("notes", CollectionSettings(32, 0))
        await first.documents.add("notes", [note(number) for number in range(30)])
        begun = await first.releases.begin("notes", ReindexInput(WIDE, 16))
        steps = 0

        def stop(_what: str, _done: int, _total: int) -> None:
            nonlocal steps
            steps += 1
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await first.releases.build("notes", begun.number, stop)
        assert (await find(first, "note"))[0] == 1
        assert steps == 1
    encoded = len(wide.encoded)
    async with open_resources(settings, models) as second:
        release = await reindex(second, encoder=WIDE, chunk_max_tokens=16)
        assert (release.number, release.state) == (begun.number, ReleaseState.SERVING)
        assert len(wide.encoded) == encoded
        assert len(await second.releases.list("notes")) == 2


async def test_prune_reclaims_what_only_retired_releases_needed(resources: Resources, notes: str) -> None:
    await reindex(resources, chunk_max_tokens=16)
    assert (await resources.releases.prune(notes)).chunks == 0
    await reindex(resources, chunk_max_tokens=24)
    pruned = await resources.releases.prune(notes)
    assert pruned.chunks > 0
    assert [row[0] for row in await count(resources, Chunk.chunking)] == ["tokens-16-0", "tokens-24-0"]
    assert await count(resources, Vector.model_id) == [
        ("hashing@1", sum(row[1] for row in await count(resources, Chunk.chunking)))  # type: ignore[misc]
    ]
    with pytest.raises(Conflict):
        await resources.releases.promote(notes, 1)
    await reindex(resources, chunk_max_tokens=32)
    assert (await find(resources, about(7)))[1][0] == "note-7"


async def test_documents_cut_by_older_settings_are_cut_anew_by_the_first_search(
    resources: Resources, notes: str
) -> None:
    async with resources.database.write() as connection:
        older = select(Chunk.id).join(Document).where(Document.external_id.in_(["note-3", "note-4"]))
        await connection.execute(update(Chunk).where(Chunk.id.in_(older)).values(chunking="tokens-99-9"))
    output = await resources.search.search(notes, SearchInput("note", SearchMode.DENSE, limit=1000))
    assert {hit.document_id for hit in output.hits} == {f"note-{n}" for n in range(30)}
    assert ("tokens-32-0", len(output.hits)) in await count(resources, Chunk.chunking)


async def test_headings_of_a_document_survive_a_reindex(resources: Resources, notes: str) -> None:
    page = b"<h1>Coast</h1><p>" + b"The sea is wide. " * 12 + b"</p><h2>Lights</h2><p>A cormorant dives.</p>"
    await resources.documents.add_files(notes, [FileInput("coast.html", page)])
    await reindex(resources, chunk_max_tokens=16)
    output = await resources.search.search(notes, SearchInput("cormorant", SearchMode.LEXICAL))
    assert output.hits[0].heading_path == ("Coast", "Lights")


async def test_unchanged_document_stays_unchanged_after_a_reindex(resources: Resources, notes: str) -> None:
    await reindex(resources, encoder=WIDE, chunk_max_tokens=16)
    (again,) = await resources.documents.add(notes, [note(3)])
    assert again.status == "unchanged"


async def test_release_that_another_process_promoted_is_loaded_while_the_one_before_answers(
    resources: Resources, notes: str, settings: Settings, models: Models
) -> None:
    async with open_resources(settings, models) as other:
        assert (await find(other, "note"))[0] == 1
        await reindex(resources, encoder=WIDE, chunk_max_tokens=16)
        await resources.documents.add(notes, [note(77)])
        answers: list[int] = []
        while not answers or answers[-1] == 1:
            number, found = await find(other, about(77))
            assert found[0] == "note-77"
            answers.append(number)
        assert answers[0] == 1
        assert answers[-1] == 2


async def test_release_whose_encoder_is_lost_tells_so(
    resources: Resources, notes: str, settings: Settings, models: Models
) -> None:
    await reindex(resources, encoder=WIDE)
    without = Models(models.encoder, models.tokenizer, models.answerer, _nothing)
    async with open_resources(settings, without) as other:
        with pytest.raises(ModelDamaged):
            await find(other, "note")


def _nothing(folder: Path) -> LoadedEncoder:
    raise ModelDamaged(f"no model in {folder}")


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (ReindexInput(), Conflict),
        (ReindexInput(chunk_max_tokens=32), Conflict),
        (ReindexInput(chunk_max_tokens=15), InvalidInput),
        (ReindexInput(chunk_max_tokens=1000), InvalidInput),
        (ReindexInput(chunk_overlap_tokens=17), InvalidInput),
        (ReindexInput(encoder="nowhere"), InvalidInput),
        (ReindexInput(encoder=""), InvalidInput),
    ],
)
async def test_reindex_that_makes_no_sense_is_refused(
    resources: Resources, notes: str, wanted: ReindexInput, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await resources.releases.reindex(notes, wanted, promote=True)
    assert len(await resources.releases.list(notes)) == 1


async def test_release_that_is_not_there_or_not_ready_is_refused(resources: Resources, notes: str) -> None:
    with pytest.raises(NotFound):
        await resources.releases.promote(notes, 9)
    with pytest.raises(Conflict):
        await resources.releases.rollback(notes)
    await resources.releases.begin(notes, ReindexInput(WIDE))
    with pytest.raises(Conflict):
        await resources.releases.promote(notes, 2)


async def test_golden_queries_are_kept_by_their_words(resources: Resources, notes: str) -> None:
    first = await resources.releases.add_golden(notes, "хлеб", ["note-1"])
    second = await resources.releases.add_golden(notes, "хлеб", ["note-2", "note-3"])
    assert await resources.releases.golden(notes) == (second,)
    with pytest.raises(NotFound):
        await resources.releases.remove_golden(notes, first.id)
    await resources.releases.remove_golden(notes, second.id)
    assert await resources.releases.golden(notes) == ()
    for query, ids in (("", ["x"]), ("x", [])):
        with pytest.raises(InvalidInput):
            await resources.releases.add_golden(notes, query, ids)
