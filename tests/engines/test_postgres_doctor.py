"""What the command line does by itself with the metadata, where that is in PostgreSQL."""

from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from app.cli.suggestions import suggest
from app.doctor.examination import examine
from app.doctor.findings import Finding, Level
from app.resources import Models, open_resources
from app.services.types import DocumentInput
from app.settings import Settings
from app.snapshots.writing import create_snapshot
from embeddings.errors import Conflict, NotFound
from generation.answering import Answerer
from tests.app.hashing_encoder import HashingEncoder, write_word_tokenizer


@pytest.fixture
def settings(tmp_path: Path, migrated_url: str) -> Settings:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return Settings(home=home, database_url=migrated_url, threads=1)


@pytest.fixture
async def stocked(settings: Settings, tmp_path: Path) -> Settings:
    """Two documents in a collection."""
    models = Models(HashingEncoder(), write_word_tokenizer(tmp_path), Answerer(None, refuse_below=0.0))
    async with open_resources(settings, models) as resources:
        await resources.collections.create("notes")
        texts = {"light": "The lighthouse stands.", "хлеб": "Хлеб пекут в печи."}
        await resources.documents.add("notes", [DocumentInput(text, name) for name, text in texts.items()])
    return settings


def found(settings: Settings, full: bool = False) -> dict[str, Finding]:
    """The findings by their checks. The encoder of these tests is none that the settings name."""
    return {each.check: each for each in examine(settings, full) if "model in service" not in each.message}


@pytest.mark.parametrize("full", [False, True])
def test_healthy_database_is_ok_in_every_check(stocked: Settings, full: bool) -> None:
    findings = found(stocked, full)
    with psycopg.connect(stocked.database.conninfo) as connection:  # the tests' own server may be a quick one
        durable = connection.execute("SELECT current_setting('fsync')").fetchone() == ("on",)
    assert {name for name, each in findings.items() if each.level != Level.OK} <= (
        set() if durable else {"database server"}
    )
    assert {"schema", "documents", "chunks", "vectors", "connections"} <= set(findings)
    assert findings["documents"].message.startswith("2 have")
    assert ("texts" in findings) == full


@pytest.mark.parametrize(
    ("statement", "check", "says"),
    [
        ('UPDATE chunks SET "end" = 9999 WHERE document_id = 1', "chunks", "outside of their text in 1"),
        ("DELETE FROM document_versions WHERE document_id = 2", "documents", "no current version: хлеб"),
        ("UPDATE vectors SET data = data || data WHERE chunk_id = 1", "vectors", "in the documents light"),
        ("UPDATE document_versions SET text = 'No.' WHERE document_id = 1", "texts", "stored: light"),
        ("UPDATE collections SET release_id = 99", "releases", "without a release in service: notes"),
    ],
)
def test_damage_in_the_tables_is_a_problem(stocked: Settings, statement: str, check: str, says: str) -> None:
    with psycopg.connect(stocked.database.conninfo) as connection:
        connection.execute(statement.encode())
    finding = found(stocked, full=True)[check]
    assert finding.level == Level.PROBLEM
    assert says in finding.message
    assert finding.next_step


def test_empty_database_is_no_damage(settings: Settings, postgres_url: str) -> None:
    finding = found(replace(settings, database_url=postgres_url))["database"]
    assert (finding.level, finding.next_step) == (Level.WARNING, "footnote serve makes them")


def test_missing_data_folder_does_not_hide_the_database(stocked: Settings, tmp_path: Path) -> None:
    findings = found(replace(stocked, home=tmp_path / "nowhere"))
    assert findings["data folder"].level == Level.WARNING
    assert findings["documents"].level == Level.OK


def test_server_that_does_not_answer_is_a_problem_that_hides_the_password(settings: Settings) -> None:
    nowhere = "postgresql://me:secret@127.0.0.1:9/footnote"
    finding = found(replace(settings, database_url=nowhere))["database"]
    assert finding.level == Level.PROBLEM
    assert "secret" not in f"{finding.message} {finding.next_step}"


async def test_misspelt_collection_is_suggested(stocked: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOTNOTE_DATABASE_URL", stocked.database.conninfo)
    error = suggest(NotFound("no such collection", field="collection", found="note"))
    assert str(error.next_step).startswith("did you mean notes?")


def test_snapshot_is_refused_with_what_to_do_instead(stocked: Settings, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="PostgreSQL") as caught:
        create_snapshot(stocked, tmp_path / "a.tar")
    assert "pg_dump" in str(caught.value.next_step)
    assert not (tmp_path / "a.tar").exists()
