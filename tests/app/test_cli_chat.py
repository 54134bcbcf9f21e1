"""`footnote ask --chat` and `footnote conversations`, with a decoder on a server that follows a script."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.cli.program import program
from tests.generation.causal.openai_stub import Answer, Stub, delta, refuse, serving, stream

MAY = "Plant tomatoes in May, after the last frost."
STANDALONE = "What do tomatoes like?"
ANSWERS = stream(delta(f"{MAY} [1]"), delta("", finish="stop"))
REWRITES = stream(delta(STANDALONE), delta("", finish="stop"))
QUESTIONS = "When do I plant tomatoes?\n\nAnd what do they like?\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the collection `notes`."""
    place = tmp_path_factory.mktemp("chat")
    (place / "tomatoes.md").write_text(f"# Tomatoes\n\n{MAY}\n")
    result = run(place / "home", None, "ingest", str(place / "tomatoes.md"), "--collection", "notes")
    assert result.exit_code == 0, result.output
    return place / "home"


def run(home: Path, decoder: Stub | None, *words: str, typed: str | None = None) -> Result:
    environ = {"FOOTNOTE_HOME": str(home), "FOOTNOTE_THREADS": "1"}
    if decoder is not None:
        environ |= {"FOOTNOTE_DECODER_URL": decoder.url, "FOOTNOTE_DECODER_MODEL": "scripted"}
    return CliRunner().invoke(program, list(words), env=environ, input=typed)


@contextmanager
def decoder(*script: Answer) -> Iterator[Stub]:
    """The server, in a thread of its own: commands bring their own event loop."""
    started, stubs = threading.Event(), list[Stub]()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with serving(*script) as stub:
            stubs.append(stub)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    started.wait()
    try:
        yield stubs[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def chat(home: Path, stub: Stub, *more: str, typed: str = QUESTIONS) -> Result:
    return run(home, stub, "ask", "--chat", "--collection", "notes", *more, typed=typed)


def test_a_follow_up_is_rewritten_told_and_answered(home: Path) -> None:
    with decoder(ANSWERS, REWRITES, ANSWERS) as stub:
        result = chat(home, stub)
    assert result.exit_code == 0, result.output
    first, second = result.stdout.split(f"    “{MAY}”\n\n")[:2]
    assert first == f"{MAY} [1]\n\n[1] tomatoes.md v1 [12:56]\n"
    assert second == f"Asked: {STANDALONE}\n{first}"
    shown = stub.bodies[1]["messages"][-1]["content"]
    assert f"User: When do I plant tomatoes?\nAssistant: {MAY}\n" in shown


def test_programs_get_a_line_of_json_for_each_question(home: Path) -> None:
    with decoder(ANSWERS, REWRITES, ANSWERS) as stub:
        result = chat(home, stub, "--json")
    replies: list[dict[str, Any]] = [json.loads(line) for line in result.stdout.splitlines()]
    assert [reply["question_used"] for reply in replies] == ["When do I plant tomatoes?", STANDALONE]
    assert [reply["conversation_id"] for reply in replies] == [None, None]


def test_what_was_said_is_forgotten_on_request_and_the_conversation_ended(home: Path) -> None:
    with decoder(ANSWERS) as stub:
        result = chat(home, stub, typed=f"When?\n/new\n{QUESTIONS.splitlines()[2]}\n/quit\nNever?\n")
    assert (result.exit_code, len(stub.bodies)) == (0, 2)
    assert "Asked:" not in result.stdout


def test_a_question_that_fails_is_told_and_the_next_one_is_asked(home: Path) -> None:
    with decoder(refuse(400, '{"error": {"message": "out of words"}}'), ANSWERS) as stub:
        result = chat(home, stub, typed="When?\nWhen do I plant tomatoes?\n")
    assert result.exit_code == 1
    assert "out of words" in result.stderr
    assert f"{MAY} [1]" in result.stdout


def test_a_conversation_is_kept_shown_gone_on_with_and_deleted(home: Path) -> None:
    assert (
        "keep_conversations" in run(home, None, "collections", "set", "notes", "--keep-conversations").stdout
    )
    with decoder(ANSWERS, REWRITES, ANSWERS, REWRITES, ANSWERS) as stub:
        replies = [json.loads(line) for line in chat(home, stub, "--json").stdout.splitlines()]
        number = replies[0]["conversation_id"]
        go_on = ("ask", "And then?", "--collection", "notes", "--conversation", str(number), "--json")
        third = json.loads(run(home, stub, *go_on).stdout)
    assert {reply["conversation_id"] for reply in (*replies, third)} == {number}
    told = run(home, None, "ask", "Когда сажают томаты?", "--collection", "notes").stderr
    assert told == f"Kept in conversation {number + 1}: --conversation {number + 1} goes on with it.\n"
    assert run(home, None, "conversations", "delete", "notes", str(number + 1)).exit_code == 0
    listed = json.loads(run(home, None, "conversations", "list", "notes", "--json").stdout)
    assert [(each["id"], each["turns"]) for each in listed["conversations"]] == [(number, 3)]
    shown = run(home, None, "conversations", "show", "notes", str(number)).stdout
    assert f"3. And then?\n   Asked: {STANDALONE}\n   {MAY}\n   [1] tomatoes.md v1 [12:56]  “{MAY}”" in shown
    assert run(home, None, "conversations", "delete", "notes").exit_code == 2
    deleted = run(home, None, "conversations", "delete", "notes", "--all", "--json")
    assert json.loads(deleted.stdout) == {"deleted": 1}
    assert run(home, None, "conversations", "show", "notes", str(number)).exit_code == 2


def test_a_decoder_that_copies_cannot_chat(home: Path) -> None:
    result = run(home, None, "ask", "--chat", "--collection", "notes", typed=QUESTIONS)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "FOOTNOTE_DECODER_URL" in result.stderr


def test_a_single_question_has_to_be_there(home: Path) -> None:
    result = run(home, None, "ask", "--collection", "notes")
    assert result.exit_code == 2
    assert "there is no question" in result.stderr
