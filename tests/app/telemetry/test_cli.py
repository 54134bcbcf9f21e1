"""`footnote stats` and `footnote query-log` on a data folder, beside a service and without one."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner, Result

from app.cli.program import program
from app.resources import Models, Resources, open_resources
from app.services.feedback_types import FeedbackInput, FeedbackKind
from app.services.types import DocumentInput
from app.settings import Settings
from app.telemetry.notes import Asked, Notes

Work = Callable[[Resources], Awaitable[Any]]


@pytest.fixture
def fill(tmp_path: Path, models: Models) -> Callable[[Work], None]:
    """Do something to the data folder, with the small models of the tests."""

    def work(what: Work) -> None:
        async def session() -> None:
            settings = Settings(home=tmp_path / "home", threads=1, query_log="full")
            async with open_resources(settings, models) as resources:
                await what(resources)

        asyncio.run(session())

    return work


@pytest.fixture
def run(tmp_path: Path, fill: Callable[[Work], None]) -> Callable[..., Result]:
    """Commands on a folder with one collection, two questions and one verdict; its port is nobody's."""

    async def notes(resources: Resources) -> None:
        await resources.collections.create("notes")
        await resources.documents.add("notes", [DocumentInput("Leave is 30 days.", id="leave")])
        for question in ("leave days", "Кто такой Иванов?"):
            asked = Asked("search", "notes", question, "hybrid", None, release=1)
            resources.query_log.keep(Notes([asked]), "r1")
        await resources.query_log.flush()
        given = FeedbackInput("leave days", FeedbackKind.CLICK, "leave")
        await resources.feedback.add("notes", given)

    fill(notes)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    environ = {"FOOTNOTE_HOME": str(tmp_path / "home"), "FOOTNOTE_PORT": str(free)}

    def command(*words: str) -> Result:
        return CliRunner().invoke(program, list(words), env=environ)

    return command


class Service(BaseHTTPRequestHandler):
    """Answers every call with the same."""

    reply: ClassVar[tuple[int, bytes]] = (200, b"")

    def do_GET(self) -> None:
        status, body = self.reply
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Service)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_stats_of_a_folder_that_nobody_serves(run: Callable[..., Result]) -> None:
    told = json.loads(run("stats", "--json").stdout)
    assert told["service"] is None
    assert told["logged_queries"] == 2
    (notes,) = told["collections"]
    assert (notes["name"], notes["documents"], notes["chunks"], notes["release"]) == ("notes", 1, 1, 1)
    assert told["jobs"]["states"] == dict.fromkeys(("queued", "running", "done", "failed", "cancelled"), 0)
    assert told["storage"]["database_bytes"] > 10_000
    shown = run("stats").stdout
    assert "notes" in shown
    assert "No service was found" in shown


def test_stats_add_what_the_service_of_this_folder_tells(run: Callable[..., Result], service: str) -> None:
    told = json.loads(run("stats", "--json").stdout)
    lane = {
        "model": "m@1",
        "lane": "query",
        "waiting_texts": 1,
        "texts": 2,
        "tokens": 30,
        "padded_tokens": 40,
    }
    index = {"collection": "notes", "chunks": 1, "recent_rows": 1, "dead_share": 0.0}
    index |= {"lag_writes": 3, "lag_s": 2.5}
    told["service"] = {
        "process": {"version": "1.2.3", "pid": 7, "uptime_s": 1.0, "resident_bytes": 1 << 20},
        "loads": [{"load": "search", "in_flight": 1, "most": 2, "refused": 3}],
        "bodies_refused": 0,
        "slow_connections": 0,
        "rate_limited": 0,
        "deadlines_exceeded": 0,
        "event_loop_lag_s": 0.001,
        "encoder": [{**lane, "batches": 1}],
        "decoder": None,
        "answers_in_flight": 0,
        "reranks_in_flight": 0,
        "indexes": [index],
        "query_log_dropped": 0,
    }
    Service.reply = (200, json.dumps(told).encode())
    found = run("stats", "--url", service)
    assert "1.2.3, process 7" in found.stdout
    assert "75%" in found.stdout  # the batches' fill
    assert "3 writes, 2.5 s" in found.stdout
    other = {**told, "database_id": "another"}
    Service.reply = (200, json.dumps(other).encode())
    found = run("stats", "--url", service, "--json")
    assert "another data folder" in found.stderr
    assert json.loads(found.stdout)["service"] is None
    Service.reply = (401, b"{}")
    assert "answered 401" in run("stats", "--url", service).stderr


def test_the_log_is_exported_as_lines(run: Callable[..., Result], tmp_path: Path) -> None:
    lines = [json.loads(line) for line in run("query-log", "export", "notes").stdout.splitlines()]
    assert [line["text"] for line in lines] == ["leave days", "Кто такой Иванов?"]
    written = run("query-log", "export", "--out", str(tmp_path / "log.jsonl"), "--json")
    assert json.loads(written.stdout) == {"questions": 2}
    assert len((tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()) == 2
    absent = run("query-log", "export", "absent")
    assert absent.exit_code == 2
    assert "absent" in absent.stderr


def test_an_evaluation_is_written_and_the_next_command_told(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    folder = tmp_path / "task"
    shown = run("query-log", "export", "notes", "--evaluation", str(folder)).stdout
    assert "1 questions with 1 judgements and 1 documents" in shown
    assert f"footnote eval retrieval --data {folder}" in shown
    assert (folder / "qrels" / "test.tsv").read_text().splitlines()[1] == "q1\tleave\t1"
    assert run("query-log", "export", "--evaluation", str(tmp_path / "other")).exit_code == 2


def test_the_log_is_redacted_and_cleared(run: Callable[..., Result]) -> None:
    assert json.loads(run("query-log", "redact", "--containing", "иванов", "--json").stdout) == {
        "redacted": 1
    }
    lines = [json.loads(line) for line in run("query-log", "export").stdout.splitlines()]
    assert [line["text"] for line in lines] == ["leave days", None]
    assert json.loads(run("query-log", "clear", "--days", "1", "--json").stdout) == {"removed": 0}
    assert "Removed 2 questions" in run("query-log", "clear", "notes").stdout
    assert run("query-log", "export").stdout == ""
