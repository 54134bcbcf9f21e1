"""What Footnote's decoder engine gains by what the others lack, and the bundled decoder by itself."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any

from generation.artifact import BUNDLED_DECODER
from tests.benchmarks.decoder import Inputs, Plan
from tests.benchmarks.environments import PEERS, WORKPLACE
from tests.benchmarks.workers import Worker

LOOKUP_ROUNDS = 3
CONSTRAINTS = ("copying", "grounded")
ONE_BY_ONE = "grounded, one token a pass"  # as decoder_one_by_one.py calls it, which this side cannot import


def measure_gains(worker: Worker, plan: Plan, inputs: Inputs) -> dict[str, Any]:
    """Guesses from the prompt, on and off in turn; the store of prefixes; memory over many requests."""
    return {
        "lookup": {name: _lookup(worker, inputs, name) for name in CONSTRAINTS},
        "prefix": worker.ask("measure", name="reuse", prompts=inputs.groups),
        "repeat": worker.ask("measure", name="repeat", requests=plan.requests, settled=plan.settled),
    }


def _lookup(worker: Worker, inputs: Inputs, constraint: str) -> dict[str, Any]:
    """Tokens a second with and without guesses, and the share of guessed tokens that were right.

    one_by_one: without reading together what a constraint forces, either; None where nothing is forced. gain:
    over one token a pass.
    """
    rates: dict[str, list[float]] = {"with": [], "without": [], "one_by_one": []}
    drafted = accepted = 0
    for _ in range(LOOKUP_ROUNDS):
        for way, found in rates.items():
            if way == "one_by_one" and constraint != "grounded":
                continue
            kind = ONE_BY_ONE if way == "one_by_one" else constraint
            answer = worker.ask(
                "measure", name="answer", records=inputs.records, constraint=kind, lookup=way == "with"
            )
            found.append(answer["tokens"] / answer["seconds"])
            if way == "with":
                drafted, accepted = drafted + answer["drafted"], accepted + answer["accepted"]
    slowest = rates["one_by_one"] or rates["without"]
    return {
        **{way: median(found) if found else None for way, found in rates.items()},
        "gain": median(a / b for a, b in zip(rates["with"], slowest, strict=True)),
        "accepted": accepted / drafted if drafted else None,
    }


def measure_bundled(plan: Plan, questions: str, rounds: int = 3) -> dict[str, Any]:
    """Of the bundled decoder: tokens of a prompt and seconds, medians over questions and rounds."""
    print("bundled decoder", file=sys.stderr)
    log = WORKPLACE / "logs" / "decoder_bundled.log"
    command = [sys.executable, str(PEERS / "decoder_worker.py"), "footnote_bundled"]
    first_s: list[float] = []
    decode_s: list[float] = []
    with ExitStack() as stack:
        worker = stack.enter_context(Worker(command, log, plan.threads))
        worker.ask("load", model=str(BUNDLED_DECODER.resolve()), variant="", threads=plan.threads)
        tokens: Sequence[int] = []
        for _ in range(rounds):
            # Its answers are at most 60 tokens long, marker and end among them.
            found = worker.ask("measure", name="read", questions=questions, new_tokens=56)
            first_s, decode_s = first_s + found["first_s"], decode_s + found["decode_s"]
            tokens = found["prompt_tokens"]
        peak_mb = worker.ask("memory")["peak_mb"]
    return {
        "prompt_tokens": median(tokens),
        "first_s": median(first_s),
        "decode_rate": 55 / median(decode_s),
        "peak_mb": peak_mb,
    }
