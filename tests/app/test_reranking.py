import asyncio
import threading
from collections.abc import Sequence
from typing import cast

from app.services.encoding import Encoding
from app.services.reranking import Reranking
from embeddings.reranker import Scored
from tests.app.word_reranker import WordReranker

WAIT_S = 10


class HeldReranker(WordReranker):
    """A reranker that scores when the test lets it. running: how many run now."""

    def __init__(self) -> None:
        super().__init__()
        self.started, self.may_score = threading.Event(), threading.Event()
        self.running = 0

    def score_pairs(self, pairs: Sequence[tuple[str, str]], raw: bool = False) -> Scored:
        self.running += 1
        self.started.set()
        self.may_score.wait(WAIT_S)
        self.running -= 1
        return super().score_pairs(pairs, raw)


async def test_scoring_that_nobody_waits_for_any_more_keeps_its_turn_until_it_is_done() -> None:
    reranker = HeldReranker()
    reranking = Reranking(reranker, cast(Encoding, None))
    given_up = asyncio.create_task(reranking.relevance("tea", ["tea", "snow"]))
    assert await asyncio.to_thread(reranker.started.wait, WAIT_S)
    given_up.cancel()
    later = asyncio.create_task(reranking.relevance("tea", ["tea"]))
    await asyncio.sleep(0.05)
    assert (reranker.running, reranking.in_flight) == (1, 2)
    reranker.may_score.set()
    assert len((await later).scores) == 1
    assert given_up.cancelled()
    assert reranking.in_flight == 0
