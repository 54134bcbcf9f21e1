"""Embedding single queries over HTTP: `footnote serve` against infinity's server, on the OpenAI route."""

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from embeddings.artifact import BUNDLED_ENCODER, load_manifest
from tests.benchmarks.encoder import Plan
from tests.benchmarks.environments import WORKPLACE, PeerUnavailable, interpreter
from tests.benchmarks.http_client import Address
from tests.benchmarks.http_load import Outcome, measure_load
from tests.benchmarks.peer_model import make_peer_model
from tests.benchmarks.servers import Server, ServerFailed, footnote_server, infinity_server
from tests.benchmarks.texts import TextSet

CLIENTS = (1, 8, 64)


@dataclass(slots=True)
class Load:
    """What one server did under so many clients, over all rounds. requests_per_second: of each round."""

    latencies_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    requests_per_second: list[float] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.latencies_s.extend(outcome.latencies_s)
        self.statuses.update(outcome.statuses)
        self.requests_per_second.append(len(outcome.latencies_s) / outcome.seconds)


@dataclass(slots=True)
class OverHttp:
    """loads: by server and clients; unavailable: why a server is not among them."""

    loads: dict[str, dict[int, Load]] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Served:
    """A running server with its route and the name of its model."""

    server: Server
    route: Address
    model: str

    def bodies(self, texts: Sequence[str]) -> list[object]:
        return [{"model": self.model, "input": text} for text in texts]


def measure_over_http(plan: Plan, sets: Mapping[str, TextSet]) -> OverHttp:
    """Run both servers at once and load them in turn."""
    found = OverHttp()
    texts = sets["tokens_16"].texts
    with ExitStack() as stack:
        servers = {}
        for name, opening in (("Footnote", _footnote()), ("infinity ONNX int8", _infinity(plan.threads))):
            try:
                servers[name] = stack.enter_context(opening)
            except (PeerUnavailable, ServerFailed) as error:
                found.unavailable[name] = str(error)
        for served in servers.values():
            measure_load(served.route, served.bodies(texts), clients=8, seconds=plan.http_seconds / 5)
        for number in range(plan.http_rounds):
            print(f"HTTP round {number + 1} of {plan.http_rounds}", file=sys.stderr)
            _load_in_turn(plan, servers, texts, found)
        found.peak_mb = {name: served.server.peak_mb() for name, served in servers.items()}
    return found


def _load_in_turn(plan: Plan, servers: Mapping[str, Served], texts: Sequence[str], found: OverHttp) -> None:
    for clients in CLIENTS:
        for name, served in servers.items():
            outcome = measure_load(served.route, served.bodies(texts), clients, plan.http_seconds)
            found.loads.setdefault(name, {}).setdefault(clients, Load()).add(outcome)


@contextmanager
def _footnote() -> Iterator[Served]:
    model = load_manifest(BUNDLED_ENCODER).model_id
    with tempfile.TemporaryDirectory() as home, footnote_server(Path(home), "--no-guide") as server:
        yield Served(server, server.route("/v1/embeddings"), model)


@contextmanager
def _infinity(threads: int) -> Iterator[Served]:
    python = interpreter("infinity")
    graph = make_peer_model(WORKPLACE / "model").resolve() / "int8"
    log = WORKPLACE.resolve() / "logs" / "infinity_server.log"
    with infinity_server(python, graph, log, threads) as server:
        yield Served(server, server.route("/embeddings"), ".")
