"""What was asked: kept as the settings say, exported, redacted, removed."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from httpx import AsyncClient as Client
from httpx import Response

from app.db.query_log import LoggedQuery, read_queries
from app.evaluation.query_log import export_lines, write_task
from app.resources import Resources
from app.services import query_log
from app.services.feedback_types import FeedbackInput, FeedbackKind
from app.services.query_log import QueryLog
from app.services.types import SearchInput, SearchOutput
from app.settings import Settings
from app.telemetry.notes import Asked, Notes
from embeddings.errors import InvalidInput, NotFound, StorageFull
from retrieval.benchmark import load_task
from tests.app.stored import dump

Post = Callable[..., Awaitable[Response]]
QUESTION = "When do I plant tomatoes?"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, query_log="full")


async def logged(resources: Resources) -> list[LoggedQuery]:
    """Everything that is in the log."""
    await resources.query_log.flush()
    async with resources.database.read() as connection:
        return [each async for each in read_queries(connection)]


def asked(collection: str, question: str, **fields: object) -> Notes:
    return Notes([Asked("search", collection, question, "hybrid", None, release=1, **fields)])  # type: ignore[arg-type]


async def test_a_search_is_kept_with_what_was_found(resources: Resources, post: Post, garden: str) -> None:
    reply = await post("search", query=QUESTION, mode="lexical", filter={"bed": 1}, limit=5)
    (row,) = await logged(resources)
    assert (row.collection, row.kind, row.question, row.mode) == (garden, "search", QUESTION, "lexical")
    assert (row.filter, row.status, row.release) == ({"bed": 1}, None, 1)
    assert row.request_id == reply.headers["X-Request-Id"]
    assert row.took_ms > 0
    (hit,) = reply.json()["hits"]
    assert row.hits == [
        {
            "document_id": "beds/tomatoes",
            "version": 1,
            "start": hit["start"],
            "end": hit["end"],
            "score": round(hit["score"], 6),
        }
    ]


async def test_an_answer_is_one_question_with_its_status(
    resources: Resources, post: Post, garden: str
) -> None:
    await post("answer", question=QUESTION)
    await post("answer", question="Кто убирает снег?")
    first, second = await logged(resources)
    assert (first.kind, first.status, first.question) == ("answer", "answered", QUESTION)
    assert first.hits[0]["document_id"] == "beds/tomatoes"
    assert (second.kind, second.status) == ("answer", "passages_only")


async def test_a_chat_with_a_collection_is_kept_as_an_answer(
    resources: Resources, admin: Client, garden: str
) -> None:
    body = {"model": f"footnote:{garden}", "messages": [{"role": "user", "content": QUESTION}]}
    assert (await admin.post("/v1/chat/completions", json=body)).status_code == 200
    (row,) = await logged(resources)
    assert (row.kind, row.status, row.collection) == ("answer", "answered", garden)


async def test_what_is_refused_is_not_kept(resources: Resources, post: Post, garden: str) -> None:
    assert (await post("search", query=" ")).status_code == 422
    assert (await post("answer", question=QUESTION, passages=0)).status_code == 422
    assert await logged(resources) == []


async def test_a_command_notes_nothing(resources: Resources, post: Post, garden: str) -> None:
    found: SearchOutput = await resources.search.search(garden, SearchInput("tomatoes"))
    assert found.hits
    assert await logged(resources) == []


async def test_nothing_is_kept_unless_it_is_switched_on(resources: Resources, garden: str) -> None:
    off = QueryLog(resources.database, replace(resources.settings, query_log="off"))
    off.keep(asked(garden, "secret"), "r1")
    await off.flush()
    assert await logged(resources) == []


async def test_hashes_tell_repetitions_and_no_words(resources: Resources, garden: str) -> None:
    log = QueryLog(resources.database, replace(resources.settings, query_log="hashed"))
    for question in ("Leave  Days?", "leave days?", "other"):
        notes = asked(garden, question)
        notes.asked[0].filter = {"person": "Ann"}
        log.keep(notes, "r1")
    await log.flush()
    first, second, third = await logged(resources)
    assert first.question_hash == second.question_hash != third.question_hash
    assert [each.question for each in (first, second, third)] == [None] * 3
    stored = dump(resources)
    assert "query_log" in stored
    assert "eave days" not in stored
    assert "Ann" not in stored


async def test_a_disk_that_takes_no_more_loses_nothing_and_holds_nobody_up(
    resources: Resources, garden: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = resources.query_log
    monkeypatch.setattr(query_log, "MAX_PENDING", 2)
    for number in range(3):
        log.keep(asked(garden, f"question {number}"), "r1")
    assert log.dropped == 1

    async def full(*_: object) -> None:
        raise StorageFull("the disk took no more")

    with monkeypatch.context() as broken:
        broken.setattr(query_log, "add_queries", full)
        with pytest.raises(StorageFull):
            await log.flush()
    assert [each.question for each in await logged(resources)] == ["question 0", "question 1"]


async def test_what_is_too_old_goes(resources: Resources, garden: str) -> None:
    log = QueryLog(resources.database, replace(resources.settings, query_log_days=30))
    now = datetime.now(UTC)
    for days in (1, 29, 31):
        log._pending.append((now - timedelta(days=days), asked(garden, f"{days} days").asked[0], "r1"))
    await log.flush()
    assert await log.purge() == 1
    assert [each.question for each in await logged(resources)] == ["1 days", "29 days"]
    for_ever = QueryLog(resources.database, replace(resources.settings, query_log_days=0))
    assert await for_ever.purge() == 0


async def test_redaction_takes_the_words_of_some_or_of_all(resources: Resources, garden: str) -> None:
    log = resources.query_log
    for question in ("Who is Иванов?", "who is ИВАНОВ?", "leave days"):
        log.keep(asked(garden, question), "r1")
    assert await log.redact(garden, "иванов") == 2
    assert [each.question for each in await logged(resources)] == [None, None, "leave days"]
    assert await log.redact() == 1
    with pytest.raises(NotFound):
        await log.redact("absent")


async def test_clearing_removes_of_one_collection_or_before_a_moment(
    resources: Resources, garden: str
) -> None:
    await resources.collections.create("other")
    log = resources.query_log
    for name in (garden, garden, "other"):
        log.keep(asked(name, "question"), "r1")
    assert await log.clear(garden, before=datetime.now(UTC) - timedelta(days=1)) == 0
    assert await log.clear(garden) == 2
    assert [each.collection for each in await logged(resources)] == ["other"]


async def test_the_log_goes_with_its_collection(resources: Resources, garden: str) -> None:
    resources.query_log.keep(asked(garden, "question"), "r1")
    assert len(await logged(resources)) == 1
    await resources.collections.delete(garden)
    assert await logged(resources) == []
    resources.query_log.keep(asked(garden, "question"), "r1")  # it was asked just before
    await resources.reclaimer.finish()
    assert await logged(resources) == []


async def test_an_export_is_lines_that_queries_of_beir_have(resources: Resources, garden: str) -> None:
    resources.query_log.keep(asked(garden, "Кто?"), "r1")
    await resources.query_log.flush()
    (line,) = [json.loads(line) async for line in export_lines(resources.database, garden)]
    assert line["_id"] == "q1"
    assert line["text"] == "Кто?"
    assert line["collection"] == garden
    with pytest.raises(NotFound):
        [line async for line in export_lines(resources.database, "absent")]


async def test_an_evaluation_is_made_of_questions_with_feedback(
    resources: Resources, post: Post, garden: str, tmp_path: Path
) -> None:
    for question in (QUESTION, "What of snow?", "Nobody's question"):
        await post("search", query=question)
    await resources.query_log.flush()
    for query, kind, document in (
        (QUESTION, FeedbackKind.THUMBS_UP, "beds/tomatoes"),
        (QUESTION, FeedbackKind.CLICK, "снег"),
        (QUESTION, FeedbackKind.THUMBS_DOWN, "снег"),
        ("never asked over HTTP", FeedbackKind.CLICK, "снег"),
        ("What of snow?", FeedbackKind.CLICK, "снег"),
    ):
        await resources.feedback.add(garden, FeedbackInput(query, kind, document))
    written = await write_task(resources.database, garden, tmp_path / "task")
    assert (written.documents, written.queries, written.judgements, written.unjudged) == (2, 2, 3, 1)
    task = load_task(tmp_path / "task")
    judged = {task.queries[key]: grades for key, grades in task.qrels.items()}
    assert judged[QUESTION]["beds/tomatoes"] == 2
    assert judged["What of snow?"] == {"снег": 1}
    assert "Plant tomatoes" in task.documents["beds/tomatoes"]


async def test_an_evaluation_of_nothing_says_what_is_missing(
    resources: Resources, garden: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match="feedback"):
        await write_task(resources.database, garden, tmp_path / "task")
    (tmp_path / "task" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InvalidInput, match="there already"):
        await write_task(resources.database, garden, tmp_path / "task")
