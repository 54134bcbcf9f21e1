"""What a cluster encodes of a release, with an engine of this process in the cluster's place."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest

from app.encoders import OpenEncoder, RayUse
from app.resources import Resources
from app.services.completing import Completion, CompletionSteps, wanted_of
from app.services.completing_on_ray import RayCompletion
from app.services.release_types import ReindexInput, Release, ReleaseState
from app.services.types import CollectionSettings, DocumentInput
from embeddings.engine import Embedded
from embeddings.errors import FootnoteError

USE = RayUse("10.0.0.5:6379", min_chars=0)


class StandIn:
    """An engine whose requests may fail. closed: whether it was let go of."""

    windows_ahead = 2

    def __init__(self, encoder: OpenEncoder, fails_at: int | None = None) -> None:
        self.requests = 0
        self.closed = False
        self._engine = encoder.encoding.engine
        self._fails_at = fails_at

    def submit(self, texts: Sequence[str], **options: Any) -> "Future[Embedded]":
        self.requests += 1
        if self.requests == self._fails_at:
            lost: Future[Embedded] = Future()
            lost.set_exception(FootnoteError("the Ray cluster is no longer there"))
            return lost
        return self._engine.submit(texts, **options)

    @contextmanager
    def opened(self, _use: RayUse, _encoder: OpenEncoder) -> Iterator["StandIn"]:
        try:
            yield self
        finally:
            self.closed = True


@pytest.fixture
async def release(resources: Resources) -> Release:
    """A release of thirty documents of a hundred new chunks each, of which nothing is made yet."""
    await resources.collections.create("notes", CollectionSettings(64, 0))
    text = "Lamps and ropes and tides rose by the sea. " * 100
    for first in (0, 15):
        notes = [DocumentInput(f"{n}. {text}", f"note-{n}") for n in range(first, first + 15)]
        await resources.documents.add("notes", notes)
    return await resources.releases.begin("notes", ReindexInput(chunk_max_tokens=16, chunk_overlap_tokens=0))


async def run(resources: Resources, release: Release, engine: StandIn, told: list[tuple[int, int]]) -> int:
    encoder = resources.encoders.default
    completion = RayCompletion(CompletionSteps(resources.database), USE, encoder, engine.opened)
    show = lambda _what, done, total: told.append((done, total))  # noqa: E731
    return await completion.run(release, wanted_of(release, encoder), show, 30)


async def lacking(resources: Resources, release: Release) -> int:
    wanted = wanted_of(release, resources.encoders.default)
    return await CompletionSteps(resources.database).count(wanted)


async def test_everything_is_encoded_and_told(resources: Resources, release: Release) -> None:
    engine, told = StandIn(resources.encoders.default), []
    assert await lacking(resources, release) == 30
    assert await run(resources, release, engine, told) == 30
    assert await lacking(resources, release) == 0
    assert engine.closed
    assert engine.requests > 4
    assert told[-1] == (30, 30)
    assert (await resources.releases.build("notes", release.number)).state is ReleaseState.READY


async def test_lost_cluster_leaves_what_was_kept(resources: Resources, release: Release) -> None:
    engine = StandIn(resources.encoders.default, fails_at=5)
    with pytest.raises(FootnoteError, match="no longer there"):
        await run(resources, release, engine, [])
    assert engine.closed
    left = await lacking(resources, release)
    assert left <= 30
    again = StandIn(resources.encoders.default)
    assert await run(resources, release, again, []) == left
    assert again.requests < 10
    assert await lacking(resources, release) == 0


async def test_little_is_encoded_here(resources: Resources, release: Release) -> None:
    resources.encoders.ray = RayUse("no such head", min_chars=10_000_000)
    assert await Completion(resources.database, resources.encoders).complete(release) == 30
