"""Commands on a real data folder with the bundled models.

What is asked is in Russian: the decoder leaves it to the passages, so the answers do not depend on its
training.
"""

import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.cli.program import program

Run = Callable[..., Result]

BROKEN_PDF = b"%PDF-1.7\nnot a pdf at all"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


def runner(home: Path) -> Run:
    """Run one command on a data folder."""
    environ = {"FOOTNOTE_HOME": str(home), "FOOTNOTE_THREADS": "1"}

    def run_command(*words: str, typed: str | None = None) -> Result:
        return CliRunner().invoke(program, list(words), env=environ, input=typed)

    return run_command


def write_notes(folder: Path) -> Path:
    """A folder of two documents."""
    (folder / "beds").mkdir(parents=True)
    (folder / "tomatoes.md").write_text("# Tomatoes\n\nPlant tomatoes in May, after the last frost.\n")
    (folder / "beds" / "leeks.txt").write_text("Leeks stand in the bed until spring.\n")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs commands on a data folder of this test."""
    return runner(tmp_path / "home")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_notes(tmp_path / "notes")


@pytest.fixture
def notes(run: Run, folder: Path) -> str:
    """A collection that holds the folder, to be changed."""
    assert run("ingest", str(folder), "--collection", "notes").exit_code == 0
    return "notes"


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs commands that change nothing, on a data folder with the collections `notes` and `russian`."""
    place = tmp_path_factory.mktemp("read")
    run = runner(place / "home")
    assert run("ingest", str(write_notes(place / "notes")), "--collection", "notes").exit_code == 0
    russian = place / "томаты.md"
    russian.write_text("# Томаты\n\nТоматы сажают в мае, после последних заморозков.\n", encoding="utf-8")
    assert run("ingest", str(russian), "--collection", "russian").exit_code == 0
    return run


def read_json(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def assert_refused(result: Result, *parts: str) -> None:
    """Bad input: exit code 2 and the reason on stderr, without a traceback."""
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("error: ")
    for part in parts:
        assert part in result.stderr


def test_ingested_folder_is_found_under_its_relative_paths(run: Run, folder: Path) -> None:
    result = run("ingest", str(folder), "--collection", "notes")
    assert result.exit_code == 0, result.output
    assert result.stdout == "notes: 2 created, 0 updated, 0 unchanged, 0 failed, 0 skipped\n"
    found = read_json(run("search", "when to plant tomatoes", "--collection", "notes", "--json"))
    first = found["hits"][0]
    assert first["document_id"] == "tomatoes.md"
    assert "after the last frost" in first["text"]
    listed = read_json(run("documents", "list", "--collection", "notes", "--json"))
    assert [document["id"] for document in listed["documents"]] == ["beds/leeks.txt", "tomatoes.md"]


def test_second_ingest_writes_what_changed_only(run: Run, folder: Path, notes: str) -> None:
    (folder / "tomatoes.md").write_text("# Tomatoes\n\nPlant tomatoes in June.\n")
    report = read_json(run("ingest", str(folder), "--collection", notes, "--json"))
    assert report["documents"] == {"created": 0, "updated": 1, "unchanged": 1, "error": 0}
    assert (report["files"], report["total"], report["failures"]) == (2, 2, [])


def test_broken_file_fails_alone_with_its_reason(run: Run, folder: Path) -> None:
    (folder / "broken.pdf").write_bytes(BROKEN_PDF)
    result = run("ingest", str(folder), "--collection", "notes")
    assert result.exit_code == 1
    assert "2 created, 0 updated, 0 unchanged, 1 failed" in result.stdout
    assert f"failed: {folder / 'broken.pdf'}: " in result.stderr


def test_image_in_a_folder_is_skipped_with_its_reason(run: Run, folder: Path) -> None:
    (folder / "photo.png").write_bytes(PNG)
    result = run("ingest", str(folder), "--collection", "notes")
    assert result.exit_code == 0
    assert "0 failed, 1 skipped" in result.stdout
    assert f"skipped: {folder / 'photo.png'}: " in result.stderr


def test_image_that_is_named_itself_fails(run: Run, folder: Path) -> None:
    (folder / "photo.png").write_bytes(PNG)
    report = run("ingest", str(folder / "photo.png"), "--collection", "notes", "--json")
    assert report.exit_code == 1
    (failure,) = json.loads(report.stdout)["failures"]
    assert (failure["id"], failure["code"]) == ("photo.png", "unsupported_format")


def test_ingest_of_a_missing_path_makes_no_collection(run: Run, tmp_path: Path) -> None:
    assert_refused(run("ingest", str(tmp_path / "nowhere"), "--collection", "notes"), "nowhere")
    assert read_json(run("collections", "list", "--json")) == {"collections": []}


def test_metadata_of_a_run_can_be_filtered_by(run: Run, folder: Path, notes: str) -> None:
    more = folder / "tomatoes.md"
    arguments = [
        "ingest",
        str(more),
        "--collection",
        notes,
        "--metadata",
        "year=2024",
        "--metadata",
        "team=beds",
    ]
    assert run(*arguments).exit_code == 0
    wanted = '{"year": {"$gte": 2024}, "team": "beds"}'
    found = read_json(run("search", "spring", "--collection", notes, "--filter", wanted, "--json"))
    assert {hit["document_id"] for hit in found["hits"]} == {"tomatoes.md"}


def test_search_explains_scores_and_trust(read: Run) -> None:
    result = read("search", "tomatoes", "--collection", "notes", "--explain")
    assert result.exit_code == 0
    assert result.stdout.startswith("1. tomatoes.md v1 [")
    for part in ("dense ", "lexical ", "(rank 1)", "fused ", "Fused by evidence: dense "):
        assert part in result.stdout


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_search_has_three_modes(read: Run, mode: str) -> None:
    found = read_json(
        read("search", "leeks", "--collection", "notes", "--mode", mode, "--limit", "1", "--json")
    )
    assert (found["mode"], [hit["document_id"] for hit in found["hits"]]) == (mode, ["beds/leeks.txt"])


@pytest.mark.parametrize(
    "words",
    [
        ("search", "", "--collection", "notes"),
        ("search", "leeks", "--collection", "notes", "--limit", "0"),
        ("search", "leeks", "--collection", "notes", "--filter", "{year"),
        ("search", "leeks", "--collection", "notes", "--filter", '{"year": {"$near": 1}}'),
        ("search", "leeks", "--collection", "nowhere"),
        ("ask", "", "--collection", "notes"),
        ("ask", "leeks?", "--collection", "notes", "--temperature", "-1"),
        ("ask", "leeks?", "--collection", "notes", "--passages", "0"),
        ("documents", "get", "nothing", "--collection", "notes"),
        ("documents", "text", "tomatoes.md", "--collection", "notes", "--start", "-1"),
        ("documents", "text", "tomatoes.md", "--collection", "notes", "--version", "7"),
        ("documents", "delete", "--collection", "notes"),
        ("documents", "delete", "a", "--collection", "notes", "--filter", "{}"),
        ("documents", "delete", "--collection", "notes", "--filter", "{}"),
        ("collections", "create", "notes"),
        ("collections", "create", "No Name"),
        ("collections", "create", "other", "--chunk-max-tokens", "1"),
        ("collections", "show", "nowhere"),
        ("collections", "delete", "nowhere", "--yes"),
        ("keys", "create", "--name", "ci", "--scope", "root"),
        ("keys", "revoke", "99"),
    ],
    ids=" ".join,
)
def test_bad_input_is_refused_with_a_reason(read: Run, words: Sequence[str]) -> None:
    assert_refused(read(*words))


def test_unknown_setting_is_refused(read: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOTNOTE_PROT", "1")
    assert_refused(read("collections", "list"), "FOOTNOTE_PORT")


def test_question_beyond_the_decoder_gets_sentences_with_footnotes(read: Run) -> None:
    result = read("ask", "Когда сажают томаты?", "--collection", "russian")
    assert result.exit_code == 0, result.output
    assert "Томаты сажают в мае, после последних заморозков. [1]" in result.stdout
    assert "[1] томаты.md v1 [10:58]\n    “Томаты сажают в мае, после последних заморозков.”" in result.stdout


def test_citation_of_an_answer_is_the_stored_text(read: Run) -> None:
    answer = read_json(read("ask", "Когда сажают томаты?", "--collection", "russian", "--json"))
    assert answer["status"] == "passages_only"
    citation = answer["citations"][0]
    span = ["--start", str(citation["start"]), "--end", str(citation["end"])]
    text = read("documents", "text", citation["document_id"], "--collection", "russian", *span)
    assert text.stdout == citation["quote"] + "\n"


def test_collections_are_made_shown_and_deleted(run: Run) -> None:
    made = read_json(run("collections", "create", "manual", "--chunk-max-tokens", "120", "--json"))
    assert made["settings"]["chunk_max_tokens"] == 120
    assert "chunk_max_tokens:     120" in run("collections", "show", "manual").stdout
    assert run("collections", "list").stdout.split() == ["name", "documents", "chunks", "manual", "0", "0"]
    assert run("collections", "delete", "manual", typed="n\n").exit_code == 1
    assert run("collections", "delete", "manual", typed="y\n").exit_code == 0
    assert read_json(run("collections", "list", "--json")) == {"collections": []}


def test_a_collection_s_prompt_and_threshold_are_set_and_taken_away(run: Run, tmp_path: Path) -> None:
    prompt = tmp_path / "prompt.toml"
    prompt.write_text('name = "mine"\nsystem = "Отвечай."\nnot_found = "没有"\n', encoding="utf-8")
    run("collections", "create", "manual")
    shown = run("collections", "set", "manual", "--prompt", str(prompt), "--refusal-threshold", "0.25").stdout
    assert {"prompt: mine", "refusal_threshold: 0.25"} <= {
        " ".join(line.split()) for line in shown.split("\n")
    }
    changed = read_json(run("collections", "set", "manual", "--refusal-threshold", "-1", "--json"))
    assert changed["settings"]["refusal_threshold"] is None
    assert changed["settings"]["prompt"]["not_found"] == "没有"
    changed = read_json(run("collections", "set", "manual", "--default-prompt", "--json"))
    assert changed["settings"]["prompt"] is None
    assert_refused(run("collections", "set", "manual", "--prompt", str(tmp_path)), "cannot read the prompt")


def test_deleted_documents_are_no_longer_found(run: Run, notes: str) -> None:
    assert run("documents", "delete", "tomatoes.md", "--collection", notes).stdout == "Deleted 1 document.\n"
    found = read_json(run("search", "tomatoes", "--collection", notes, "--json"))
    assert {hit["document_id"] for hit in found["hits"]} <= {"beds/leeks.txt"}


def test_documents_are_deleted_by_filter(run: Run, folder: Path) -> None:
    run("ingest", str(folder), "--collection", "notes", "--metadata", "draft=true")
    deleted = read_json(
        run("documents", "delete", "--collection", "notes", "--filter", '{"draft": true}', "--json")
    )
    assert deleted == {"deleted": 2}


def test_document_list_goes_on_after_an_id(read: Run) -> None:
    first = read("documents", "list", "--collection", "notes", "--limit", "1")
    assert "beds/leeks.txt" in first.stdout
    assert first.stderr == "More: --after beds/leeks.txt\n"
    rest = read_json(
        read("documents", "list", "--collection", "notes", "--after", "beds/leeks.txt", "--json")
    )
    assert ([document["id"] for document in rest["documents"]], rest["next"]) == (["tomatoes.md"], None)


def test_document_is_shown_without_its_text(read: Run) -> None:
    shown = read("documents", "get", "tomatoes.md", "--collection", "notes").stdout
    assert "title:" in shown
    assert "last frost" not in shown


@pytest.mark.parametrize(
    "words",
    [
        "collections list", "collections show notes", "documents list --collection notes",
        "documents get tomatoes.md --collection notes", "documents text tomatoes.md --collection notes",
        "documents delete tomatoes.md --collection notes", "releases list notes",
        "releases show notes 1", "golden list notes",
        "feedback list notes", "collections delete notes --yes",
    ],
)  # fmt: skip
def test_what_is_stored_is_looked_at_and_removed_without_a_model(
    run: Run, notes: str, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.setattr("app.encoders.Encoder.load", lambda *_, **__: pytest.fail("the encoder was loaded"))
    monkeypatch.setattr("app.resources.load_decoder", lambda _: pytest.fail("the decoder was loaded"))
    result = run(*words.split())
    assert result.exit_code == 0, result.output


def test_search_loads_no_decoder(run: Run, notes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.resources.load_decoder", lambda _: pytest.fail("the decoder was loaded"))
    assert run("search", "tomatoes", "--collection", notes).exit_code == 0


def test_key_is_shown_once_and_can_be_revoked(run: Run) -> None:
    made = run("keys", "create", "--name", "ci", "--scope", "read", "--scope", "write")
    assert made.stdout.startswith("fn_")
    listed = run("keys", "list", "--json")
    assert made.stdout.strip() not in listed.stdout
    (key,) = read_json(listed)["keys"]
    assert (key["name"], sorted(key["scopes"]), key["revoked_at"]) == ("ci", ["read", "write"], None)
    assert run("keys", "revoke", str(key["id"])).exit_code == 0
    assert read_json(run("keys", "list", "--json"))["keys"][0]["revoked_at"] is not None


def test_version_is_that_of_the_project(read: Run) -> None:
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["version"]
    assert read("version").stdout == f"footnote {declared}\n"
    assert read_json(read("version", "--json")) == {"version": declared}


def test_unknown_option_is_a_usage_error(read: Run) -> None:
    result = read("search", "leeks", "--collection", "notes", "--colour", "red")
    assert result.exit_code == 2
    assert "--colour" in result.stderr
