"""What lies in the folder of a training, home/training/JOB: put there, published, and cleared away."""

import os
import re
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from app.encoders import MODELS
from app.jobs.types import ItemInfo
from app.jobs.uploads import UPLOADS
from app.services.training import TRAININGS
from embeddings.artifact import load_manifest
from embeddings.errors import FootnoteError, InvalidInput, UnsupportedFormat
from training.siamese.folder import ARTIFACT, DATA, LOSSES, PLAN, PROGRESS, REPORT

LOG = "log.txt"
RESULT = "result.json"
FORMATS = (".jsonl", ".jsonl.gz", ".csv", ".tsv", ".parquet")
# What is left of a training that is done: no text of any document.
_KEPT = frozenset({PLAN, REPORT, RESULT, LOSSES, PROGRESS, LOG})
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_JOB_ID = re.compile(r"[0-9a-f]{20}")


def check_format(name: str) -> None:
    """Raise UnsupportedFormat for a file of examples that no training reads."""
    if not name.lower().endswith(FORMATS):
        raise UnsupportedFormat(
            f"examples cannot be read from {name!r}",
            field="file",
            found=name,
            expected="a file that ends in " + ", ".join(FORMATS),
            next_step="save the examples in one of these formats",
        )


def place_files(home: Path, job_id: str, folder: Path, items: Sequence[ItemInfo]) -> None:
    """Put the uploaded files of a job into its folder. Raises InvalidInput when one is gone."""
    data = folder / DATA
    data.mkdir(exist_ok=True)
    for item in items:
        source = home / UPLOADS / job_id / str(item.ordinal)
        target = data / f"{item.ordinal}-{_UNSAFE.sub('_', Path(item.name).name)[-80:]}"
        if target.exists():
            continue
        if not source.is_file():
            raise InvalidInput(
                f"the uploaded file {item.name} is not in the home folder any more",
                field="file",
                found="nothing",
                expected="the file that was sent",
                next_step="start another training with it",
            )
        _link_or_copy(str(source), str(target))


def publish(home: Path, folder: Path, name: str, otherwise: str) -> str:
    """Make the trained encoder a model of the data folder; returns its name there.

    otherwise: its name when there is another model of the first one. The model appears whole, and is the same
    however often this is called.
    """
    model_id = load_manifest(folder / ARTIFACT).model_id
    for candidate in (name, otherwise):
        target = home / MODELS / candidate
        if not target.exists():
            _copy(folder / ARTIFACT, target)
            return candidate
        if load_manifest(target).model_id == model_id:
            return candidate
    raise FootnoteError(f"there are other models under the names {name} and {otherwise}")


def clear(folder: Path, keep_artifact: bool) -> None:
    """Remove what a training needed and nobody reads any more: texts, checkpoints, and the artifact unless it
    is kept.
    """
    for path in folder.iterdir():
        if path.is_file():
            if path.name not in _KEPT:
                path.unlink()
        elif path.name != ARTIFACT or not keep_artifact:
            _clear_stage(path)


def training_folders(home: Path) -> list[Path]:
    """The folders of all trainings."""
    return [folder for folder in (home / TRAININGS).glob("*") if _JOB_ID.fullmatch(folder.name)]


def remove_orphans(found: Sequence[Path], known: Collection[str]) -> None:
    """Remove those folders of trainings that nobody knows: their collection or their job is gone.

    known: as told after the folders were found, because another worker may begin a training meanwhile.
    """
    for folder in found:
        if folder.name not in known:
            shutil.rmtree(folder, ignore_errors=True)


def _clear_stage(path: Path) -> None:
    """Of a stage only its loss curve stays."""
    losses = path / LOSSES
    if not losses.is_file():
        shutil.rmtree(path)
        return
    for inner in path.iterdir():
        if inner.is_dir():
            shutil.rmtree(inner)
        elif inner != losses:
            inner.unlink()


def _copy(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    target.parent.mkdir(mode=0o700, exist_ok=True)
    shutil.copytree(source, temporary, copy_function=_link_or_copy)
    for path in (*temporary.rglob("*"), temporary):
        _sync(path)
    temporary.rename(target)
    _sync(target.parent)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links, or another one
        shutil.copyfile(source, target)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
