"""The one queue before the encoder: requests of all clients meet in it, and queries overtake bulk work.

Worker threads own the runs of the graph. Two runs on a core of their own each are as fast as one run on
both cores, so each worker runs its own batch with one thread. Queries and bulk work have workers of their
own: those of the bulk lane give way to all other threads of the machine, so that a query waits for the
processor and not for the end of a batch. When queries leave them no processor at all, those of the query
lane do a batch for them now and then.
"""

import sys
from collections.abc import Sequence
from concurrent.futures import Future
from enum import Enum

from embeddings.encoder import BATCH_TOKENS
from embeddings.lane import EncodingLane, LaneSettings, LaneStatistics, TokenEncoder
from embeddings.priority import give_way
from embeddings.tokens import Keep
from embeddings.waiting import Embedded, Window

__all__ = ["Embedded", "EncoderEngine", "Lane", "TokenEncoder"]

# A fifth of a second of text: a small request beside a large one waits that long for its turn. In windows
# of 256 short texts of about 20 tokens, padding adds 4 % to a batch; in windows of 32, 22 %.
BULK_WINDOW = Window(texts=256, turn_texts=16, chars=32_000)
_QUERY_WINDOW = Window(texts=32, turn_texts=8, chars=8_000)


class Lane(Enum):
    """QUERY: somebody waits for it; BULK: the more of it in a minute the better."""

    QUERY = "query"
    BULK = "bulk"


class EncoderEngine:
    """Runs texts of many clients through one encoder. Thread-safe.

    workers: threads of each lane, as many as cores may be used; max_waiting_texts, max_waiting_queries:
    texts that may wait in the bulk lane and in the query lane, without a limit for a caller that has its own.
    """

    def __init__(
        self,
        encoder: TokenEncoder,
        workers: int,
        max_waiting_texts: int = sys.maxsize,
        max_waiting_queries: int = sys.maxsize,
    ) -> None:
        self.workers = workers
        self.max_waiting_texts = max_waiting_texts
        self.batch_tokens = BATCH_TOKENS
        query = EncodingLane(
            encoder,
            LaneSettings("encoder-query", workers, max_waiting_queries, BATCH_TOKENS, _QUERY_WINDOW),
        )
        bulk = EncodingLane(
            encoder,
            LaneSettings(
                "encoder-bulk",
                workers,
                max_waiting_texts,
                BATCH_TOKENS,
                BULK_WINDOW,
                prepare_thread=give_way,
                yields_to=lambda: query.has_work,
            ),
        )
        self._lanes = {Lane.QUERY: query, Lane.BULK: bulk}

    def submit(
        self,
        texts: Sequence[str],
        *,
        prompt: str,
        lane: Lane,
        keep: Keep = "start",
        refuse_truncation: bool = False,
        refusable: bool = True,
    ) -> "Future[Embedded]":
        """Put texts into the queue. Cancelling the future takes out what has not been run.

        prompt: a name among the model's prompts, "query", "passage", or "" for none; keep: which end of an
        over-long text the model gets to see; refuse_truncation: fail instead; refusable: False for the
        service's own work, which waits for its turn however full the lane is.
        Raises Overloaded when the lane is full, with the time to wait, and when the service is stopping. The
        future raises InvalidInput for an unknown prompt, TextTooLong, and what the graph raises.
        """
        return self._lanes[lane].submit(texts, prompt, keep, refuse_truncation, refusable)

    def statistics(self) -> dict[Lane, LaneStatistics]:
        """What each lane has waiting, and has done."""
        return {name: lane.statistics() for name, lane in self._lanes.items()}

    def close(self) -> None:
        """Fail what waits with Overloaded, and return when the threads have ended their present runs."""
        for lane in self._lanes.values():
            lane.stop()
        for lane in self._lanes.values():
            lane.join()
