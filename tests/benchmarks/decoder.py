"""Footnote's decoder engine against transformers and onnxruntime-genai on one model, in one run.

All of them stay loaded, each in a process and an environment of its own, and every measure goes round them in
turn, so that a slow minute of the machine falls on all alike.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.bound import measure_clock_ghz
from tests.benchmarks.decoder_bound import measure_bandwidth
from tests.benchmarks.decoder_folders import footnote_folder, genai_folder, source_folder
from tests.benchmarks.environments import OURS, PEERS, WORKPLACE, PeerUnavailable, interpreter
from tests.benchmarks.workers import Worker, WorkerFailed

REFERENCE = "transformers fp32"
BATCHES = (1, 8)
SERVED = (8, 16)
GAINING = "Footnote int8"
OUR_ADAPTER = "tests.benchmarks.decoder_one_by_one"


@dataclass(frozen=True, slots=True)
class Contender:
    """A decoder to measure. environment: name of its requirements; adapter: a module, beside those in peers/
    by its name alone; serves: it takes part in the load that arrives over time, in the way that `variant`
    names.
    """

    name: str
    environment: str
    adapter: str
    precision: str
    variant: str = ""
    serves: bool = False
    generates: bool = True

    def folder(self, threads: int) -> Path:
        """What it opens; made when it is not there. Raises PeerUnavailable."""
        if self.environment == OURS:
            return footnote_folder(self.precision)
        return genai_folder(self.precision, threads) if self.environment == "genai" else source_folder()


def _genai(precision: str, variant: str = "") -> Contender:
    name = " ".join(part for part in ("genai", precision, variant) if part)
    generates, serves = not variant, bool(variant)
    return Contender(name, "genai", "genai_decoder", precision, variant, serves, generates)


CONTENDERS = (
    *(
        Contender(f"Footnote {precision}", OURS, OUR_ADAPTER, precision, serves=precision != "fp32")
        for precision in ("fp32", "int8", "int4")
    ),
    Contender(REFERENCE, "transformers", "transformers_decoder", "fp32", "fp32"),
    Contender("transformers bf16", "transformers", "transformers_decoder", "bf16", "bf16"),
    *(_genai(precision) for precision in ("fp32", "int8", "int4")),
    *(_genai(precision, way) for precision in ("int8", "int4") for way in ("one-by-one", "static")),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure. new_tokens: after each prompt; requests: short ones, one after the other, of which
    the first `settled` fill caches; every_s: between arrivals.
    """

    rounds: int = 5
    serve_rounds: int = 3
    prompt_tokens: int = 512
    new_tokens: int = 64
    records: int = 12
    groups: int = 8
    requests: int = 10_000
    settled: int = 1_000
    every_s: float = 0.05
    threads: int = 2
    contenders: tuple[Contender, ...] = CONTENDERS


@dataclass(slots=True)
class Speeds:
    """Of one decoder at one batch, a value for each round. prefill_s: one new token for each prompt;
    total_s: of all new tokens; decode_rate: tokens a second while all sequences are decoded.
    """

    prefill_s: list[float] = field(default_factory=list)
    total_s: list[float] = field(default_factory=list)
    decode_rate: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Figures:
    """What was measured of one decoder. speeds: by batch; served_s: until the last of so many requests was
    complete, of each round; tokens: its first greedy ones.
    """

    precision: str
    speeds: dict[int, Speeds] = field(default_factory=dict)
    served_s: dict[int, list[float]] = field(default_factory=dict)
    tokens: list[int] = field(default_factory=list)
    load_s: float = 0.0
    peak_mb: float = 0.0


@dataclass(slots=True)
class Machine:
    """Of each round: what the bounds are computed from."""

    clock_ghz: list[float] = field(default_factory=list)
    bytes_per_second: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Found:
    """Figures by decoder; gains: of Footnote's own measures by precision; unavailable: why not."""

    figures: dict[str, Figures] = field(default_factory=dict)
    machine: Machine = field(default_factory=Machine)
    gains: dict[str, dict[str, Any]] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Paths of files that workers read. arrivals: by the number of requests."""

    prompts: str
    records: str
    groups: str
    arrivals: Mapping[int, str]


def measure_decoders(
    plan: Plan, inputs: Inputs, measure_gains: Callable[[Worker, Plan, Inputs], Any]
) -> Found:
    """Start all decoders, check that they agree, and measure them in turn.

    measure_gains: what only our engine has, measured when the others are done.
    """
    found = Found()
    with ExitStack() as stack:
        workers = _start_all(stack, plan, inputs, found)
        check_agreement({name: each.tokens for name, each in found.figures.items()})
        for number in range(plan.rounds):
            print(f"round {number + 1} of {plan.rounds}", file=sys.stderr)
            _measure_round(plan, workers, found, number)
        for number in range(plan.serve_rounds):
            print(f"arriving requests, round {number + 1} of {plan.serve_rounds}", file=sys.stderr)
            _serve_round(plan, workers, inputs, found)
        for name, worker in workers.items():
            found.figures[name].peak_mb = worker.ask("memory")["peak_mb"]
        if GAINING in workers:
            print(f"gains of {GAINING}", file=sys.stderr)
            found.gains[GAINING] = measure_gains(workers[GAINING], plan, inputs)
    return found


def _start_all(stack: ExitStack, plan: Plan, inputs: Inputs, found: Found) -> dict[str, Worker]:
    workers = {}
    for contender in plan.contenders:
        try:
            workers[contender.name] = _start(stack, contender, plan, inputs, found)
        except (PeerUnavailable, WorkerFailed) as error:
            print(f"{contender.name}: {error}", file=sys.stderr)
            found.unavailable[contender.name] = str(error)
    return workers


def _start(stack: ExitStack, contender: Contender, plan: Plan, inputs: Inputs, found: Found) -> Worker:
    """A worker that has its model and its prompts, and has decoded a little."""
    python, folder = interpreter(contender.environment), contender.folder(plan.threads)
    log = WORKPLACE / "logs" / f"decoder_{contender.name.replace(' ', '_')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [str(python), str(PEERS / "decoder_worker.py"), contender.adapter]
    worker = stack.enter_context(Worker(command, log, plan.threads))
    figures = Figures(contender.precision)
    opened = worker.ask("load", model=str(folder), variant=contender.variant, threads=plan.threads)
    figures.load_s = opened["seconds"]
    worker.ask("prompts", name="prompts", path=inputs.prompts)
    warmed = worker.ask("generate", prompts="prompts", batch=1, new_tokens=plan.new_tokens)
    figures.tokens = warmed["tokens"][0]
    found.figures[contender.name] = figures
    return worker


def check_agreement(tokens: Mapping[str, Sequence[int]], least: int = 4) -> None:
    """Raises ValueError when a fp32 decoder's first tokens are not the reference's: its speed would mean
    nothing. Later ones may differ, since random weights make near ties.
    """
    for name, found in tokens.items():
        expected = tokens.get(REFERENCE, found)
        if "fp32" in name and list(found[:least]) != list(expected[:least]):
            raise ValueError(
                f"{name} decodes {list(found[:least])}, {REFERENCE} decodes {list(expected[:least])}"
            )


def _generating(plan: Plan, workers: Mapping[str, Worker]) -> list[Contender]:
    return [each for each in plan.contenders if each.generates and each.name in workers]


def _measure_round(plan: Plan, workers: Mapping[str, Worker], found: Found, number: int) -> None:
    for batch in BATCHES:
        for contender in _generating(plan, workers):
            ask = {"prompts": "prompts", "batch": batch, "skip": number * batch}
            speeds = found.figures[contender.name].speeds.setdefault(batch, Speeds())
            worker = workers[contender.name]
            speeds.prefill_s.append(worker.ask("generate", new_tokens=1, **ask)["first_s"])
            whole = worker.ask("generate", new_tokens=plan.new_tokens, **ask)
            speeds.total_s.append(whole["total_s"])
            speeds.decode_rate.append(whole["decode_tokens"] / whole["decode_s"])
    found.machine.clock_ghz.append(measure_clock_ghz())
    found.machine.bytes_per_second.append(measure_bandwidth(plan.threads))


def _serve_round(plan: Plan, workers: Mapping[str, Worker], inputs: Inputs, found: Found) -> None:
    for requests, path in inputs.arrivals.items():
        for contender in plan.contenders:
            if contender.serves and contender.name in workers:
                ended = workers[contender.name].ask("serve", arrivals=path)["ended_s"]
                found.figures[contender.name].served_s.setdefault(requests, []).append(max(ended))
