"""Which files a path on the command line stands for."""

from pathlib import Path

import pytest

from app.cli.file_batches import BATCH_FILES, read_batches
from app.cli.file_walk import FoundFile, find_files
from embeddings.errors import InvalidInput


def write(path: Path, text: str = "text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def found_in(folder: Path, *names: str) -> list[FoundFile]:
    return [FoundFile(folder / name, name, named=False) for name in names]


def test_folder_is_walked_in_order_with_ids_below_it(tmp_path: Path) -> None:
    for name in ("b.md", "a/z.md", "a/y.md"):
        write(tmp_path / name)
    assert list(find_files([tmp_path])) == found_in(tmp_path, "b.md", "a/y.md", "a/z.md")


def test_hidden_entries_of_a_folder_are_left_out(tmp_path: Path) -> None:
    for name in ("a.md", ".hidden.md", ".git/config.md"):
        write(tmp_path / name)
    assert list(find_files([tmp_path])) == found_in(tmp_path, "a.md")


def test_file_named_itself_has_its_name_as_id(tmp_path: Path) -> None:
    path = write(tmp_path / "deep" / ".hidden.md")
    assert find_files([path]) == (FoundFile(path, ".hidden.md", named=True),)


def test_file_named_twice_is_taken_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.md")
    assert [file.document_id for file in find_files([tmp_path, path])] == ["a.md"]


def test_two_files_with_one_id_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    write(tmp_path / "one" / "readme.md")
    write(tmp_path / "two" / "readme.md")
    with pytest.raises(InvalidInput, match=r"one/readme\.md and .*two/readme\.md"):
        find_files([tmp_path / "one", tmp_path / "two"])


def test_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no file or folder"):
        find_files([tmp_path / "nowhere"])


def test_batches_hold_every_file_once_and_are_bounded(tmp_path: Path) -> None:
    files = [
        FoundFile(write(tmp_path / f"{n}.md"), f"{n}.md", named=False) for n in range(2 * BATCH_FILES + 1)
    ]
    batches = list(read_batches(files, {}, max_file_bytes=100))
    assert [len(batch.files) for batch in batches] == [BATCH_FILES, BATCH_FILES, 1]
    assert [item.id for batch in batches for item in batch.inputs] == [file.document_id for file in files]


def test_file_over_the_limit_fails_alone_and_unread(tmp_path: Path) -> None:
    write(tmp_path / "large.md", "x" * 11)
    write(tmp_path / "small.md", "x" * 10)
    (batch,) = read_batches(found_in(tmp_path, "large.md", "small.md"), {}, max_file_bytes=10)
    assert [item.id for item in batch.inputs] == ["small.md"]
    (refused,) = batch.refused
    assert (refused.id, refused.error and refused.error.code) == ("large.md", "too_large")


def test_file_that_vanished_fails_alone(tmp_path: Path) -> None:
    (batch,) = read_batches(found_in(tmp_path, "gone.md"), {"year": 1}, max_file_bytes=10)
    assert [(item.id, item.error and item.error.code) for item in batch.refused] == [
        ("gone.md", "unreadable")
    ]
