"""The encoding of a completion on a Ray cluster. Documents are cut here meanwhile, some groups ahead."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anyio import to_thread

from app.db.completing import IncompleteDocument, UnencodedChunk
from app.db.following import Wanted
from app.db.parts import parts_of
from app.encoders import OpenEncoder, RayUse
from app.services.completing import CompletionSteps, Progress
from app.services.encoding import half_unit_rows
from app.services.release_types import Release
from embeddings.distributed.opening import ray_engine
from embeddings.engine import Lane

if TYPE_CHECKING:
    from embeddings.distributed.encoding import RayEngine

EngineOpener = Callable[[RayUse, OpenEncoder], AbstractContextManager["RayEngine"]]


def open_engine(use: RayUse, encoder: OpenEncoder) -> "AbstractContextManager[RayEngine]":
    """The encoder on the cluster, in the batches of this process's engine."""
    workers = encoder.encoding.engine.workers
    return ray_engine(use.address, encoder.encoder, encoder.folder, workers, use.actors)


class RayCompletion:
    """Each part of the chunks is written as soon as its vectors come, whatever became of the parts before it:
    a lost machine costs the parts that it had begun, and so does a kill of this process.
    """

    def __init__(
        self,
        steps: CompletionSteps,
        use: RayUse,
        encoder: OpenEncoder,
        open_engine: EngineOpener = open_engine,
    ) -> None:
        self._steps = steps
        self._use = use
        self._encoder = encoder
        self._open_engine = open_engine

    async def run(self, release: Release, wanted: Wanted, progress: Progress, total: int) -> int:
        """Cut and encode all that is lacking now; returns of how many documents.

        Raises FootnoteError when the cluster cannot be used or is lost; what is written stays.
        """
        reached = 0
        async with self._engine() as engine:
            parts = _PartsUnderWay(self._steps, engine, wanted, progress, total)
            try:
                while group := await self._steps.next_group(wanted, reached):
                    await self._steps.cut(group, wanted, release, self._encoder)
                    await parts.add(group)
                    reached = group[-1].seq
                await parts.finish()
            finally:
                parts.cancel()
        return parts.done

    @asynccontextmanager
    async def _engine(self) -> "AsyncIterator[RayEngine]":
        """Connecting and ending take seconds: in threads, and to their end when the job is cancelled."""
        opened = self._open_engine(self._use, self._encoder)
        opening = asyncio.ensure_future(to_thread.run_sync(opened.__enter__))
        try:
            yield await asyncio.shield(opening)
        finally:
            await asyncio.shield(_close(opened, opening))


async def _close(opened: "AbstractContextManager[RayEngine]", opening: "asyncio.Future[RayEngine]") -> None:
    await asyncio.wait([opening])
    if opening.exception() is None:
        await to_thread.run_sync(opened.__exit__, None, None, None)


@dataclass(slots=True)
class _Group:
    """Documents whose parts are under way. left: parts without vectors."""

    documents: int
    left: int


class _PartsUnderWay:
    """Parts of chunks on the cluster. done: documents that lack nothing any more."""

    def __init__(
        self, steps: CompletionSteps, engine: "RayEngine", wanted: Wanted, progress: Progress, total: int
    ) -> None:
        self.done = 0
        self._steps = steps
        self._engine = engine
        self._wanted = wanted
        self._progress = progress
        self._total = total
        self._room = asyncio.Semaphore(engine.windows_ahead)
        self._tasks: set[asyncio.Task[None]] = set()

    async def add(self, documents: Sequence[IncompleteDocument]) -> None:
        """Send the chunks of some documents off, as there is room. Raises what became of earlier ones."""
        parts = list(parts_of(await self._steps.unencoded(documents, self._wanted)))
        group = _Group(len(documents), len(parts))
        for part in parts:
            await self._room.acquire()
            self._look()
            self._tasks.add(asyncio.create_task(self._encode(part, group)))
        if not parts:
            self._count(group)

    async def finish(self) -> None:
        """Wait until all is written."""
        await asyncio.gather(*self._tasks)

    def cancel(self) -> None:
        """Let go of what is not written."""
        for task in self._tasks:
            task.cancel()

    def _look(self) -> None:
        ended = {task for task in self._tasks if task.done()}
        self._tasks -= ended
        for task in ended:
            task.result()

    async def _encode(self, part: Sequence[UnencodedChunk], group: _Group) -> None:
        try:
            texts = [chunk.text for chunk in part]
            submitted = self._engine.submit(texts, prompt="passage", lane=Lane.BULK)
            embedded = await asyncio.wrap_future(submitted)
            vectors = await to_thread.run_sync(half_unit_rows, embedded.vectors)
            await self._steps.keep(self._wanted, part, vectors)
        finally:
            self._room.release()
        group.left -= 1
        self._count(group)

    def _count(self, group: _Group) -> None:
        if not group.left:
            self.done += group.documents
            self._progress("documents", self.done, max(self.done, self._total))
