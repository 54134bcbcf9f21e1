import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, wait
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from embeddings.encoder import BATCH_TOKENS, Encoder
from embeddings.engine import Embedded, EncoderEngine, Lane
from embeddings.errors import InvalidInput, Overloaded, TextTooLong
from embeddings.lane import EncodingLane, LaneSettings
from embeddings.tokens import TokenIds
from embeddings.vectors import unit_rows
from embeddings.waiting import Window
from tests.embeddings.gated_encoder import TIMEOUT_S, Gate, GatedEncoder, expected_row


@contextmanager
def engine_of(encoder: GatedEncoder | Encoder, workers: int = 2, **limits: int) -> Iterator[EncoderEngine]:
    engine = EncoderEngine(encoder, workers, **limits)
    try:
        yield engine
    finally:
        engine.close()


def embed(
    engine: EncoderEngine, texts: Sequence[str], lane: Lane = Lane.BULK, **how: object
) -> "Future[Embedded]":
    return engine.submit(texts, prompt="passage", lane=lane, **how)  # type: ignore[arg-type]


def texts_of(first_words: Sequence[int], length: int = 4) -> list[str]:
    """Texts of so many words, each with its own first one."""
    return [" ".join([str(word), *["0"] * (length - 1)]) for word in first_words]


def first_words(embedded: Embedded) -> list[int]:
    return embedded.vectors[:, 1].astype(int).tolist()


@settings(max_examples=25, deadline=None)
@given(
    requests=st.lists(
        st.tuples(st.sampled_from(Lane), st.lists(st.integers(1, 90), max_size=40)), min_size=1, max_size=12
    ),
    workers=st.integers(1, 3),
)
def test_each_request_gets_its_rows_in_its_order(
    requests: list[tuple[Lane, list[int]]], workers: int
) -> None:
    encoder = GatedEncoder()
    with engine_of(encoder, workers) as engine:
        waiting = [
            (lengths, embed(engine, [f"{number} " * length for length in lengths], lane))
            for number, (lane, lengths) in enumerate(requests)
        ]
        for number, (lengths, future) in enumerate(waiting):
            embedded = future.result(TIMEOUT_S)
            expected = [expected_row([number] * min(length, 64)) for length in lengths]
            np.testing.assert_array_equal(embedded.vectors, np.reshape(expected, (-1, 3)))
            assert embedded.token_counts == tuple(lengths)
            assert embedded.truncated == tuple(length > 64 for length in lengths)
    assert len(encoder.tokenized) == sum(len(lengths) for _, lengths in requests)
    assert all(len(batch) * max(batch) <= BATCH_TOKENS for batch in encoder.batches)


def test_texts_of_several_requests_share_a_batch() -> None:
    gate = Gate(lambda word: word == 1)
    encoder = GatedEncoder(on_run=gate)
    with engine_of(encoder, workers=1) as engine:
        embed(engine, texts_of([1]))
        gate.wait_for_run()
        waiting = [embed(engine, texts_of([number])) for number in range(2, 6)]
        gate.open()
        wait(waiting, TIMEOUT_S)
    assert encoder.batches == [[4], [4, 4, 4, 4]]


def test_statistics_tell_what_waits_and_how_full_the_batches_were() -> None:
    gate = Gate(lambda word: word == 1)
    encoder = GatedEncoder(on_run=gate)
    with engine_of(encoder, workers=1) as engine:
        first = embed(engine, texts_of([1]))
        gate.wait_for_run()
        others = embed(engine, [text for length in range(1, 61) for text in texts_of([2], length)])
        assert engine.statistics()[Lane.BULK].waiting_texts == 61
        gate.open()
        wait([first, others], TIMEOUT_S)
        bulk, query = (engine.statistics()[lane] for lane in (Lane.BULK, Lane.QUERY))
    assert (bulk.waiting_texts, bulk.texts, bulk.tokens) == (0, 61, 4 + sum(range(1, 61)))
    assert bulk.batches == len(encoder.batches)
    assert bulk.padded_tokens == sum(len(batch) * max(batch) for batch in encoder.batches) > bulk.tokens
    assert (query.texts, query.batches) == (0, 0)


def test_query_overtakes_bulk_work() -> None:
    gate = Gate(lambda word: word < 1000)
    with engine_of(GatedEncoder(on_run=gate)) as engine:
        bulk = embed(engine, texts_of(range(1000), length=64))
        for _ in range(2):
            gate.wait_for_run()  # both bulk workers are in a run, and hundreds of texts wait
        query = embed(engine, texts_of([1000]), Lane.QUERY)
        assert first_words(query.result(TIMEOUT_S)) == [1000]
        assert not bulk.done()
        gate.open()
        assert first_words(bulk.result(TIMEOUT_S)) == list(range(1000))


def test_bulk_work_goes_on_beside_queries_without_end() -> None:
    gate = Gate()
    with engine_of(GatedEncoder(on_run=lambda batch: gate(batch) if batch[0][0] else None)) as engine:
        queries = [embed(engine, texts_of([number]), Lane.QUERY) for number in range(1, 50)]
        for _ in range(2):
            gate.wait_for_run()
        assert first_words(embed(engine, texts_of([0] * 500)).result(TIMEOUT_S)) == [0] * 500
        assert not any(query.done() for query in queries)
        gate.open()


@pytest.mark.parametrize("beside", ["nothing", "queries"])
def test_bulk_work_goes_on_when_its_thread_gets_no_processor(beside: str) -> None:
    gate = Gate(lambda word: word == 1)  # as if its thread never came to run
    with engine_of(GatedEncoder(on_run=gate), workers=1) as engine:
        embed(engine, texts_of([1]))
        gate.wait_for_run()
        starving = embed(engine, texts_of(range(2, 60)))
        while beside == "queries" and not starving.done():
            embed(engine, texts_of([1000]), Lane.QUERY).result(TIMEOUT_S)
        assert first_words(starving.result(TIMEOUT_S)) == list(range(2, 60))
        gate.open()


def test_small_request_does_not_wait_for_a_large_one() -> None:
    gate = Gate(lambda word: word == 0)
    encoder = GatedEncoder(on_run=gate)
    with engine_of(encoder, workers=1) as engine:
        large = embed(engine, texts_of([0, *range(1, 2000)]))
        gate.wait_for_run()
        small = embed(engine, texts_of([5000]))
        done_with_small: list[int] = []
        small.add_done_callback(lambda _: done_with_small.append(sum(map(len, encoder.batches))))
        gate.open()
        wait([large, small], TIMEOUT_S)
    assert done_with_small[0] < 600  # what was being done, and one more window


def test_failing_run_fails_its_own_requests_only() -> None:
    def fail_on(batch: Sequence[TokenIds]) -> None:
        if any(ids[0] == 7 for ids in batch):
            raise ZeroDivisionError

    with engine_of(GatedEncoder(on_run=fail_on), workers=1) as engine:
        bad = embed(engine, texts_of([*range(20), *range(20)], length=60))
        with pytest.raises(ZeroDivisionError):
            bad.result(TIMEOUT_S)
        good = embed(engine, texts_of(range(8, 300)))
        assert first_words(good.result(TIMEOUT_S)) == list(range(8, 300))


def test_run_that_loses_a_row_fails_its_request_and_the_worker_lives_on() -> None:
    class Forgetful(GatedEncoder):
        def run(self, batch: Sequence[TokenIds]) -> NDArray[np.float32]:
            rows = super().run(batch)
            return rows[1:] if batch[0][0] == 7 else rows

    with engine_of(Forgetful(), workers=1) as engine:
        with pytest.raises(ValueError, match="shorter"):
            embed(engine, ["7"]).result(TIMEOUT_S)
        assert first_words(embed(engine, ["8"]).result(TIMEOUT_S)) == [8]


def test_unknown_prompt_fails_its_own_request_only() -> None:
    with engine_of(GatedEncoder()) as engine:
        bad = engine.submit(["1"], prompt="poem", lane=Lane.QUERY)
        good = embed(engine, ["2"], Lane.QUERY)
        with pytest.raises(InvalidInput, match="poem"):
            bad.result(TIMEOUT_S)
        assert first_words(good.result(TIMEOUT_S)) == [2]


def test_over_long_text_is_refused_with_its_place() -> None:
    texts = ["1", *texts_of([2], length=70)]
    with engine_of(GatedEncoder()) as engine:
        with pytest.raises(TextTooLong) as caught:
            embed(engine, texts, refuse_truncation=True).result(TIMEOUT_S)
        assert (caught.value.index, caught.value.tokens, caught.value.max_tokens) == (1, 70, 64)
        assert embed(engine, texts).result(TIMEOUT_S).truncated == (False, True)


def test_cut_text_keeps_the_end_that_was_asked_for() -> None:
    text = " ".join(map(str, range(100)))
    with engine_of(GatedEncoder()) as engine:
        assert first_words(embed(engine, [text]).result(TIMEOUT_S)) == [0]
        assert first_words(embed(engine, [text], keep="end").result(TIMEOUT_S)) == [36]


def test_no_text_is_an_empty_result() -> None:
    with engine_of(GatedEncoder()) as engine:
        embedded = embed(engine, []).result(0)
    assert (embedded.vectors.shape, embedded.token_counts, embedded.truncated) == ((0, 3), (), ())


def test_cancelled_request_leaves_the_queue() -> None:
    gate = Gate(lambda word: word == 1)
    encoder = GatedEncoder(on_run=gate)
    with engine_of(encoder, workers=1) as engine:
        running = embed(engine, texts_of([1]))
        gate.wait_for_run()
        unwanted = embed(engine, texts_of(range(2, 100)))
        assert unwanted.cancel()
        wanted = embed(engine, texts_of([200]))
        gate.open()
        assert [first_words(f.result(TIMEOUT_S)) for f in (running, wanted)] == [[1], [200]]
    assert encoder.batches == [[4], [4]]


def test_half_done_request_can_be_cancelled() -> None:
    gate = Gate(lambda word: word == 63)
    encoder = GatedEncoder(on_run=gate)
    with engine_of(encoder, workers=1) as engine:
        unwanted = embed(engine, texts_of(range(64, -1, -1), length=60))
        gate.wait_for_run()
        assert unwanted.cancel()
        gate.open()
        assert first_words(embed(engine, ["9"]).result(TIMEOUT_S)) == [9]
        with pytest.raises(CancelledError):
            unwanted.result(0)
    assert sum(map(len, encoder.batches)) < 65


@pytest.mark.parametrize("lane", Lane)
def test_full_lane_refuses_and_says_when_there_is_room(lane: Lane) -> None:
    gate = Gate()
    limits = {"max_waiting_texts": 10, "max_waiting_queries": 10}
    with engine_of(GatedEncoder(on_run=gate), workers=1, **limits) as engine:
        waiting = [embed(engine, texts_of(range(10)), lane)]
        gate.wait_for_run()
        with pytest.raises(Overloaded, match="10 texts wait") as caught:
            embed(engine, ["1"], lane)
        assert caught.value.retry_after_s is not None
        assert caught.value.retry_after_s >= 1
        other = Lane.BULK if lane is Lane.QUERY else Lane.QUERY
        waiting += [embed(engine, ["1"], other), embed(engine, texts_of(range(30)), lane, refusable=False)]
        gate.open()
        assert all(future.result(TIMEOUT_S) for future in waiting)
        assert embed(engine, ["1"], lane).result(TIMEOUT_S)


def test_cancelled_request_makes_room() -> None:
    gate = Gate()
    with engine_of(GatedEncoder(on_run=gate), workers=1, max_waiting_texts=10) as engine:
        waiting = embed(engine, texts_of(range(5)))
        gate.wait_for_run()
        assert embed(engine, texts_of(range(5))).cancel()
        assert waiting.cancel()
        after = embed(engine, texts_of(range(10)))
        gate.open()
        assert first_words(after.result(TIMEOUT_S)) == list(range(10))


def test_request_larger_than_its_lane_is_taken_when_nothing_waits() -> None:
    with engine_of(GatedEncoder(), max_waiting_texts=10) as engine:
        assert first_words(embed(engine, texts_of(range(500))).result(TIMEOUT_S)) == list(range(500))


def test_closing_fails_what_waits_and_ends_the_threads() -> None:
    gate = Gate()
    before = set(threading.enumerate())
    engine = EncoderEngine(GatedEncoder(on_run=gate), workers=1)
    waiting = [embed(engine, texts_of(range(300)), lane) for lane in Lane for _ in range(3)]
    for _ in Lane:
        gate.wait_for_run()
    closing = threading.Thread(target=engine.close)
    closing.start()
    for future in waiting:  # while the runs are still held
        with pytest.raises(Overloaded, match="stopping") as caught:
            future.result(TIMEOUT_S)
        assert caught.value.retry_after_s is None
    gate.open()
    closing.join(TIMEOUT_S)
    assert set(threading.enumerate()) == before
    with pytest.raises(Overloaded, match="stopping"):
        embed(engine, ["1"])


def test_a_stand_in_that_looks_while_the_lane_closes_ends_too() -> None:
    """The look falls between the closing and the end of the thread once in many thousand closings."""
    lane = EncodingLane(GatedEncoder(), LaneSettings("bulk", 1, 10, BATCH_TOKENS, Window(8, 8, 1000)))
    lane.stop()
    assert not lane._step_if_starving()
    stand_in = threading.Thread(target=lane._stand_in, args=(lambda: False,), daemon=True)
    stand_in.start()
    stand_in.join(TIMEOUT_S)
    assert not stand_in.is_alive()


def test_threads_start_with_the_first_request_only() -> None:
    before = threading.active_count()
    with engine_of(GatedEncoder(), workers=3) as engine:
        assert threading.active_count() == before
        embed(engine, ["1"], Lane.QUERY).result(TIMEOUT_S)
        assert threading.active_count() == before + 3


def test_many_threads_that_submit_and_cancel_lose_nothing() -> None:
    wrong: list[object] = []

    def use(engine: EncoderEngine, seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(30):
            numbers = rng.integers(0, 1000, size=rng.integers(1, 60)).tolist()
            future = embed(engine, texts_of(numbers), Lane.QUERY if rng.random() < 0.3 else Lane.BULK)
            if rng.random() < 0.3 and future.cancel():
                continue
            found = first_words(future.result(TIMEOUT_S))
            if found != numbers:
                wrong.append((numbers, found))

    with engine_of(GatedEncoder(), workers=3) as engine:
        run_in_threads([lambda seed=seed: use(engine, seed) for seed in range(6)])
        assert embed(engine, ["1"]).result(TIMEOUT_S)
    assert wrong == []


def run_in_threads(works: Sequence[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert not any(thread.is_alive() for thread in threads)


def test_bundled_encoder_gives_the_same_vectors_through_the_queue(encoder: Encoder) -> None:
    texts = ["When do I plant tomatoes?", "Когда сажать помидоры?", "什么时候种西红柿？"] * 3
    with engine_of(encoder) as engine:
        together = embed(engine, texts).result(TIMEOUT_S)
        alone = [embed(engine, [text], Lane.QUERY).result(TIMEOUT_S) for text in texts]
    rows, expected = unit_rows(together.vectors), np.concatenate([unit_rows(e.vectors) for e in alone])
    assert (rows * expected).sum(axis=1).min() > 0.98  # int8 scales may depend on the batch
    assert together.token_counts == tuple(encoder.count_tokens(texts))
