"""What the load beside killed replicas counts as an error of theirs, and what not."""

import random
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.benchmarks.replica_processes import Kept, Replica
from tests.benchmarks.replicas import KilledError, Load

Answer = Callable[[httpx.Request], httpx.Response]


def load_of(*answers: Answer) -> Load:
    replicas = [
        Replica(
            Kept((), {}, Path("log")),
            httpx.AsyncClient(base_url="http://replica", transport=httpx.MockTransport(answer)),
            ready=True,
        )
        for answer in answers
    ]
    return Load(replicas, random.Random(1))


def broken(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("", request=request)


async def test_connection_that_breaks_with_its_replica_is_no_error() -> None:
    def killed(request: httpx.Request) -> httpx.Response:
        load.replicas[0].kill()
        raise httpx.ReadError("", request=request)

    load = load_of(killed)
    with pytest.raises(KilledError):
        await load.call("/v1/search")
    assert (load.broken, load.errors) == (1, {})
    assert not load.replicas[0].ready


async def test_connection_of_a_living_replica_that_breaks_is_an_error() -> None:
    load = load_of(broken)
    with pytest.raises(KilledError):
        await load.call("/v1/search")
    assert load.errors == {"ReadError": 1}


async def test_write_is_sent_to_another_replica_under_the_same_key() -> None:
    keys = []

    def die_once(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            load.replicas[0].kept.kill()
            raise httpx.ReadError("", request=request)
        return httpx.Response(200, json={})

    load = load_of(die_once)
    await load.insist("/v1/collections/notes/documents", {})
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert (load.broken, load.errors) == (1, {})


async def test_what_was_written_before_and_cannot_be_found_is_counted() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"items": [{"status": "unchanged"}], "hits": []})

    load = load_of(answer)
    await load.add()
    assert (load.twice, load.stale) == (1, 1)


async def test_failure_that_a_replica_tells_is_an_error_and_its_turning_away_is_not() -> None:
    answers = iter([500, 503, 200])
    load = load_of(lambda _: httpx.Response(next(answers), json={}))
    await load.call("/v1/search")
    await load.insist("/v1/search", {})
    assert (sum(load.errors.values()), load.turned_away) == (1, 1)
