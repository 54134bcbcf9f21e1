"""Searches over HTTP at a steady rate, alone and beside a training: how far is their p99 pushed?

The collection is this project's guide and the training is the whole job, with the defaults but for its
minutes: queries are written, negatives mined, the encoder trained, exported and judged. It is cancelled when
the time is over.
"""

import asyncio
import json
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

from app.resources import open_resources
from app.services.types import Scope
from app.settings import Settings
from tests.benchmarks.http_client import post
from tests.benchmarks.quantiles import percentile
from tests.benchmarks.servers import Server, footnote_server
from tests.benchmarks.service import QUESTIONS
from tests.benchmarks.steady_load import load_steadily

COLLECTION = "guide"
WARM_S = 3.0


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rate", type=float, default=20.0, help="searches a second (%(default)s)")
    parser.add_argument("--idle-seconds", type=float, default=30.0)
    parser.add_argument("--training-seconds", type=float, default=600.0)
    parser.add_argument(
        "--minutes",
        type=float,
        default=3.0,
        help="for the training: short, so that all stages come (%(default)s)",
    )


def measure(arguments: Namespace) -> Mapping[str, object]:
    """p50 and p99 in ms, by what the training did at the time; ratio: of p99 beside all of it to idle."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        with footnote_server(home):
            pass  # loads the guide
        token = asyncio.run(_admin_token(home))
        with footnote_server(home) as server, _client(server, token) as client:
            asyncio.run(_search(server, arguments.rate, lambda s: s < WARM_S))
            idle = asyncio.run(_search(server, arguments.rate, lambda s: s < arguments.idle_seconds))
            job = _train(client, arguments.minutes)
            deadline = time.monotonic() + arguments.training_seconds
            stages: dict[str, list[float]] = {}
            while (stage := _stage(client, job)) and time.monotonic() < deadline:
                times = asyncio.run(_search(server, arguments.rate, lambda s: s < WARM_S))
                stages.setdefault(stage, []).extend(times)
            client.post(f"/v1/jobs/{job}/cancel")
    beside = [each for times in stages.values() for each in times]
    return {
        "rate": arguments.rate,
        "idle": _shown(idle),
        "beside": _shown(beside),
        "stages": {stage: _shown(times) for stage, times in stages.items()},
        "p99_ratio": round(percentile(beside, 0.99) / percentile(idle, 0.99), 2),
    }


async def _search(server: Server, rate: float, lasts: Callable[[float], bool]) -> list[float]:
    address = server.route(f"/v1/collections/{COLLECTION}/search")
    requests = [post(address, {"query": question}) for question in QUESTIONS]
    statuses: Counter[int] = Counter()
    times = await load_steadily(address, requests, rate, lasts, lambda status, _: statuses.update([status]))
    if set(statuses) != {200}:
        raise RuntimeError(f"searches were answered with {dict(statuses)}")
    return times


def _client(server: Server, token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=f"http://{server.host}:{server.port}", headers=headers, timeout=60)


def _train(client: httpx.Client, minutes: float) -> str:
    wanted = {"promote": "never", "plan": {"minutes": minutes}}
    answer = client.post(f"/v1/admin/collections/{COLLECTION}/train", json=wanted)
    return str(answer.raise_for_status().json()["id"])


def _stage(client: httpx.Client, job: str) -> str | None:
    """What the training is doing; None when it has ended."""
    found = client.get(f"/v1/jobs/{job}").raise_for_status().json()
    if found["state"] == "failed":
        raise RuntimeError(json.dumps(found["error"]))
    if found["state"] in ("done", "cancelled"):
        return None
    what = (found["progress"] or {}).get("what") or found["state"]
    return str(what)


def _shown(times_ms: list[float]) -> Mapping[str, float]:
    quantiles = {name: percentile(times_ms, share) for name, share in (("p50", 0.5), ("p99", 0.99))}
    return {"searches": len(times_ms), **{name: round(value, 1) for name, value in quantiles.items()}}


async def _admin_token(home: Path) -> str:
    async with open_resources(Settings(home=home)) as resources:
        return (await resources.keys.create("training", {Scope.ADMIN})).token
