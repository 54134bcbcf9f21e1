"""The client against the service, over TCP."""

import asyncio
from pathlib import Path

import pytest

from app.client import (
    Answer,
    AsyncFootnote,
    Citation,
    Conflict,
    Delta,
    File,
    Footnote,
    Found,
    InvalidInput,
    JobFailed,
    NewDocument,
    NotFound,
    Unauthenticated,
    Unreachable,
)
from app.resources import Resources
from tests.app.client.conftest import SNOW, TOMATOES


async def test_search_finds_the_span_of_the_stored_text(footnote: AsyncFootnote) -> None:
    found = await footnote.search("garden", "when to plant tomatoes", limit=1, explain=True)
    hit = found.hits[0]
    text = await footnote.get_text(
        "garden", hit.document_id, version=hit.version, start=hit.start, end=hit.end
    )
    assert (hit.document_id, text.text) == ("beds/tomatoes", hit.text)
    assert hit.explain is not None
    assert hit.explain.fused_score == pytest.approx(hit.score)
    assert found.fusion is not None


async def test_answer_cites_its_source(footnote: AsyncFootnote) -> None:
    answer = await footnote.answer("garden", "When do I plant tomatoes?", filter={"bed": 1})
    citation = answer.citations[0]
    assert answer.status == "answered"
    assert TOMATOES[citation.start : citation.end] == citation.quote


async def test_answer_streams_hits_first_and_itself_last(footnote: AsyncFootnote) -> None:
    events = [event async for event in footnote.stream_answer("garden", "When do I plant tomatoes?")]
    assert isinstance(events[0], Found)
    assert isinstance(events[-1], Answer)
    assert {type(event) for event in events[1:-1]} == {Delta, Citation}


async def test_stream_of_an_unknown_collection_raises_before_its_first_event(footnote: AsyncFootnote) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        await anext(footnote.stream_answer("nowhere", "When?"))


async def test_waiting_client_does_the_same(waiting: Footnote, footnote: AsyncFootnote) -> None:
    def ask() -> tuple[Answer, list[object]]:
        question = "When do I plant tomatoes?"
        return waiting.answer("garden", question), list(waiting.stream_answer("garden", question))

    answer, events = await asyncio.to_thread(ask)
    last = events[-1]
    assert isinstance(last, Answer)
    assert answer.answer == last.answer
    assert answer.sentences == last.sentences
    assert isinstance(events[0], Found)


@pytest.mark.parametrize(
    "document_id", ["..", "a/../b", "https://example.org/a//b?c=1#d", "ночь.md", "50 %", ".", "a/"]
)
async def test_any_id_comes_back_as_it_was_given(footnote: AsyncFootnote, document_id: str) -> None:
    await footnote.add_documents("garden", [NewDocument("Peas climb.", id=document_id)])
    assert (await footnote.get_document("garden", document_id)).id == document_id
    assert (await footnote.get_text("garden", document_id)).text == "Peas climb."
    await footnote.delete_document("garden", document_id)
    with pytest.raises(NotFound):
        await footnote.get_document("garden", document_id)


async def test_files_are_added_under_their_names(footnote: AsyncFootnote, tmp_path: Path) -> None:
    (tmp_path / "peas.md").write_text("# Peas\n\nSow peas in April.", encoding="utf-8")
    batch = await footnote.add_files(
        "garden", [tmp_path / "peas.md", File("снег.txt", SNOW.encode())], metadata={"bed": 3}
    )
    assert [(item.id, item.status) for item in batch.items] == [
        ("peas.md", "created"),
        ("снег.txt", "created"),
    ]
    assert (await footnote.get_document("garden", "peas.md")).metadata == {"bed": 3}
    assert await footnote.get_original("garden", "снег.txt") == SNOW.encode()


async def test_a_bad_item_has_its_reason_and_the_others_are_stored(footnote: AsyncFootnote) -> None:
    batch = await footnote.add_documents("garden", ["Leeks stand frost.", ""])
    assert batch.errors
    assert [item.status for item in batch.items] == ["created", "error"]
    assert batch.items[1].expected


async def test_every_document_is_listed_over_pages(
    footnote: AsyncFootnote, waiting: Footnote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.client.asynchronous.PAGE_ENTRIES", 2)
    monkeypatch.setattr("app.client.synchronous.PAGE_ENTRIES", 2)
    await footnote.add_documents(
        "garden", [NewDocument(f"Text {number}.", id=f"{number}") for number in range(3)]
    )
    awaited = [document.id async for document in footnote.iterate_documents("garden")]
    waited = await asyncio.to_thread(lambda: [each.id for each in waiting.iterate_documents("garden")])
    assert awaited == waited == ["0", "1", "2", "beds/tomatoes", "снег"]


async def test_documents_are_deleted_by_filter(footnote: AsyncFootnote) -> None:
    assert (await footnote.delete_documents("garden", filter={"bed": 1})).deleted == 1
    assert (await footnote.get_collection("garden")).documents == 1


async def test_settings_are_changed_and_listed(footnote: AsyncFootnote) -> None:
    changed = await footnote.update_collection("garden", {"refusal_threshold": 0.25})
    listed = await footnote.list_collections()
    assert changed.settings["refusal_threshold"] == 0.25
    assert [each.settings for each in listed.collections] == [changed.settings]


async def test_refusals_are_the_exceptions_of_the_service(footnote: AsyncFootnote, url: str) -> None:
    with pytest.raises(Conflict):
        await footnote.create_collection("garden")
    with pytest.raises(InvalidInput) as refused:
        await footnote.search("garden", "peas", limit=0)
    assert (refused.value.field, refused.value.found) == ("limit", "0")
    assert refused.value.expected
    async with AsyncFootnote(url) as nobody:
        with pytest.raises(Unauthenticated):
            await nobody.delete_collection("garden")


async def test_job_is_listed_followed_and_cancelled(
    footnote: AsyncFootnote, waiting: Footnote, tmp_path: Path
) -> None:
    """No worker runs here, so that the job stays queued until it is cancelled."""
    job = await footnote.ingest_files("garden", [File("peas.txt", b"Sow peas in April.")])
    assert [item.name async for item in footnote.iterate_job_items(job.id)] == ["peas.txt"]
    assert [each.id for each in (await footnote.list_jobs(collection="garden")).jobs] == [job.id]
    with pytest.raises(TimeoutError, match="queued"):
        await footnote.wait_for_job(job.id, timeout_s=0)
    followed = footnote.follow_job(job.id)
    assert (await anext(followed)).active
    await footnote.cancel_job(job.id)
    assert [each.state async for each in followed][-1] == "cancelled"
    with pytest.raises(JobFailed, match="cancelled") as failed:
        await asyncio.to_thread(waiting.wait_for_job, job.id)
    assert failed.value.job.id == job.id


async def test_administrators_see_releases_golden_queries_and_feedback(footnote: AsyncFootnote) -> None:
    assert (await footnote.list_releases("garden")).releases[0].state == "serving"
    golden = await footnote.add_golden_query("garden", "when to plant tomatoes", ["beds/tomatoes"])
    assert (await footnote.list_golden_queries("garden")).golden_queries == [golden]
    await footnote.remove_golden_query("garden", golden.id)
    verdict = await footnote.add_feedback("garden", "tomatoes", "thumbs_up", "beds/tomatoes", start=0, end=22)
    assert (await footnote.list_feedback("garden", kind="thumbs_up")).feedback == [verdict]
    await footnote.remove_feedback("garden", verdict.id)
    assert (await footnote.list_feedback("garden")).feedback == []
    assert (await footnote.prune_releases("garden")).chunks == 0


async def test_conversations_are_kept_where_the_collection_says_so(footnote: AsyncFootnote) -> None:
    assert (await footnote.answer("garden", "When do I plant tomatoes?")).conversation_id is None
    await footnote.update_collection("garden", {"keep_conversations": True})
    answer = await footnote.answer("garden", "When do I plant tomatoes?")
    assert answer.conversation_id is not None
    kept = await footnote.get_conversation("garden", answer.conversation_id)
    assert [(turn.question, turn.answer) for turn in kept.turns] == [(answer.question_used, answer.answer)]
    assert kept.turns[0].citations[0].quote == answer.citations[0].quote
    assert [each.id for each in (await footnote.list_conversations("garden")).conversations] == [kept.id]
    await footnote.delete_conversation("garden", kept.id)
    assert (await footnote.delete_conversations("garden")).deleted == 0


async def test_map_and_figures_are_read(footnote: AsyncFootnote) -> None:
    mapped = await footnote.get_map("garden", field="bed")
    assert len(mapped.points["x"]) == mapped.passages == 2
    stats = await footnote.get_stats()
    assert [(each["name"], each["documents"]) for each in stats.collections] == [("garden", 2)]


async def test_deadline_goes_with_every_request(footnote: AsyncFootnote, url: str) -> None:
    async with AsyncFootnote(url, deadline_s=-1) as hasty:
        with pytest.raises(InvalidInput) as refused:
            await hasty.search("garden", "peas")
    assert refused.value.field == "X-Request-Timeout-S"


async def test_texts_without_a_collection(footnote: AsyncFootnote, resources: Resources) -> None:
    model = (await footnote.list_models()).data[0]
    embedded = await footnote.embed(["peas", "leeks"], model=model.id)
    assert [len(vector) for vector in embedded.vectors] == [model.dimensions[0]] * 2
    ranked = await footnote.rerank("plant tomatoes", ["snow", "plant tomatoes in May"], top_n=1)
    assert [rank.index for rank in ranked.results] == [1]
    alike = await footnote.similarity("plant tomatoes", ["snow", "plant tomatoes"])
    assert alike.results[0].matches[0].index == 1
    examples = [{"text": "plant peas", "label": "sow"}, {"text": "shovel snow", "label": "clear"}]
    labelled = await footnote.classify(["plant leeks"], examples=examples)
    assert {each.label for each in labelled.results[0].labels} == {"sow", "clear"}
    assert (await footnote.list_classifiers()).classifiers == []


def test_nobody_at_the_address_is_told_with_the_address() -> None:
    with Footnote("http://127.0.0.1:9") as client, pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        client.add_feedback("garden", "peas", "click", "peas.md")
