"""The clients of the benchmark count what the server did."""

import asyncio
import random
from collections import Counter

import pytest

from tests.benchmarks.http_client import Address, Connection, post
from tests.benchmarks.http_load import ask_all
from tests.benchmarks.soak import growth_mb
from tests.benchmarks.soak_clients import Kind, Tally, english_paragraphs, make_input, soak
from tests.benchmarks.steady_load import load_steadily
from tests.benchmarks.stub_server import serving


async def test_every_answer_is_counted_and_timed() -> None:
    async with serving(lambda body: 200 if body["input"] == "good" else 500) as address:
        requests = [post(address, {"input": word}) for word in ("good", "bad")]
        outcome = await ask_all(address, requests, clients=3, seconds=0.2)
    assert set(outcome.statuses) == {200, 500}
    assert len(outcome.latencies_s) == outcome.statuses[200]
    assert outcome.seconds >= 0.2


async def test_steady_load_takes_the_requests_in_turn_and_tells_every_answer() -> None:
    statuses: Counter[int] = Counter()
    async with serving(lambda body: 200 if body["input"] == "good" else 500) as address:
        requests = [post(address, {"input": word}) for word in ("good", "bad")]
        left = iter(range(30))
        times_ms = await load_steadily(
            address,
            requests,
            rate=500,
            lasts=lambda _seconds: next(left, None) is not None,
            answered=lambda status, _body: statuses.update([status]),
        )
    assert statuses == {200: 15, 500: 15}
    assert len(times_ms) == 30


async def test_server_that_hangs_up_is_an_error() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server:
        connection = await Connection.open(host, port)
        with pytest.raises(ConnectionError):
            await connection.ask(post(Address(host, port, "/"), {}))


async def test_soak_expects_overlong_texts_to_be_refused() -> None:
    async with serving(lambda body: 400 if len(body["input"]) > 2000 else 200) as address:
        tally = await soak(address, "model", clients=8, seconds=0.4)
    assert tally.unexpected == Counter()
    assert tally.turns[Kind.OVERLONG] > 0
    assert tally.turns[Kind.CANCELLED] > 0
    assert tally.query_s_by_minute[0]


async def test_soak_counts_faults_and_busy_answers_apart() -> None:
    def status_of(body: dict[str, object]) -> int:
        return 429 if isinstance(body["input"], list) else 500

    async with serving(status_of) as address:
        tally = await soak(address, "model", clients=8, seconds=0.4)
    assert tally.busy > 0
    assert f"{Kind.QUERY}: status 500" in tally.unexpected
    assert f"{Kind.BATCH}: status 429" not in tally.unexpected


def test_latencies_are_told_by_minute() -> None:
    tally = Tally()
    for began_s, seconds in ((1.0, 0.010), (59.0, 0.030), (61.0, 0.020)):
        tally.note(Kind.QUERY, 200, began_s, seconds)
    minutes = tally.summary()["query_latency_by_minute"]
    assert [(each["minute"], each["queries"], each["p99_ms"]) for each in minutes] == [(1, 2, 30), (2, 1, 20)]


def test_inputs_are_what_their_kind_says() -> None:
    chance, english = random.Random(1), english_paragraphs()
    assert len(make_input(Kind.OVERLONG, english, chance).split()) >= 600
    assert 8 <= len(make_input(Kind.BATCH, english, chance)) <= 32
    assert 3 <= len(make_input(Kind.QUERY, english, chance).split()) <= 14
    assert not make_input(Kind.RUSSIAN, english, chance).isascii()


def test_growth_is_that_of_the_second_half() -> None:
    assert growth_mb([10, 200, 300, 301, 302, 303], interval_s=10) == pytest.approx(2)
    assert growth_mb([10, 200, 300, 300, 300, 300], interval_s=10) == pytest.approx(0)
