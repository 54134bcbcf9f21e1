import asyncio
import json
import random
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.program import program
from app.resources import Resources
from app.settings import Settings
from app.snapshots.checking import verify_snapshot
from app.snapshots.writing import create_snapshot
from embeddings.artifact import BUNDLED_ENCODER
from embeddings.errors import FootnoteError, NotFound, Unreadable
from tests.app.snapshots.conftest import make_build
from tests.app.snapshots.crafted import craft, read_files


@pytest.fixture
def whole(closed: Settings, tmp_path: Path) -> bytes:
    """A snapshot's bytes."""
    create_snapshot(closed, tmp_path / "whole.tar")
    return (tmp_path / "whole.tar").read_bytes()


def test_every_flipped_byte_is_detected(whole: bytes, tmp_path: Path) -> None:
    chance = random.Random(7)
    ends = [*range(0, 512, 37), *range(len(whole) - 2600, len(whole), 61)]
    for at in [*ends, *chance.sample(range(len(whole)), 100)]:
        flipped = bytearray(whole)
        flipped[at] ^= 1 << chance.randrange(8)
        (tmp_path / "flipped.tar").write_bytes(flipped)
        with pytest.raises(Unreadable, match="damaged"):
            verify_snapshot(tmp_path / "flipped.tar")


def test_every_cut_is_detected(whole: bytes, tmp_path: Path) -> None:
    chance = random.Random(8)
    lengths = [0, 1, 511, 512, 2048, *range(len(whole) - 2600, len(whole), 61)]
    for length in [*lengths, *chance.sample(range(len(whole)), 100)]:
        (tmp_path / "cut.tar").write_bytes(whole[:length])
        with pytest.raises(Unreadable, match="cut short"):
            verify_snapshot(tmp_path / "cut.tar")


def test_bytes_after_the_end_are_detected(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "long.tar").write_bytes(whole + bytes(512))
    with pytest.raises(Unreadable, match="damaged"):
        verify_snapshot(tmp_path / "long.tar")


def test_whole_snapshot_has_no_problem(whole: bytes, tmp_path: Path) -> None:
    found = verify_snapshot(tmp_path / "whole.tar")
    assert found.problems == ()
    assert (found.manifest.documents, found.manifest.collections[0].last_seq) == (4, 4)


def test_database_that_is_damaged_inside_its_checksum_is_a_problem(whole: bytes, tmp_path: Path) -> None:
    manifest = verify_snapshot(tmp_path / "whole.tar").manifest
    files = read_files(tmp_path / "whole.tar")
    broken = files["footnote.db"][:8192] + bytes(8192) + files["footnote.db"][16384:]
    craft(tmp_path / "broken.tar", manifest, {**files, "footnote.db": broken})
    assert any(
        problem.startswith("footnote.db: ") for problem in verify_snapshot(tmp_path / "broken.tar").problems
    )


def test_model_with_another_file_is_a_problem(closed: Settings, tmp_path: Path) -> None:
    encoder = shutil.copytree(BUNDLED_ENCODER, tmp_path / "mine")
    manifest = create_snapshot(Settings(home=closed.home, encoder=encoder), tmp_path / "a.tar")
    files = read_files(tmp_path / "a.tar")
    (folder,) = [model.folder for model in manifest.models if model.folder]
    changed = f"{folder}/tokenizer.json"
    craft(tmp_path / "b.tar", manifest, {**files, changed: files[changed] + b" "})
    problems = verify_snapshot(tmp_path / "b.tar").problems
    assert problems == (f"{changed} is not the file that the manifest beside it names",)


async def test_build_of_an_older_version_is_no_problem_but_a_changed_one_is(
    stocked: Resources, tmp_path: Path
) -> None:
    await make_build(stocked)
    manifest = await asyncio.to_thread(create_snapshot, stocked.settings, tmp_path / "a.tar")
    files = read_files(tmp_path / "a.tar")
    place = f"indexes/{manifest.builds[0]}"
    older = json.dumps({"format": 0, "files": json.loads(files[f"{place}/manifest.json"])["files"]})
    craft(tmp_path / "b.tar", manifest, {**files, f"{place}/manifest.json": older.encode()})
    assert verify_snapshot(tmp_path / "b.tar").problems == ()
    craft(tmp_path / "c.tar", manifest, {**files, f"{place}/vectors.faiss": b"other"})
    (problem,) = verify_snapshot(tmp_path / "c.tar").problems
    assert problem.startswith(f"{place}/vectors.faiss is not the file")


def test_absent_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        verify_snapshot(tmp_path / "absent.tar")


@pytest.mark.parametrize("content", [b"", b"text", bytes(10_000)])
def test_file_of_another_kind_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(FootnoteError, match="no snapshot"):
        verify_snapshot(tmp_path / "other")


def run(*words: str, **environ: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(program, ["snapshot", *words], env=environ)
    return result.exit_code, result.stdout, result.stderr


def test_commands_create_verify_and_restore(closed: Settings, tmp_path: Path) -> None:
    file, home = str(tmp_path / "a.tar"), str(tmp_path / "b")
    code, out, _ = run("create", file, FOOTNOTE_HOME=str(closed.home))
    assert code == 0
    assert re.search(r"^documents: +4$", out, re.MULTILINE)
    code, out, _ = run("verify", file, "--json")
    assert (code, json.loads(out)["state"], json.loads(out)["problems"]) == (0, "verified", [])
    code, out, _ = run("restore", file, "--home", home)
    assert (code, (tmp_path / "b" / "footnote.db").is_file()) == (0, True)
    code, _, err = run("restore", file, "--home", home)
    assert code == 2
    assert "restore into another folder" in err


def test_command_for_a_damaged_file_fails(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "cut.tar").write_bytes(whole[:-1])
    code, _, err = run("verify", str(tmp_path / "cut.tar"))
    assert code == 1
    assert "copy the file again" in err
