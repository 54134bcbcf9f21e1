"""`python -m tests.benchmarks encoder`: measure, and write the figures as JSON, Markdown and SVG."""

import json
import os
import platform
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.encoder import Plan, chosen_contenders, measure_in_process
from tests.benchmarks.encoder_http import measure_over_http
from tests.benchmarks.environments import PEERS, WORKPLACE
from tests.benchmarks.figures import summarise, summarise_http
from tests.benchmarks.report import GUIDE_PAGE, GUIDE_PLOT, markdown, plot, replace_section
from tests.benchmarks.texts import NoData, Sizes, TextSet, data_folder, read_sets

QUICK = Plan(
    rounds=2, singles=40, sizes=Sizes(64, 64, 64, 32, 16), http_rounds=1, http_seconds=1.0, batch_sizes=(32,)
)
NAMED_PACKAGES = ("sentence-transformers", "torch", "fastembed", "infinity_emb", "optimum", "onnxruntime")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="small counts: does it all run?")
    parser.add_argument("--rounds", type=int, default=Plan().rounds)
    parser.add_argument("--peers", nargs="*", default=[], help="only peers whose name begins so")
    parser.add_argument("--guide", action="store_true", help="write the section and the plot into the guide")


def measure(arguments: Namespace) -> Mapping[str, object]:
    """The summary; also written to .bench/results."""
    try:
        folder = data_folder()
    except NoData as error:
        return {"skipped": str(error)}
    size = QUICK if arguments.quick else Plan(rounds=arguments.rounds)
    plan = replace(size, contenders=chosen_contenders(arguments.peers))
    load_before = os.getloadavg()[0]
    if load_before > 1:
        print(f"the load average is {load_before:.1f}: the machine is not quiet", file=sys.stderr)
    sets = read_sets(folder, plan.sizes)
    summary = {
        "machine": machine(),
        "cores": plan.threads,
        "load_average_before": round(load_before, 2),
        "rounds": plan.rounds,
        "sets": describe_sets(sets),
        "versions": versions(),
        **summarise(measure_in_process(plan, sets), sets, plan.threads),
        "http": summarise_http(measure_over_http(plan, sets)),
    }
    write(summary, into_guide=arguments.guide)
    return summary


def write(summary: Mapping[str, object], into_guide: bool) -> None:
    """Write encoder.json, encoder.md and encoder-speed.svg; the last two also into the guide when asked."""
    results = WORKPLACE / "results"
    results.mkdir(parents=True, exist_ok=True)
    (results / "encoder.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    section, chart = markdown(summary), plot(summary)
    (results / "encoder.md").write_text(section, encoding="utf-8")
    (results / GUIDE_PLOT.name).write_text(chart, encoding="utf-8")
    if into_guide:
        page = replace_section(GUIDE_PAGE.read_text(encoding="utf-8"), section)
        GUIDE_PAGE.write_text(page, encoding="utf-8")
        GUIDE_PLOT.write_text(chart, encoding="utf-8")
    print(f"written to {results}" + (f" and {GUIDE_PAGE}" if into_guide else ""), file=sys.stderr)


def machine() -> str:
    """Cores and processor, in words."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    flags = next((line for line in lines if line.startswith("flags")), "")
    kinds = [kind for kind in ("avx512_vnni", "avx512_bf16") if kind in flags]
    return f"{os.cpu_count()} cores {name or platform.machine()} ({', '.join(kinds) or 'no VNNI'})"


def describe_sets(sets: Mapping[str, TextSet]) -> str:
    """How many texts of each set and how long, in words."""
    words = {
        "abstracts": "abstracts of SciFact",
        "queries": "of its claims",
        "mix": "pieces of 5 to 500 tokens",
    }
    return ", ".join(
        f"{len(sets[name].texts):,} {what} ({sets[name].tokens / len(sets[name].texts):.0f} tokens each)"
        for name, what in words.items()
    )


def versions() -> list[str]:
    """Of each peer's environment, the pins that a reader wants to know."""
    found = []
    for path in sorted(PEERS.glob("*.txt")):
        pins = path.read_text(encoding="utf-8").split()
        named = [pin.replace("==", " ") for pin in pins if pin.partition("==")[0] in NAMED_PACKAGES]
        found.append(", ".join(named))
    return found
