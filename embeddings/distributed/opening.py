"""An engine on a cluster, opened and closed. Ray is loaded here, and only when an engine is asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from embeddings.distributed.connection import connected, workers_of
from embeddings.engine import TokenEncoder

if TYPE_CHECKING:
    from embeddings.distributed.encoding import RayEngine


@contextmanager
def ray_engine(
    address: str, encoder: TokenEncoder, folder: Path, workers: int, size: int | None = None
) -> "Iterator[RayEngine]":
    """An engine on the cluster at the address.

    folder: of the encoder; workers: of the engine that it stands in for; size: actors, None: one a processor
    of the cluster but for one. Raises as `connected` does, and ModelDamaged.
    """
    with connected(address):
        from embeddings.distributed.encoding import (  # noqa: PLC0415
            EncoderOpener,
            RayEngine,
            ShippedArtifact,
        )

        opener = EncoderOpener(ShippedArtifact.ship(folder))
        engine = RayEngine(encoder, workers, opener, workers_of(size))
        try:
            yield engine
        finally:
            engine.close()
