"""How commands fail: exit codes, JSON for programs, names that were meant."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from app.cli.failures import EXIT_BAD_INPUT, EXIT_FAILURE, EXIT_INTERRUPTED, FootnoteGroup
from app.cli.suggestions import suggest
from app.db.collections import no_such_collection
from app.db.migrations import apply_migrations
from embeddings.errors import (
    Conflict,
    FootnoteError,
    InvalidInput,
    ModelDamaged,
    NotFound,
    Overloaded,
    StorageFull,
    Unreadable,
    UpstreamFailed,
)

FAILURES: list[tuple[BaseException, int]] = [
    (InvalidInput("wrong", field="limit", found="0", expected="1 to 10", next_step="ask for one"), 2),
    (NotFound("missing"), 2),
    (Conflict("taken"), 2),
    (Overloaded("busy"), 1),
    (StorageFull("full"), 1),
    (ModelDamaged("damaged"), 1),
    (Unreadable("broken"), 1),
    (UpstreamFailed("gone"), 1),
    (PermissionError(13, "Permission denied", "/nowhere"), 1),
    (KeyboardInterrupt(), 130),
]


def failing(error: BaseException) -> typer.Typer:
    """A program like ours whose one command fails."""
    commands = typer.Typer(cls=FootnoteGroup, pretty_exceptions_enable=False, rich_markup_mode=None)

    @commands.command("fail")
    def fail(as_json: bool = typer.Option(False, "--json")) -> None:
        raise error

    @commands.command("other")
    def other() -> None:
        """Without a second command the first one would be the program itself."""

    return commands


@pytest.mark.parametrize(("error", "code"), FAILURES, ids=lambda value: getattr(value, "code", None))
def test_each_failure_has_its_exit_code_and_no_traceback(error: BaseException, code: int) -> None:
    result = CliRunner().invoke(failing(error), ["fail"])
    assert (result.exit_code, result.stdout) == (code, "")
    assert "Traceback" not in result.stderr
    assert code in {EXIT_FAILURE, EXIT_BAD_INPUT, EXIT_INTERRUPTED}


def test_an_interrupted_command_says_that_it_stopped() -> None:
    assert CliRunner().invoke(failing(KeyboardInterrupt()), ["fail"]).stderr == "Stopped.\n"


def test_a_failure_tells_what_was_found_what_is_expected_and_what_to_do() -> None:
    assert CliRunner().invoke(failing(FAILURES[0][0]), ["fail"]).stderr.splitlines() == [
        "error: wrong",
        "  field:    limit",
        "  found:    0",
        "  expected: 1 to 10",
        "  next:     ask for one",
    ]


@pytest.mark.parametrize(("error", "code"), FAILURES[:-1], ids=lambda value: getattr(value, "code", None))
def test_a_failure_is_json_for_programs(error: BaseException, code: int) -> None:
    result = CliRunner().invoke(failing(error), ["fail", "--json"])
    assert (result.exit_code, result.stdout) == (code, "")
    told = json.loads(result.stderr)["error"]
    assert list(told) == ["code", "message", "field", "found", "expected", "next"]
    assert told["code"] == (error.code if isinstance(error, FootnoteError) else "os_error")
    assert told["message"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FOOTNOTE_HOME", str(tmp_path))
    return tmp_path


def make_collections(home: Path, *names: str) -> None:
    """Rows alone: what suggestions read."""
    database = home / "footnote.db"
    apply_migrations(database, 1)
    with closing(sqlite3.connect(database)) as connection, connection:
        for name in names:
            connection.execute(
                "INSERT INTO collections (name, chunk_max_tokens, chunk_overlap_tokens, last_seq, created_at,"
                " updated_at) VALUES (?, 200, 30, 0, '2026-01-01', '2026-01-01')",
                (name,),
            )
        connection.execute("UPDATE collections SET deleted_at = '2026-01-02' WHERE name = 'notes-old'")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("nots", "did you mean notes?"),
        ("NOTES", "did you mean notes?"),
        ("zzz", "there are: garden, notes"),
        ("notes-old", "did you mean notes?"),
    ],
)
def test_an_unknown_collection_is_answered_with_those_that_there_are(
    home: Path, written: str, told: str
) -> None:
    make_collections(home, "notes", "garden", "notes-old")
    assert (suggest(no_such_collection(written)).next_step or "").startswith(told)


def test_without_a_collection_it_is_told_how_to_make_one(home: Path) -> None:
    make_collections(home)
    assert "footnote ingest PATH --collection notes" in (suggest(no_such_collection("notes")).next_step or "")


def test_a_suggestion_is_left_out_where_the_names_cannot_be_read(home: Path) -> None:
    before = no_such_collection("notes").next_step
    assert suggest(no_such_collection("notes")).next_step == before
    (home / "footnote.db").write_bytes(b"no database")
    assert suggest(no_such_collection("notes")).next_step == before


def test_other_things_that_are_not_found_get_no_suggestion(home: Path) -> None:
    make_collections(home, "notes")
    assert suggest(NotFound("no document", field="id", found="nots")).next_step is None
