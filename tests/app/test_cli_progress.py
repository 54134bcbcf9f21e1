"""Bars where somebody watches, and nothing elsewhere."""

from pathlib import Path

import pytest

from app.cli import progress
from app.cli.progress import progress_bar, speed_bar


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """rich takes every stream for a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.usefixtures("terminal")
def test_a_bar_counts_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as show:
        show("files", 3, 12)
    written = capsys.readouterr()
    assert "files" in written.err
    assert "3/12" in written.err
    assert written.out == ""


@pytest.mark.usefixtures("terminal")
def test_a_bar_of_unknown_length_does_not_seem_full(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as show:
        show("ingest-files", 0, 0)
    assert "0/?" in capsys.readouterr().err


@pytest.mark.usefixtures("terminal")
def test_a_bar_over_a_file_tells_the_speed(capsys: pytest.CaptureFixture[str]) -> None:
    with speed_bar() as show:
        show(50, 100, 7, 70)
    written = capsys.readouterr().err
    assert "50%" in written
    assert "texts/s" in written


@pytest.mark.usefixtures("terminal")
def test_nothing_is_drawn_beside_json(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(hidden=True) as show, speed_bar(hidden=True) as show_speed:
        show("files", 1, 2)
        show_speed(1, 2, 3, 4)
    assert capsys.readouterr().err == ""


def test_nothing_is_drawn_into_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as show, speed_bar() as show_speed:
        show("files", 1, 2)
        show_speed(1, None, 3, 4)
    assert capsys.readouterr().err == ""


def test_all_bars_come_from_one_module() -> None:
    own = Path(progress.__file__)
    sources = {path.name: path.read_text(encoding="utf-8") for path in own.parent.glob("*.py") if path != own}
    assert [name for name, text in sources.items() if "rich.progress" in text] == []


@pytest.mark.parametrize(
    "module",
    [
        "calibrate", "cluster", "duplicates", "embed", "evaluate", "evaluate_lm", "ingest", "jobs", "models",
        "reindex", "releases", "snapshot", "train_collection", "train_folder", "tune",
    ],
)  # fmt: skip
def test_long_work_draws_a_bar_that_json_hides(module: str) -> None:
    text = Path(progress.__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
    assert "progress_bar(" in text or "speed_bar(" in text
    assert "progress_bar()" not in text
