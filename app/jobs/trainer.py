"""The training process: started, followed, stopped. The service never loads what it loads."""

import asyncio
import json
import logging
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import Any

from app.jobs.failures import restore_failure
from app.jobs.training_folder import LOG
from app.services.completing import Progress
from embeddings.errors import Conflict, FootnoteError
from training.siamese.folder import FAILURE
from training.siamese.progress import read_progress

logger = logging.getLogger("footnote.jobs")

TRAINER = "training.siamese.run"
FOLLOW_S = 0.5
# Searches, and whatever else the machine does, come first wherever the scheduler has a choice.
NICENESS = 19
# A cancelled job is let go of within two seconds, and half a second may pass before it is seen.
GRACE_S = 1.5
STOPPED = 130
# A process that was killed goes on at its checkpoint, in vain where the kernel has too little memory for it.
STARTS = 3
_TAIL_BYTES = 2000
_OUT_OF_MEMORY = ("MemoryError", "not enough memory", "bad_alloc")


@dataclass(frozen=True, slots=True)
class Trainer:
    """How trainings run. module: takes the folder; lock: one at a time holds this file; memory_mb: MiB;
    options: of the module, after the folder.
    """

    lock: Path
    threads: int
    memory_mb: int
    module: str = TRAINER
    options: tuple[str, ...] = ()

    async def run(self, folder: Path, show: Progress) -> None:
        """Train in a folder to the end; what is there already is not done again.

        show: called with what is counted, how many are done, and of how many. Raises what the training told
        of its failure. When it is cancelled, the process is stopped.
        """
        (folder / FAILURE).unlink(missing_ok=True)
        code, starts = -SIGKILL, 0
        while code == -SIGKILL and starts < STARTS:
            code, starts = await self._run_once(folder, show), starts + 1
            if code == -SIGKILL:
                logger.warning("the training in %s was killed", folder)
        if code:
            raise _failure(folder, code)

    async def _run_once(self, folder: Path, show: Progress) -> int:
        """The exit status, or minus the signal that ended the process."""
        process = await self._start(folder)
        try:
            while process.returncode is None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), FOLLOW_S)
                _tell(folder, show)
        finally:
            if process.returncode is None:
                await _stop(process)
        return process.returncode

    async def _start(self, folder: Path) -> asyncio.subprocess.Process:
        bounds = (str(self.lock), str(NICENESS), str(self.memory_mb))
        module = (self.module, str(folder), *self.options)
        command = (sys.executable, "-m", "app.jobs.bounded", *bounds, *module)
        with (folder / LOG).open("ab") as log:
            # A session of its own: Ctrl-C reaches the worker alone, which goes on with the training later.
            return await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=log, stderr=log, env=self._environment(), start_new_session=True
            )

    def _environment(self) -> dict[str, str]:
        libraries = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
        threads = dict.fromkeys(libraries, str(self.threads))
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        return {**os.environ, **threads, **offline}


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Let the process keep what it has, for as long as it may take."""
    with suppress(ProcessLookupError):
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), GRACE_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def _tell(folder: Path, show: Progress) -> None:
    progress = read_progress(folder)
    if progress is not None:
        show(f"{progress.what} ({progress.stage})", progress.done, progress.total)


def _failure(folder: Path, code: int) -> FootnoteError:
    """What went wrong, as the process told it, or as its end and its log let it be guessed."""
    told = _told(folder)
    if told is not None:
        return told
    if code == STOPPED:
        return Conflict(
            "the training process was told to stop",
            found=f"exit status {STOPPED}",
            expected="a training that reaches its end",
            next_step="resume the job; it goes on where it was",
        )
    last = _last_line(folder / LOG)
    killed = f"signal {-code}" if code < 0 else f"exit status {code}"
    if code == -SIGKILL:
        return FootnoteError(
            f"the training process was killed {STARTS} times, as the kernel does for want of memory",
            found=f"{killed}: {last}" if last else killed,
            expected="a training that reaches its end",
            next_step="free memory and resume the job, or train anew with fewer optimisation.batch_examples",
        )
    if any(word in last for word in _OUT_OF_MEMORY):
        return FootnoteError(
            "the training ran out of memory",
            found=f"{killed}: {last}" if last else killed,
            expected="memory as FOOTNOTE_TRAINING_MEMORY_MB allows it",
            next_step="raise that limit, or set optimisation.batch_examples of the plan lower",
        )
    return FootnoteError(
        "the training failed in a way it did not expect",
        found=f"{killed}: {last}" if last else killed,
        expected="a report",
        next_step=f"read {folder / LOG}; when the cause is gone, resume the job",
    )


def _told(folder: Path) -> FootnoteError | None:
    try:
        record: dict[str, Any] = json.loads((folder / FAILURE).read_text(encoding="utf-8"))
        return restore_failure(record)
    except (OSError, ValueError, KeyError):
        return None


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else ""


def usable_memory_mb(limit_mb: int) -> int:
    """MiB that a training may take: the limit, or half of what the machine has when that is 0."""
    if limit_mb:
        return limit_mb
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(total // 2 // 1024**2)


def ray_options(address: str | None, workers: int) -> tuple[str, ...]:
    """What the training module is told of a Ray cluster: to prepare there, and by how many to train."""
    return () if address is None else ("--ray", address, "--ray-workers", str(workers))


def trainer_of(
    home: Path, threads: int, memory_mb: int, module: str = TRAINER, options: tuple[str, ...] = ()
) -> Trainer:
    """The trainer of a data folder."""
    lock = home / "training" / "lock"
    lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Trainer(lock, threads, usable_memory_mb(memory_mb), module, options)


def modules_missing(names: Sequence[str] = ("torch", "sentence_transformers")) -> list[str]:
    """Packages that training needs and that are not installed."""
    import importlib.util  # noqa: PLC0415

    return [name for name in names if importlib.util.find_spec(name) is None]
