"""Output folders that appear whole or not at all."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embeddings.errors import Conflict


def check_output(output: Path, overwrite: bool) -> None:
    """Raise Conflict for an output that is a file, or a folder that holds something and may not go."""
    if output.exists() and not output.is_dir():
        raise _taken(output, "a file", "name a folder")
    if not overwrite and output.is_dir() and any(output.iterdir()):
        raise _taken(output, "a folder with files", "name another folder, or give --overwrite")


@contextmanager
def appearing_whole(output: Path) -> Iterator[Path]:
    """Yield an empty folder beside `output` that takes its place in the end, and is removed on failure.

    What `output` held before goes only then.
    """
    output = output.resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex[:8]
    staging = output.with_name(f".{output.name}.{token}")
    staging.mkdir()
    try:
        yield staging
        _replace(output, staging, output.with_name(f".{output.name}.{token}.old"))
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _replace(output: Path, staging: Path, aside: Path) -> None:
    if output.exists():
        output.rename(aside)
    try:
        staging.rename(output)
    except OSError:
        if aside.exists():
            aside.rename(output)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _taken(output: Path, found: str, next_step: str) -> Conflict:
    return Conflict(
        f"cannot write the model to {output}: found {found}",
        field="output",
        found=found,
        expected="a new or empty folder",
        next_step=next_step,
    )
