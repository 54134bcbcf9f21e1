import asyncio
import json
import os
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from app.cli.program import program
from app.doctor.examination import examine
from app.doctor.findings import Finding, Level
from app.resources import open_resources
from app.services.types import DocumentInput
from app.settings import Settings
from embeddings.artifact import BUNDLED_ENCODER
from tests.app.snapshots.conftest import TEXTS, make_build


@pytest.fixture(scope="module")
def stocked_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with four documents and a build, which no process has open."""
    settings = Settings(home=tmp_path_factory.mktemp("stocked") / "home", threads=1)

    async def stock() -> None:
        async with open_resources(settings) as resources:
            await resources.collections.create("notes")
            documents = [DocumentInput(text, name) for name, text in TEXTS.items()]
            await resources.documents.add("notes", documents)
            await make_build(resources)

    asyncio.run(stock())
    return settings.home


@pytest.fixture
def sick(stocked_home: Path, tmp_path: Path) -> Settings:
    """Settings of a data folder of its own, to be damaged."""
    home = shutil.copytree(stocked_home, tmp_path / "home")
    home.chmod(0o700)
    return Settings(home=home, threads=1)


def complaints(settings: Settings, full: bool = False) -> list[Finding]:
    return [each for each in examine(settings, full) if each.level != Level.OK]


def execute(settings: Settings, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(settings.database.shown)) as connection, connection:
        connection.execute(statement, values)


@pytest.mark.parametrize("full", [False, True])
def test_healthy_folder_is_ok_in_every_check(sick: Settings, full: bool) -> None:
    before = {path: path.stat().st_mtime_ns for path in sick.home.rglob("*.faiss")}
    findings = list(examine(sick, full))
    assert [each for each in findings if each.level != Level.OK] == []
    assert {each.check for each in findings} >= {"disk", "schema", "documents", "chunks", "vectors", "builds"}
    assert ("texts" in {each.check for each in findings}) == full
    assert {path: path.stat().st_mtime_ns for path in sick.home.rglob("*.faiss")} == before


@pytest.mark.parametrize(
    ("statement", "check", "says"),
    [
        (
            'UPDATE chunks SET "end" = 9999 WHERE id = 1',
            "chunks",
            "outside of their text in 1",
        ),
        (
            "DELETE FROM document_versions WHERE document_id = 2",
            "documents",
            "no current version: mayak",
        ),
        ("UPDATE collections SET release_id = 99", "releases", "without a release in service: notes"),
        ("UPDATE alembic_version SET version_num = '9999'", "schema", "does not know"),
    ],
)
def test_damage_in_the_tables_is_a_problem(sick: Settings, statement: str, check: str, says: str) -> None:
    execute(sick, statement)
    found = complaints(sick)
    assert [each.level for each in found if each.check == check] == [Level.PROBLEM]
    (finding,) = [each for each in found if each.check == check]
    assert says in finding.message
    assert finding.next_step


@pytest.mark.parametrize(
    ("vector", "says"),
    [
        (np.zeros(384), "not of length 1"),
        (np.full(384, np.nan), "not of length 1"),
        (np.full(384, 1.0), "not of length 1"),
        (np.eye(1, 380)[0], "of another size"),
    ],
)
def test_bad_vector_is_a_problem_that_names_the_document(
    sick: Settings, vector: np.ndarray, says: str
) -> None:
    execute(sick, "UPDATE vectors SET data = ? WHERE chunk_id = 4", vector.astype("<f2").tobytes())
    (finding,) = complaints(sick)
    assert finding.level == Level.PROBLEM
    assert says in finding.message
    assert finding.message.endswith("in the documents bread")


def test_what_the_next_search_makes_is_a_warning(sick: Settings) -> None:
    execute(sick, "DELETE FROM vectors WHERE chunk_id = 1")
    execute(sick, "UPDATE chunks SET chunking = 'another' WHERE id = 2")
    assert {(each.check, each.level) for each in complaints(sick)} == {
        ("vectors", Level.WARNING),
        ("chunks", Level.WARNING),
    }


def test_changed_text_is_found_by_the_full_examination(sick: Settings) -> None:
    execute(sick, "UPDATE document_versions SET text = replace(text, 'rock', 'sock')")
    assert complaints(sick) == []
    (finding,) = complaints(sick, full=True)
    assert (finding.check, finding.level) == ("texts", Level.PROBLEM)
    assert finding.message.endswith(": light")


def test_damaged_file_ends_the_examination_with_a_problem(sick: Settings) -> None:
    content = bytearray((sick.home / "footnote.db").read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    (sick.home / "footnote.db").write_bytes(content)
    (finding,) = complaints(sick)
    assert (finding.check, finding.level) == ("integrity of footnote.db", Level.PROBLEM)
    assert "snapshot restore" in str(finding.next_step)


def test_row_that_points_to_nothing_is_found_by_the_full_examination(sick: Settings) -> None:
    execute(sick, "DELETE FROM chunks WHERE id = 3")
    assert any("points to no chunks" in each.message for each in complaints(sick, full=True))


def test_damaged_build_is_a_warning_for_it_is_a_cache(sick: Settings) -> None:
    (vectors,) = sick.home.rglob("vectors.faiss")
    content = bytearray(vectors.read_bytes())
    content[-1] ^= 1
    vectors.write_bytes(content)
    (finding,) = complaints(sick)
    assert (finding.check, finding.level) == ("builds", Level.WARNING)
    assert "vectors.faiss" in finding.message


def test_build_of_another_database_or_collection_is_a_warning(sick: Settings) -> None:
    shutil.copytree(sick.home / "indexes" / "1", sick.home / "indexes" / "77")
    execute(sick, "UPDATE identity SET database_id = 'other'")
    messages = [each.message for each in complaints(sick)]
    assert len(messages) == 2
    assert "no collection owns" in messages[0]
    assert "of another database" in messages[1]


def test_damaged_model_in_service_is_a_problem_and_another_a_warning(sick: Settings) -> None:
    mine = shutil.copytree(BUNDLED_ENCODER, sick.home / "models" / "mine")
    (mine / "tokenizer.json").write_text("{}")
    execute(
        sick,
        "INSERT INTO releases SELECT 2, collection_id, 2, 'previous', chunk_max_tokens, chunk_overlap_tokens,"
        " chunking, 'models/mine', 'mine@1', report, created_at, promoted_at, engine FROM releases",
    )
    (finding,) = complaints(sick)
    assert (finding.check, finding.level) == ("model mine", Level.WARNING)
    (finding,) = complaints(replace(sick, encoder=mine))
    assert (finding.check, finding.level) == ("model encoder", Level.PROBLEM)
    assert "tokenizer.json" in finding.message


def test_what_killed_processes_left_is_a_warning(sick: Settings) -> None:
    workshop = sick.home / ".a.tar.partial"
    upload = sick.home / "uploads" / "lost"
    for folder in (workshop, upload):
        folder.mkdir(parents=True)
        os.utime(folder, (time.time() - 10**6, time.time() - 10**6))
    (finding,) = complaints(sick)
    assert (finding.check, finding.level) == ("temporary files", Level.WARNING)
    assert str(workshop) in finding.message
    assert str(upload) in finding.message


def test_open_folder_is_a_warning(sick: Settings) -> None:
    sick.home.chmod(0o755)
    (finding,) = complaints(sick)
    assert finding.next_step == f"chmod 700 {sick.home}"


def test_folder_without_a_database_is_a_warning(tmp_path: Path) -> None:
    (finding,) = complaints(Settings(home=tmp_path / "absent"))
    assert finding.next_step == "footnote serve makes one"
    assert not (tmp_path / "absent").exists()


def test_command_prints_a_line_for_each_check_and_fails_on_a_problem(sick: Settings) -> None:
    environ = {"FOOTNOTE_HOME": str(sick.home)}
    result = CliRunner().invoke(program, ["doctor"], env=environ)
    assert result.exit_code == 0, result.output
    assert all(line.startswith("ok ") for line in result.stdout.splitlines())
    execute(sick, 'UPDATE chunks SET "end" = 9999 WHERE id = 1')
    result = CliRunner().invoke(program, ["doctor"], env=environ)
    assert result.exit_code == 1
    assert "problem chunks: outside" in result.stdout
    assert "        next: delete these documents" in result.stdout


def test_command_prints_json_also_of_settings_that_cannot_be_read(tmp_path: Path) -> None:
    result = CliRunner().invoke(program, ["doctor", "--json"], env={"FOOTNOTE_PORT": "many"})
    found = json.loads(result.stdout)
    assert (result.exit_code, found["ok"]) == (1, False)
    assert [each["check"] for each in found["findings"]] == ["settings"]
