"""Clients that ask one route as fast as it answers, in a process of their own: one JSON object in, one out.

python -m tests.benchmarks.http_load < LOAD
"""

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.benchmarks.http_client import Address, Connection, post


@dataclass(slots=True)
class Outcome:
    """latencies_s: of answers with status 200; statuses: how often each came; seconds: of the whole run."""

    latencies_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0


def measure_load(address: Address, bodies: Sequence[object], clients: int, seconds: float) -> Outcome:
    """Let a process of its own send the bodies in turn from so many kept-alive connections."""
    load = {
        "host": address.host,
        "port": address.port,
        "path": address.path,
        "bodies": bodies,
        "clients": clients,
        "seconds": seconds,
    }
    command = [sys.executable, "-m", "tests.benchmarks.http_load"]
    done = subprocess.run(command, input=json.dumps(load), capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    statuses = Counter({int(status): count for status, count in answer["statuses"].items()})
    return Outcome(answer["latencies_s"], statuses, answer["seconds"])


async def ask_all(address: Address, requests: Sequence[bytes], clients: int, seconds: float) -> Outcome:
    """Run the clients in this process for so long."""
    outcome, started = Outcome(), time.perf_counter()
    turns = itertools.cycle(requests)
    deadline = started + seconds
    await asyncio.gather(*(_ask_until(deadline, address, turns, outcome) for _ in range(clients)))
    outcome.seconds = time.perf_counter() - started
    return outcome


async def _ask_until(deadline: float, address: Address, turns: Iterator[bytes], outcome: Outcome) -> None:
    connection = await Connection.open(address.host, address.port)
    while (started := time.perf_counter()) < deadline:
        status, _ = await connection.ask(next(turns))
        outcome.statuses[status] += 1
        if status == 200:
            outcome.latencies_s.append(time.perf_counter() - started)
    connection.close()


def main() -> None:
    load = json.load(sys.stdin)
    address = Address(load["host"], load["port"], load["path"])
    requests = [post(address, body) for body in load["bodies"]]
    outcome = asyncio.run(ask_all(address, requests, load["clients"], load["seconds"]))
    json.dump(
        {"latencies_s": outcome.latencies_s, "statuses": outcome.statuses, "seconds": outcome.seconds},
        sys.stdout,
    )


if __name__ == "__main__":
    main()
