"""The engine's work without its threads: one request, in the batches that the engine would run for it alone.

What else is in a batch changes a vector's last bits. So another machine gives the vectors that this one would
give, as long as both have the same kind of processor.
"""

from collections.abc import Sequence

import numpy as np

from embeddings.encoder import BATCH_TOKENS
from embeddings.engine import BULK_WINDOW
from embeddings.lane import TokenEncoder
from embeddings.tokens import Keep
from embeddings.waiting import Embedded, EmbeddingRequest, Row, TextQueue


def embed_in_turn(
    encoder: TokenEncoder, texts: Sequence[str], prompt: str, keep: Keep, workers: int
) -> Embedded:
    """What the bulk lane of an engine with so many workers gives for a request that it has to itself.

    Raises InvalidInput for an unknown prompt.
    """
    request = EmbeddingRequest(
        texts,
        prompt,
        keep,
        refuse_truncation=False,
        vectors=np.empty((len(texts), encoder.dimension), dtype=np.float32),
        token_counts=np.zeros(len(texts), dtype=np.int64),
        left=len(texts),
    )
    queue = TextQueue(BULK_WINDOW, BATCH_TOKENS, workers)
    if texts:
        queue.add(request)
    while queue.has_work:
        _step(encoder, queue)
    truncated = request.token_counts > encoder.max_tokens
    return Embedded(request.vectors, tuple(request.token_counts.tolist()), tuple(truncated.tolist()))


def _step(encoder: TokenEncoder, queue: TextQueue) -> None:
    """Tokenise a window, or run a batch."""
    if parts := queue.next_window():
        queue.plan([row for part in parts for row in _rows(encoder, part.request, part.start, part.stop)])
        return
    rows = queue.next_batch()
    vectors = encoder.run([row.ids for row in rows])
    for row, vector in zip(rows, vectors, strict=True):
        row.request.vectors[row.position] = vector
    queue.finish(rows)


def _rows(encoder: TokenEncoder, request: EmbeddingRequest, start: int, stop: int) -> list[Row]:
    texts = encoder.tokenize(request.texts[start:stop], request.prompt, request.keep)
    request.token_counts[start:stop] = [text.count for text in texts]
    return [Row(request, position, text.ids) for position, text in enumerate(texts, start)]
