"""`footnote tune-fusion`, and the options of `footnote search` that choose a ranking."""

import json
from pathlib import Path

import pytest

from tests.app.test_cli import Run, assert_refused, read_json, runner

CROPS = ("leek", "bean", "pea", "beet", "kale", "chard", "cress", "radish", "turnip", "parsnip")
MONTHS = ("March", "April", "May", "June")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs commands on a data folder with the collection `garden`: a document for each crop and month."""
    place = tmp_path_factory.mktemp("tune")
    (place / "garden").mkdir()
    for crop in CROPS:
        for month in MONTHS:
            text = f"Sow the {crop} in {month}.\n\nWater the {crop} well in a dry {month}.\n"
            (place / "garden" / f"{crop}-{month}.txt").write_text(text)
    run = runner(place / "home")
    assert run("ingest", str(place / "garden"), "--collection", "garden").exit_code == 0
    return run


@pytest.fixture
def judgements(tmp_path: Path) -> Path:
    path = tmp_path / "judged.jsonl"
    rows = [
        {"query": f"sowing {crop} in {month}", "clicked": [f"{crop}-{month}.txt"]}
        for crop in CROPS
        for month in MONTHS
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_tuning_tells_each_fusion_with_its_gain_and_changes_nothing_unasked(
    run: Run, judgements: Path
) -> None:
    result = run("tune-fusion", "garden", "--judgements", str(judgements))
    assert result.exit_code == 0, result.output
    assert "fitted on 20 queries, judged on 20 others" in result.stdout
    for part in ("in service: evidence", "fitted: rrf k=", "fitted: convex alpha=", "fitted: evidence"):
        assert part in result.stdout
    assert read_json(run("collections", "show", "garden", "--json"))["settings"]["fusion"] is None


def test_what_is_applied_is_what_the_report_calls_better(run: Run, judgements: Path) -> None:
    words = ("tune-fusion", "garden", "--judgements", str(judgements), "--apply", "--json")
    found = read_json(run(*words))
    assert found["applied"] == found["better"]
    shown = read_json(run("collections", "show", "garden", "--json"))["settings"]["fusion"]
    assert shown == (found["best"]["fusion"] if found["applied"] else None)


def test_unreadable_judgements_are_refused(run: Run, tmp_path: Path) -> None:
    assert run("tune-fusion", "garden", "--judgements", str(tmp_path / "none.jsonl")).exit_code != 0
    (tmp_path / "bad.jsonl").write_text('{"query": "leek"}\n')
    assert_refused(run("tune-fusion", "garden", "--judgements", str(tmp_path / "bad.jsonl")), "line 1")
    (tmp_path / "few.jsonl").write_text('{"query": "leek", "clicked": ["leek-May.txt"]}\n')
    assert_refused(run("tune-fusion", "garden", "--judgements", str(tmp_path / "few.jsonl")), "too few")


@pytest.mark.parametrize(
    ("given", "method"),
    [("rrf", "rrf"), ('{"method": "convex", "alpha": 0.2}', "convex"), ("evidence", "evidence")],
)
def test_search_uses_the_fusion_that_it_is_given(run: Run, given: str, method: str) -> None:
    found = read_json(run("search", "leek", "--collection", "garden", "--fusion", given, "--json"))
    assert found["fusion"]["method"] == method
    assert found["hits"][0]["document_id"].startswith("leek")


@pytest.mark.parametrize(
    "options",
    [
        ("--fusion", "sum"),
        ("--fusion", '{"method": "rrf", "k": 0}'),
        ("--fusion", '{"methd": "rrf"}'),
        ("--fusion", "{rrf"),
        ("--diversity", "2"),
        ("--min-score", "nan"),
    ],
)
def test_bad_option_is_refused_by_name(run: Run, options: tuple[str, str]) -> None:
    result = run("search", "leek", "--collection", "garden", *options)
    assert_refused(result, options[0].strip("-").replace("-", "_"))


def test_least_score_and_variety_are_options(run: Run) -> None:
    words = ("search", "leek", "--collection", "garden", "--json")
    scores = [hit["score"] for hit in read_json(run(*words))["hits"]]
    kept = read_json(run(*words, "--min-score", str(scores[3])))["hits"]
    assert [hit["score"] for hit in kept] == [score for score in scores if score >= scores[3]]
    varied = read_json(run(*words, "--diversity", "0.9", "--merge-neighbours"))["hits"]
    assert varied[0]["document_id"].startswith("leek")
