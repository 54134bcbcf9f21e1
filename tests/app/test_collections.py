from dataclasses import replace

import msgspec
import pytest

from app.resources import Resources
from app.services.types import CollectionSettings, DocumentInput, SearchInput
from embeddings.errors import Conflict, InvalidInput, NotFound
from generation.causal.prompt_template import PromptExample, PromptTemplate


async def test_new_collection_is_empty_and_listed_by_name(resources: Resources) -> None:
    made = await resources.collections.create("b")
    await resources.collections.create("a")
    assert (made.documents, made.chunks, made.last_seq) == (0, 0, 0)
    assert [info.name for info in await resources.collections.list()] == ["a", "b"]
    assert await resources.collections.get("b") == made


async def test_taken_name_is_a_conflict_and_leaves_the_first_as_it_was(resources: Resources) -> None:
    made = await resources.collections.create(
        "a", CollectionSettings(chunk_max_tokens=40, chunk_overlap_tokens=5)
    )
    with pytest.raises(Conflict) as caught:
        await resources.collections.create("a")
    assert caught.value.field == "name"
    assert await resources.collections.get("a") == made


@pytest.mark.parametrize("name", ["", "-a", "A", "a b", "a/b", "заметки", "a" * 65, "a\n"])
async def test_name_that_does_not_fit_a_url_is_refused(resources: Resources, name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await resources.collections.create(name)
    assert caught.value.field == "name"
    assert await resources.collections.list() == ()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"chunk_max_tokens": 15}, "settings.chunk_max_tokens"),
        (
            {"chunk_max_tokens": 259},
            "settings.chunk_max_tokens",
        ),  # the test encoder sees 258 and adds none
        ({"chunk_overlap_tokens": 21}, "settings.chunk_overlap_tokens"),
        ({"chunk_overlap_tokens": -1}, "settings.chunk_overlap_tokens"),
        ({"refusal_threshold": 1.01}, "settings.refusal_threshold"),
        ({"refusal_threshold": float("nan")}, "settings.refusal_threshold"),
    ],
)
async def test_settings_out_of_range_are_refused(
    resources: Resources, changes: dict[str, float], field: str
) -> None:
    good = CollectionSettings(chunk_max_tokens=40, chunk_overlap_tokens=5)
    await resources.collections.create("a", good)
    with pytest.raises(InvalidInput) as caught:
        await resources.collections.update("a", replace(good, **changes))
    assert caught.value.field == field
    assert (await resources.collections.get("a")).settings == good


async def test_update_replaces_the_settings(resources: Resources) -> None:
    await resources.collections.create("a")
    wanted = CollectionSettings(chunk_max_tokens=32, chunk_overlap_tokens=0, refusal_threshold=0.25)
    assert (await resources.collections.update("a", wanted)).settings == wanted
    assert (await resources.collections.get("a")).settings == wanted


async def test_chunking_of_an_empty_collection_may_change(resources: Resources) -> None:
    await resources.collections.create("a", CollectionSettings(64, 0))
    document = DocumentInput("One two three four five six seven. " * 20, id="x")
    await resources.collections.update("a", CollectionSettings(16, 0))
    (result,) = await resources.documents.add("a", [document])
    assert result.chunks == 10
    assert len((await resources.search.search("a", SearchInput("seven", limit=100))).hits) == 10


async def test_chunking_of_documents_is_not_changed_without_a_reindex(resources: Resources) -> None:
    await resources.collections.create("a", CollectionSettings(64, 0))
    await resources.documents.add("a", [DocumentInput("One two three.", id="x")])
    with pytest.raises(Conflict) as caught:
        await resources.collections.update("a", CollectionSettings(16, 0))
    assert "footnote reindex a" in (caught.value.next_step or "")
    assert (await resources.collections.get("a")).settings == CollectionSettings(64, 0)
    lenient = CollectionSettings(64, 0, refusal_threshold=0.1)
    assert (await resources.collections.update("a", lenient)).settings == lenient


@pytest.mark.parametrize("name", ["none", "заметки"])
async def test_unknown_collection_is_not_found(resources: Resources, name: str) -> None:
    collections, documents = resources.collections, resources.documents
    for call in (
        collections.get(name),
        collections.delete(name),
        collections.update(name, CollectionSettings(32, 0)),
        documents.add(name, [DocumentInput("text")]),
        documents.list(name),
        documents.delete(name, "x"),
        resources.search.search(name, SearchInput("text")),
    ):
        with pytest.raises(NotFound) as caught:
            await call
        assert caught.value.found == name


async def test_deleted_collection_takes_its_documents_with_it(resources: Resources, notes: str) -> None:
    await resources.documents.add(notes, [DocumentInput("A lighthouse.", id="x")])
    await resources.search.search(notes, SearchInput("lighthouse"))
    await resources.collections.delete(notes)
    made = await resources.collections.create(notes)
    assert (made.documents, made.chunks) == (0, 0)
    assert (await resources.search.search(notes, SearchInput("lighthouse"))).hits == ()


PROMPT = PromptTemplate(
    name="mine",
    system="Отвечай коротко, 简短。 {not_found}",
    not_found="Нет.",
    examples=(PromptExample("Why?", "So. [1]", ("Because so.",)),),
    decoding="free",
)


async def test_a_prompt_is_kept_and_taken_away(resources: Resources) -> None:
    made = await resources.collections.create("a", CollectionSettings(prompt=PROMPT))
    assert made.settings.prompt == PROMPT
    assert (await resources.collections.get("a")).settings.prompt == PROMPT
    await resources.collections.update("a", CollectionSettings())
    assert (await resources.collections.get("a")).settings.prompt is None


async def test_a_prompt_that_cannot_be_filled_in_is_refused(resources: Resources) -> None:
    broken = msgspec.structs.replace(PROMPT, passage="{text}")
    with pytest.raises(InvalidInput) as caught:
        await resources.collections.create("a", CollectionSettings(prompt=broken))
    assert caught.value.field == "settings.prompt.passage"
    assert await resources.collections.list() == ()
