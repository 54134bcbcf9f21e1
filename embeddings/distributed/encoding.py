"""An encoder on the machines of a Ray cluster: the same vectors as by the engine of this machine."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Self

import numpy as np
import ray
from numpy.typing import NDArray

from embeddings.artifact import MANIFEST, read_manifest
from embeddings.distributed.pool import RayPool
from embeddings.encoder import Encoder
from embeddings.engine import Embedded, Lane, TokenEncoder
from embeddings.errors import TextTooLong
from embeddings.in_turn import embed_in_turn
from embeddings.tokens import Keep


@dataclass(frozen=True, slots=True)
class ShippedArtifact:
    """The files of a model in the memory of the cluster, so that its machines need no copy of the folder."""

    files: Mapping[str, Any]

    @classmethod
    def ship(cls, folder: Path) -> Self:
        """Raises ModelDamaged for a folder without a manifest, OSError for a file that cannot be read."""
        names = (MANIFEST, *read_manifest(folder).files)
        return cls({name: ray.put(np.fromfile(folder / name, dtype=np.uint8)) for name in names})

    @contextmanager
    def unpacked(self) -> Iterator[Path]:
        """A folder with the files, for as long as the model is being opened."""
        with TemporaryDirectory(prefix="footnote-model-") as folder:
            for name, reference in self.files.items():
                ray.get(reference).tofile(Path(folder) / name)
            yield Path(folder)


@dataclass(frozen=True, slots=True)
class EncoderOpener:
    """Opens a shipped encoder where an actor is. It is verified there as anywhere else."""

    artifact: ShippedArtifact

    def __call__(self) -> Encoder:
        with self.artifact.unpacked() as folder:
            return Encoder.load(folder)


class RayEngine:
    """Encodes on a cluster what an EncoderEngine would encode here.

    workers: those of that engine; its batches depend on them. opener: of the same encoder, on the machines of
    the cluster. size: actors, each with one thread.
    """

    def __init__(
        self, encoder: TokenEncoder, workers: int, opener: Callable[[], TokenEncoder], size: int
    ) -> None:
        self._max_tokens = encoder.max_tokens
        self._workers = workers
        self.pool = RayPool(opener, size)

    @property
    def windows_ahead(self) -> int:
        """Requests that should be under way, so that no actor waits for one."""
        return 2 * self.pool.size + 1

    def submit(
        self,
        texts: Sequence[str],
        *,
        prompt: str,
        lane: Lane,  # noqa: ARG002 - all of it is bulk
        keep: Keep = "start",
        refuse_truncation: bool = False,
        refusable: bool = True,  # noqa: ARG002 - nothing is refused
    ) -> "Future[Embedded]":
        """As EncoderEngine.submit. The request goes to one actor as a whole."""
        found = self.pool.submit(embed_in_turn, texts, prompt, keep, self._workers)
        return _refusing(found, self._max_tokens) if refuse_truncation else found

    def encode_parts(
        self, parts: Iterable[Sequence[str]], role: Literal["query", "passage"]
    ) -> Iterator[NDArray[np.float32]]:
        """What `Encoder.encode` gives for each part, in their order; several are under way at once."""
        waiting: list[Future[NDArray[np.float32]]] = []
        try:
            for part in parts:
                waiting.append(self.pool.submit(Encoder.encode, part, role))
                if len(waiting) >= self.windows_ahead:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()

    def close(self) -> None:
        """End the actors."""
        self.pool.close()


def _refusing(found: "Future[Embedded]", max_tokens: int) -> "Future[Embedded]":
    """The same, with TextTooLong for a text that was cut."""
    refusing: Future[Embedded] = Future()

    def pass_on(done: "Future[Embedded]") -> None:
        if not refusing.set_running_or_notify_cancel():
            return
        try:
            embedded = done.result()
            for index, cut in enumerate(embedded.truncated):
                if cut:
                    raise TextTooLong(index, embedded.token_counts[index], max_tokens)
            refusing.set_result(embedded)
        except BaseException as error:
            refusing.set_exception(error)

    found.add_done_callback(pass_on)
    return refusing
