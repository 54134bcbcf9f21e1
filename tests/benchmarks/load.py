"""The service under load: many clients that search and ask, then five times as many requests as were answered
before, with slow and vanishing clients among them all the time.

Passed: no failure but refusals that say when to come back, memory that stays flat, and nothing left behind.
"""

import json
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.servers import Server, footnote_server, status_mb
from tests.benchmarks.soak import FLAT_SHARE, growth_mb

SAMPLE_S = 5.0
OVERLOAD = 5.0
# Clients of one phase have left, and what they left has been noticed.
REST_S = 45.0
# What comes and goes by itself: connections to the database, and the worker threads that anyio keeps.
SPARE = {"descriptors": 16, "threads": 40}
SLOW_CLIENTS_A_KIND = 5


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=10.0, help="of the load; the overload gets a fifth")
    parser.add_argument("--clients", type=int, default=64)


def measure(arguments: Namespace) -> Mapping[str, object]:
    """Rates, latencies and refusals of both phases, MB of the serving process, and what was left behind."""
    seconds = 60 * arguments.minutes
    with tempfile.TemporaryDirectory() as home, footnote_server(Path(home)) as server:
        _phase(server, min(seconds, 20.0), clients=arguments.clients)  # so that pools and caches are there
        time.sleep(min(seconds, REST_S))
        before = _held(server)
        load = _phase(server, seconds, clients=arguments.clients)
        rate = OVERLOAD * _served_per_s(load)
        overload = _phase(server, seconds / 5, rate=rate)
        time.sleep(min(seconds, REST_S))
        after = _held(server)
    phases = {"load": load, "overload": {"sent_per_s": round(rate, 1), **overload}}
    return {
        "minutes": arguments.minutes,
        "clients": arguments.clients,
        **phases,
        "held_before": before,
        "held_after": after,
        "passed": _is_sound(load) and _is_sound(overload) and _nothing_left(before, after),
    }


def _phase(server: Server, seconds: float, clients: int = 0, rate: float = 0.0) -> dict[str, Any]:
    """One crowd. rate: requests a second whatever becomes of them; 0: clients that wait for their replies."""
    order = {
        "host": server.host,
        "port": server.port,
        "clients": clients,
        "rate": rate,
        "seconds": seconds,
        "slow": SLOW_CLIENTS_A_KIND,
    }
    command = [sys.executable, "-m", "tests.benchmarks.load_clients"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(order))
        process.stdin.close()
        resident = _watch(server, process)
        seen = json.loads(process.stdout.read())
    figures = {"resident_mb": [round(each) for each in resident]}
    return {**seen, **figures, "growth_in_second_half_mb": round(growth_mb(resident, SAMPLE_S), 1)}


def _watch(server: Server, process: "subprocess.Popen[str]") -> list[float]:
    """Resident MB every few seconds until the clients are done."""
    resident = [status_mb(server.pid, "VmRSS")]
    while process.poll() is None:
        try:
            process.wait(SAMPLE_S)
        except subprocess.TimeoutExpired:
            resident.append(status_mb(server.pid, "VmRSS"))
    return resident


def _served_per_s(phase: Mapping[str, Any]) -> float:
    return float(sum(row["served_per_s"] for row in phase["kinds"].values()))


def _held(server: Server) -> dict[str, float]:
    """What the service's process holds now."""
    process = Path(f"/proc/{server.pid}")
    return {
        "descriptors": len(list((process / "fd").iterdir())),
        "threads": len(list((process / "task").iterdir())),
        "resident_mb": round(status_mb(server.pid, "VmRSS")),
    }


def _is_sound(phase: Mapping[str, Any]) -> bool:
    flat = phase["growth_in_second_half_mb"] <= FLAT_SHARE * phase["resident_mb"][-1]
    return flat and not phase["unexpected"] and not phase["refused_without_a_time"]


def _nothing_left(before: Mapping[str, float], after: Mapping[str, float]) -> bool:
    return all(after[name] <= before[name] + spare for name, spare in SPARE.items())
