"""Searches while the service makes a build, against the same searches when it has nothing else to do."""

import asyncio
import shutil
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Mapping
from statistics import quantiles

from tests.benchmarks.environments import WORKPLACE
from tests.benchmarks.http_client import post
from tests.benchmarks.scale_corpus import ScaleCorpus, load_corpus
from tests.benchmarks.scale_http import BUILD_TIMEOUT_S, COLLECTION, has_build, write_corpus
from tests.benchmarks.servers import Server, footnote_server
from tests.benchmarks.steady_load import load_steadily

IDLE_S = 60.0
PAUSE_S = 3.0  # after the build, for what it leaves to be tidied up


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=20.0, help="searches a second")


def measure(options: Namespace) -> Mapping[str, object]:
    corpus = load_corpus(options.chunks)
    home = WORKPLACE / "scale" / "home-building"
    shutil.rmtree(home, ignore_errors=True)
    asyncio.run(write_corpus(home, corpus, options.chunks))
    with footnote_server(home, "--no-guide") as server:
        return {"chunks": options.chunks, "rate": options.rate, **asyncio.run(_run(server, corpus, options))}


async def _run(server: Server, corpus: ScaleCorpus, options: Namespace) -> Mapping[str, object]:
    """The first start has no build, and so begins with one."""
    home, statuses = WORKPLACE / "scale" / "home-building", Counter[int]()
    route = server.route(f"/v1/collections/{COLLECTION}/search")
    requests = [post(route, {"query": question, "limit": 10}) for question in corpus.questions]

    def answered(status: int, _body: bytes) -> None:
        statuses[status] += 1

    def building(seconds: float) -> bool:
        return not has_build(home) and seconds < BUILD_TIMEOUT_S

    beside = await load_steadily(route, requests, options.rate, building, answered)
    await asyncio.sleep(PAUSE_S)
    idle = await load_steadily(route, requests, options.rate, lambda s: s < IDLE_S, answered)
    return {
        "build_s": round(len(beside) / options.rate, 1),
        "statuses": dict(statuses),
        **_quantiles("beside", beside),
        **_quantiles("idle", idle),
    }


def _quantiles(name: str, times_ms: list[float]) -> dict[str, float]:
    cuts = quantiles(times_ms, n=100)
    return {f"{name}_p50_ms": round(cuts[49], 1), f"{name}_p99_ms": round(cuts[98], 1)}
