from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from httpx import AsyncClient as Client
from litestar import Litestar

from app.http.limits import _network_of
from app.http.limits_buckets import Buckets
from app.resources import Resources
from app.services.types import Scope
from tests.app.http.conftest import application_of, assert_problem, connect
from tests.app.test_overload import Clock

Ask = Callable[[Client, dict[str, str]], Awaitable[int]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_minute_of_requests_may_come_at_once_and_then_they_trickle(clock: Clock) -> None:
    buckets = Buckets(clock)
    left = [buckets.take("me", 3).remaining for _ in range(3)]
    assert left == [2, 1, 0]
    refused = buckets.take("me", 3)
    assert refused.retry_in_s == pytest.approx(20)
    clock.now += 19.9
    assert buckets.take("me", 3).retry_in_s == pytest.approx(0.1)
    clock.now += 0.2
    assert buckets.take("me", 3).retry_in_s is None
    assert buckets.take("me", 3).retry_in_s is not None


def test_refused_requests_do_not_make_the_wait_longer(clock: Clock) -> None:
    buckets = Buckets(clock)
    assert buckets.take("me", 1).retry_in_s is None
    waits = [buckets.take("me", 1).retry_in_s for _ in range(100)]
    assert waits == [pytest.approx(60)] * 100


def test_in_the_long_run_exactly_the_limit_passes(clock: Clock) -> None:
    buckets, passed = Buckets(clock), 0
    for _ in range(36_000):  # ten a second for an hour
        passed += buckets.take("me", 30).retry_in_s is None
        clock.now += 0.1
    assert 30 * 60 <= passed <= 30 * 60 + 30


def test_callers_do_not_touch_one_another_and_full_buckets_are_forgotten(clock: Clock) -> None:
    buckets = Buckets(clock, most_callers=100)
    assert buckets.take("greedy", 1).retry_in_s is None
    for number in range(5_000):
        assert buckets.take(number, 60).retry_in_s is None
    assert len(buckets) <= 100
    assert buckets.take("greedy", 1).retry_in_s is not None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("not an address", "not an address", True),
    ],
)
def test_addresses_that_one_household_has_count_as_one(one: str, other: str, same: bool) -> None:
    assert (_network_of(one) == _network_of(other)) is same


@pytest.fixture
def limited(resources: Resources) -> Litestar:
    return application_of(resources, replace(resources.settings, rate_limit_per_minute=2))


async def test_an_address_without_a_key_is_held_to_the_limit_and_told_of_it(limited: Litestar) -> None:
    async with connect(limited) as client:
        await limited.state.opening.wait_until_ready()
        replies = [await client.get("/v1/collections") for _ in range(3)]
        assert [reply.status_code for reply in replies] == [200, 200, 429]
        assert [reply.headers["ratelimit-policy"] for reply in replies] == ['"minute";q=2;w=60'] * 3
        assert [reply.headers["ratelimit"] for reply in replies] == [
            '"minute";r=1;t=30', '"minute";r=0;t=60', '"minute";r=0;t=60'
        ]  # fmt: skip
        problem = assert_problem(replies[-1], 429)
        assert problem["type"] == "urn:footnote:rate_limited"
        assert problem["retry_after_s"] == int(replies[-1].headers["retry-after"]) == 30
        assert (await client.get("/health/ready")).status_code == 200
        assert limited.state.rate_limits.refused == 1


async def test_the_limit_of_a_key_wins_over_the_services(limited: Litestar, resources: Resources) -> None:
    tokens = {
        name: (await resources.keys.create(name, [Scope.READ], rate_per_minute=limit)).token
        for name, limit in (("small", 1), ("large", 5), ("other", None))
    }
    async with connect(limited) as client:
        await limited.state.opening.wait_until_ready()

        async def passed(token: str) -> int:
            header = {"Authorization": f"Bearer {token}"}
            replies = [await client.get("/v1/collections", headers=header) for _ in range(7)]
            return sum(reply.status_code == 200 for reply in replies)

        assert [await passed(tokens[name]) for name in ("small", "large", "other")] == [1, 5, 2]


async def test_clients_of_openai_read_the_refusal_in_their_form(limited: Litestar) -> None:
    async with connect(limited) as client:
        await limited.state.opening.wait_until_ready()
        asked = {"input": "tea", "model": "x"}
        reply = [await client.post("/v1/embeddings", json=asked) for _ in range(3)][-1]
        error = reply.json()["error"]
        assert (reply.status_code, error["type"], error["code"]) == (
            429, "rate_limit_error", "rate_limit_exceeded",
        )  # fmt: skip


async def test_without_a_limit_nothing_is_counted_or_told(client: Client) -> None:
    replies = [await client.get("/v1/collections") for _ in range(30)]
    assert {reply.status_code for reply in replies} == {200}
    assert "ratelimit" not in replies[0].headers
