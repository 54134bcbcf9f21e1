"""What happens when the disk, the permission to write or the open files run out."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from app.resources import Models, Resources, open_resources
from app.services.types import DocumentInput, SearchInput
from app.settings import Settings
from embeddings.errors import FootnoteError, InvalidInput, StorageFull
from retrieval.types import SearchMode

REPOSITORY = Path(__file__).parents[2]
TMPFS_BYTES = 4 * 1024 * 1024
LONG = "A long note about nothing at all. " * 1000
ALL = SearchInput("note", SearchMode.LEXICAL, 1000)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 4 MiB; skips where it cannot be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S607


async def add_until_refused(resources: Resources) -> tuple[set[str], list[BaseException]]:
    """Add documents, four at once, until some are refused: the ids acknowledged, and the failures."""
    added = set[str]()
    for start in range(0, 1000, 4):
        ids = [str(number) for number in range(start, start + 4)]
        adding = (resources.documents.add("notes", [DocumentInput(f"{i} {LONG}", i)]) for i in ids)
        answers = await asyncio.gather(*adding, return_exceptions=True)
        added |= {i for i, answer in zip(ids, answers, strict=True) if isinstance(answer, tuple)}
        if refused := [answer for answer in answers if isinstance(answer, BaseException)]:
            return added, refused
    pytest.fail("nothing was refused")


async def test_full_disk_refuses_clearly_and_goes_on_when_there_is_room(
    tmp_path: Path, settings: Settings, models: Models
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(1024 * 1024))
        async with open_resources(replace(settings, home=disk / "home"), models) as resources:
            await resources.collections.create("notes")
            added, refused = await add_until_refused(resources)
            assert {type(error) for error in refused} == {StorageFull}
            page = await resources.documents.list("notes", 1000)
            assert {document.id for document in page.documents} == added
            ballast.unlink()
            await resources.documents.add("notes", [DocumentInput(LONG, "after")])
            chunks = (await resources.collections.get("notes")).chunks
            assert len((await resources.indexes.follow("notes")).index) == chunks
        async with open_resources(replace(settings, home=disk / "home"), models) as reopened:
            page = await reopened.documents.list("notes", 1000)
            assert {document.id for document in page.documents} == added | {"after"}


@pytest.mark.parametrize("limit", ["file-size", "open-files"])
async def test_scarce_process_acknowledges_only_what_it_kept_and_recovers(
    limit: str, settings: Settings, models: Models
) -> None:
    command = [sys.executable, "-m", "tests.app.scarce_writer", str(settings.home)]
    run = subprocess.run(  # noqa: ASYNC221
        [*command, str(models.tokenizer), limit], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    said = [line.split() for line in run.stdout.splitlines()]
    assert run.returncode == 0, run.stderr
    assert ["refused", "storage_full"] in said
    assert said[-1][0] == "recovered"
    async with open_resources(settings, models) as resources:
        stored = {document.id for document in (await resources.documents.list("notes", 1000)).documents}
    assert stored == {number for word, number in said if word in ("added", "recovered")}


async def test_folder_that_cannot_be_written_is_told_before_anything_opens(
    settings: Settings, models: Models, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(InvalidInput, match="cannot use the data folder"):
        async with open_resources(replace(settings, home=blocked / "home"), models):
            pass


async def test_disk_that_turns_read_only_refuses_writes_serves_reads_and_recovers(
    tmp_path: Path, settings: Settings, models: Models
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        async with open_resources(replace(settings, home=disk / "home"), models) as resources:
            await resources.collections.create("notes")
            await resources.documents.add("notes", [DocumentInput("A note.", "kept")])
            await resources.search.search("notes", ALL)
            await resources.database.close()
            remount(disk, "ro")
            with pytest.raises(FootnoteError) as refused:
                await resources.documents.add("notes", [DocumentInput("Another note.", "refused")])
            assert isinstance(refused.value, StorageFull)
            remount(disk, "rw")
            assert [hit.document_id for hit in (await resources.search.search("notes", ALL)).hits] == ["kept"]
            await resources.documents.add("notes", [DocumentInput("A third note.", "after")])
            page = await resources.documents.list("notes")
            assert [document.id for document in page.documents] == ["after", "kept"]


def remount(disk: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True)  # noqa: S607
