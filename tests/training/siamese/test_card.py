import json
from pathlib import Path
from typing import Any

from training.siamese.card import HEADING, training_section, write_card

REPORT: dict[str, Any] = {
    "plan": {"name": "mine", "optimisation": {"epochs": 2.0, "seed": 11}, "sources": []},
    "data": {
        "read": {"uploaded": 40, "feedback": 3, "passages": 90},
        "written": {"passages": 20, "kept": {"headings": 15}},
        "cleaning": {
            "given": {"kept": 40, "removed": [{"reason": "too short", "count": 2, "examples": ["a|b\nc"]}]},
            "written": {"kept": 15, "removed": []},
        },
        "leaks": {"reason": "nearly a held-out query", "count": 1, "examples": ["what is it"]},
        "train": {"uploaded": 30, "passages": 90},
    },
    "objective": {"name": "CoSENT", "why": "the examples are scored pairs"},
    "training": {
        "pretraining": {"perplexity_before": 21.5, "perplexity_after": 9.25},
        "rounds": [{"examples": 30, "steps": 100, "first_loss": 2.5, "last_loss": 0.75, "best_step": 80}],
    },
}
CHANGE = {"old": 0.5, "new": 0.55, "gain": {"value": 0.05, "low": 0.01, "high": 0.09}}
JUDGED = {"examples": 60, "metrics": {"ndcg@10": CHANGE}, "wins": 9, "losses": 4, "ties": 47}
SCORED = {"examples": 1500, "metrics": {"spearman": CHANGE}, "wins": None, "losses": None, "ties": None}
VERDICT = {"promote": False, "reasons": ["too little"], "domain": JUDGED, "general": {"sts": SCORED}}


def write_losses(folder: Path, count: int) -> None:
    folder.mkdir()
    rows = [{"step": step, "loss": 1 / step} for step in range(1, count + 1)]
    (folder / "loss.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_data_settings_and_objective_are_told(tmp_path: Path) -> None:
    section = training_section(REPORT, tmp_path)

    assert "| read | 40 | 3 | 0 | 90 |" in section
    assert "| too short (given) | 2 | a b c |" in section
    assert "| nearly a held-out query | 1 | what is it |" in section
    assert "CoSENT: the examples are scored pairs" in section
    assert "| `optimisation.seed` | 11 |" in section
    assert "kept.headings 15" in section
    assert "perplexity after 9.25" in section
    assert "| 1 | 30 | 100 | none | none | none | 2.5 | 0.75 | 80 | none |" in section


def test_curve_is_thinned_and_keeps_the_last_step(tmp_path: Path) -> None:
    write_losses(tmp_path / "round-1", 100)

    section = training_section(REPORT, tmp_path)

    rows = section.partition("| step | loss | validation |")[2].partition("\n\n")[0].splitlines()[2:]
    assert 10 <= len(rows) <= 13
    assert rows[-1].startswith("| 100 | 0.01")
    assert "round-1" in section


def test_before_and_after_come_with_intervals(tmp_path: Path) -> None:
    section = training_section(REPORT | VERDICT, tmp_path)

    assert "did not pass the gate: too little" in section
    assert "| held-out (60) | ndcg@10 | 50.00 | 55.00 | +5.00 | +1.00 to +9.00 | 9 / 4 / 47 |" in section
    assert "| sts (1,500) | spearman | 50.00 | 55.00 | +5.00 | +1.00 to +9.00 |  |" in section


def test_section_stands_once_behind_what_the_conversion_wrote(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# mine, int8\n\nParity.\n", encoding="utf-8")

    write_card(tmp_path, REPORT, tmp_path)
    write_card(tmp_path, REPORT | VERDICT, tmp_path)

    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# mine, int8\n\nParity.\n\n")
    assert card.count(HEADING) == 1
    assert "Before and after" in card


def test_report_without_anything_still_tells_the_limits(tmp_path: Path) -> None:
    write_card(tmp_path, {}, tmp_path)
    assert "Limits" in (tmp_path / "README.md").read_text(encoding="utf-8")
