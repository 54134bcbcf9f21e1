"""What of a run's preparation is done on a Ray cluster: vectors of the encoder in service, and drafts.

Both are the same as without one.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from embeddings.distributed.connection import connected, workers_of
from embeddings.distributed.opening import ray_engine
from embeddings.encoder import Encoder
from generation.decoder import Decoder
from training.siamese.drafting import Drafter, DraftPassages, Written, decoder_folder
from training.siamese.drafts import Passage
from training.siamese.plan import Synthetic
from training.siamese.progress import Show
from training.siamese.term_weights import TermWeights

if TYPE_CHECKING:
    from embeddings.distributed.encoding import RayEngine, ShippedArtifact

PASSAGES_AT_ONCE = 8  # some three seconds of the decoder


class RayEncode:
    """The encoder of a folder on a cluster, as a run's `EncodeTexts`.

    The actors start with the first texts and hold the cluster's processors until they are let go of; then the
    next texts start new ones. size: how many; None: one a processor but for one. Raises FootnoteError when
    the cluster cannot be used.
    """

    def __init__(self, address: str, encoder: Encoder, folder: Path, size: int | None = None) -> None:
        self._open = partial(ray_engine, address, encoder, folder, workers=1, size=size)
        self._opened = ExitStack()
        self._engine: RayEngine | None = None

    def __call__(self, texts: Sequence[str], role: Literal["query", "passage"]) -> NDArray[np.float32]:
        return next(self.parts([texts], role))

    def parts(
        self, parts: Iterable[Sequence[str]], role: Literal["query", "passage"]
    ) -> Iterator[NDArray[np.float32]]:
        """The vectors of each part, in their order; several are under way at once."""
        if self._engine is None:
            self._engine = self._opened.enter_context(self._open())
        return self._engine.encode_parts(parts, role)

    def let_go(self) -> None:
        """End the actors."""
        self._engine = None
        self._opened.close()


@dataclass(frozen=True, slots=True)
class OnRay:
    """What a run does on a cluster. encode: of the encoder in service; workers: that train together."""

    address: str
    encode: RayEncode
    workers: int = 1

    @property
    def draft(self) -> DraftPassages:
        """Drafts written on the cluster."""
        return drafting_on_ray(self.address)


def drafting_on_ray(address: str, size: int | None = None) -> DraftPassages:
    """Drafts written on the cluster, in the order of the passages. size: actors, as of RayEncode."""

    def draft(
        settings: Synthetic, weights: TermWeights, passages: Sequence[Passage], show: Show
    ) -> Iterator[Written]:
        with connected(address):
            from embeddings.distributed.pool import RayPool  # noqa: PLC0415 - Ray only where chosen

            pool = RayPool(_opener(settings, weights), workers_of(size))
            try:
                yield from _drafts(pool, passages, show)
            finally:
                pool.close()

    return draft


def _drafts(pool: Any, passages: Sequence[Passage], show: Show) -> Iterator[Written]:
    waiting: list[Future[list[Written]]] = []
    for first in range(0, len(passages), PASSAGES_AT_ONCE):
        show("passages with queries", first, len(passages))
        waiting.append(pool.submit(_write, passages[first : first + PASSAGES_AT_ONCE], first))
        if len(waiting) > 2 * pool.size:
            yield from waiting.pop(0).result()
    for future in waiting:
        yield from future.result()


def _write(drafter: Drafter, passages: Sequence[Passage], first: int) -> list[Written]:
    return [drafter.write(passage, number) for number, passage in enumerate(passages, first)]


def _opener(settings: Synthetic, weights: TermWeights) -> "_DrafterOpener":
    from embeddings.distributed.encoding import ShippedArtifact  # noqa: PLC0415

    folder = decoder_folder(settings)
    return _DrafterOpener(settings, weights, None if folder is None else ShippedArtifact.ship(folder))


@dataclass(frozen=True, slots=True)
class _DrafterOpener:
    settings: Synthetic
    weights: TermWeights
    decoder: "ShippedArtifact | None"

    def __call__(self) -> Drafter:
        if self.decoder is None:
            return Drafter(self.settings, self.weights, None)
        with self.decoder.unpacked() as folder:
            return Drafter(self.settings, self.weights, Decoder.load(folder, threads=1))
