"""Broken files are broken on purpose, and the same ones every time."""

import io
import random
import zipfile
from pathlib import Path

import pytest

from tests.benchmarks.extraction_fuzz import run
from tests.benchmarks.mutations import MUTATIONS, BrokenFile, Mutation, break_entries, break_file, cut_out

PAGE = b"<html><body><h1>Beds</h1><p>Sow peas in April, 12 cm apart.</p></body></html>"


@pytest.fixture
def fixtures(tmp_path: Path) -> list[Path]:
    (tmp_path / "beds.html").write_bytes(PAGE)
    (tmp_path / "beds.txt").write_bytes(b"Sow peas in April.")
    with zipfile.ZipFile(tmp_path / "beds.docx", "w") as archive:
        archive.writestr("word/document.xml", "<w:document>Sow peas in April.</w:document>")
        archive.writestr("[Content_Types].xml", "<Types/>")
    return sorted(tmp_path.iterdir())


def test_same_number_is_the_same_file_and_another_is_another(fixtures: list[Path]) -> None:
    first = [break_file(number, fixtures) for number in range(30)]
    assert first == [break_file(number, fixtures) for number in range(30)]
    assert len({file.data for file in first}) > 20


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_mutation_takes_any_bytes(mutation: Mutation) -> None:
    for data in (b"", b"a", PAGE, bytes(range(256)) * 300):
        changed = [mutation(data, random.Random(seed)) for seed in range(5)]
        assert len(data) < 2 or any(each != data for each in changed)


def test_archive_is_broken_inside_and_stays_an_archive(fixtures: list[Path]) -> None:
    docx = next(path for path in fixtures if path.suffix == ".docx").read_bytes()
    broken = break_entries(docx, cut_out, random.Random(1))
    with zipfile.ZipFile(io.BytesIO(docx)) as old, zipfile.ZipFile(io.BytesIO(broken)) as new:
        assert new.testzip() is None
        assert new.namelist() == old.namelist()
        assert any(new.read(name) != old.read(name) for name in new.namelist())


def test_run_counts_what_is_read_and_what_is_refused() -> None:
    files = [BrokenFile(0, "beds.txt", b"Sow peas.", ()), BrokenFile(1, "beds.txt", b" ", ())]
    tally = run(iter(files))
    assert tally.outcomes == {"read": 1, "unreadable": 1}
    assert tally.surprises == []


def test_run_tells_of_errors_that_nobody_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("styles")

    monkeypatch.setattr("tests.benchmarks.extraction_fuzz.extract", fail)
    tally = run(iter([BrokenFile(7, "beds.docx", PAGE, ("cut_end",))]))
    assert tally.surprises == ["7 beds.docx (cut_end): KeyError: 'styles'"]
