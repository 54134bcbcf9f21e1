"""Many clients of all kinds for minutes: no error but those that are expected, and memory that stays flat."""

import json
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import linear_regression

from embeddings.artifact import BUNDLED_ENCODER, load_manifest
from tests.benchmarks.servers import Server, footnote_server

SAMPLE_S = 10.0
# Growth that counts as flat over the second half, as a share of what is resident: allocators breathe.
FLAT_SHARE = 0.03


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=64)


def measure(arguments: Namespace) -> Mapping[str, object]:
    """What the clients saw, the resident MB every 10 s, and whether all was as it should be."""
    seconds = 60 * arguments.minutes
    with tempfile.TemporaryDirectory() as home, footnote_server(Path(home), "--no-guide") as server:
        seen, resident = _soak(server, arguments.clients, seconds)
    growth = growth_mb(resident, SAMPLE_S)
    flat = growth <= FLAT_SHARE * resident[-1]
    return {
        "minutes": arguments.minutes,
        "clients": arguments.clients,
        **seen,
        "resident_mb": [round(each) for each in resident],
        "growth_mb_in_second_half": round(growth, 1),
        "passed": flat and not seen["unexpected"],
    }


def _soak(server: Server, clients: int, seconds: float) -> tuple[dict[str, object], list[float]]:
    order = {
        "host": server.host,
        "port": server.port,
        "path": "/v1/embeddings",
        "model": load_manifest(BUNDLED_ENCODER).model_id,
        "clients": clients,
        "seconds": seconds,
    }
    command = [sys.executable, "-m", "tests.benchmarks.soak_clients"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(order))
        process.stdin.close()
        resident = [server.resident_mb()]
        for _ in range(max(1, int(seconds // SAMPLE_S))):
            time.sleep(min(SAMPLE_S, seconds))
            resident.append(server.resident_mb())
        return json.loads(process.stdout.read()), resident


def growth_mb(samples: Sequence[float], interval_s: float) -> float:
    """How much the line through the second half of the samples rises over it."""
    half = samples[len(samples) // 2 :]
    if len(half) < 2:
        return 0.0
    times = [interval_s * place for place in range(len(half))]
    return linear_regression(times, half).slope * times[-1]
