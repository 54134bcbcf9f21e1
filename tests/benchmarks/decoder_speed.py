"""`python -m tests.benchmarks decoder`: measure decoders, and write the figures as JSON and Markdown."""

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from embeddings.artifact import TOKENIZER
from generation.causal.chat_template import ChatTemplate
from tests.benchmarks.decoder import CONTENDERS, SERVED, Inputs, Plan, measure_decoders
from tests.benchmarks.decoder_bound import DecoderShape
from tests.benchmarks.decoder_figures import summarise
from tests.benchmarks.decoder_folders import source_folder
from tests.benchmarks.decoder_gains import measure_bundled, measure_gains
from tests.benchmarks.decoder_prompts import (
    exact_prompts,
    prefix_groups,
    rag_records,
    read_questions,
    staggered,
    write_json,
)
from tests.benchmarks.decoder_report import GUIDE_PAGE, markdown, replace_section
from tests.benchmarks.encoder_speed import machine
from tests.benchmarks.environments import PEERS, WORKPLACE
from tests.benchmarks.texts import NoData, data_folder

NAMED_PACKAGES = ("torch", "transformers", "onnxruntime", "onnxruntime-genai")
QUICK = Plan(rounds=1, serve_rounds=1, new_tokens=8, records=2, groups=2, requests=60, settled=20)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="small counts: does it all run?")
    parser.add_argument("--rounds", type=int, default=Plan().rounds)
    parser.add_argument("--only", nargs="*", default=[], help="only decoders whose name begins so")
    parser.add_argument("--guide", action="store_true", help="write the section into the guide")


def measure(arguments: Namespace) -> Mapping[str, object]:
    """The summary; also written to .bench/results."""
    try:
        data = data_folder()
    except NoData as error:
        return {"skipped": str(error)}
    plan = _plan(arguments)
    load_before = os.getloadavg()[0]
    if load_before > 1:
        print(f"the load average is {load_before:.1f}: the machine is not quiet", file=sys.stderr)
    source = source_folder()
    inputs, useful_tokens = _write_inputs(source, data, plan)
    bundled = measure_bundled(plan, _bundled_questions(data, plan))
    found = measure_decoders(plan, inputs, measure_gains)
    shape = DecoderShape.read(source)
    summary = {
        "machine_name": machine(),
        "load_average_before": round(load_before, 2),
        "rounds": plan.rounds,
        "prompt_tokens": plan.prompt_tokens,
        "new_tokens": plan.new_tokens,
        "every_ms": round(1000 * plan.every_s),
        "parameters_millions": round((shape.linear_parameters + shape.head_parameters) / 1e6),
        "versions": versions(),
        "bundled": bundled,
        **summarise(found, shape, plan, useful_tokens),
    }
    write(summary, into_guide=arguments.guide)
    return summary


def _plan(arguments: Namespace) -> Plan:
    fewer = min(arguments.rounds, Plan().serve_rounds)
    size = QUICK if arguments.quick else Plan(rounds=arguments.rounds, serve_rounds=fewer)
    wanted = tuple(arguments.only) or ("",)
    chosen = tuple(each for each in CONTENDERS if each.name.startswith(wanted))
    return replace(size, contenders=chosen, threads=os.cpu_count() or 1)


def _write_inputs(source: Path, data: Path, plan: Plan) -> tuple[Inputs, dict[int, int]]:
    """The files that workers read, and the new tokens of each load."""
    folder = WORKPLACE / "texts"
    tokenizer: Tokenizer = Tokenizer.from_file(str(source / TOKENIZER))
    template = ChatTemplate((source / "chat_template.jinja").read_text(encoding="utf-8"))
    prompts = exact_prompts(tokenizer, data, 8 * plan.rounds, plan.prompt_tokens)
    loads = {count: staggered(prompts, count, plan.every_s) for count in SERVED}
    records = rag_records(tokenizer, template, data, plan.records)
    groups = prefix_groups(tokenizer, template, data, plan.groups, questions=4)
    inputs = Inputs(
        prompts=write_json(folder / "decoder_prompts.json", prompts),
        records=write_json(folder / "decoder_records.json", records),
        groups=write_json(folder / "decoder_groups.json", groups),
        arrivals={
            count: write_json(folder / f"decoder_arrivals_{count}.json", load)
            for count, load in loads.items()
        },
    )
    return inputs, {count: sum(each.new_tokens for each in load) for count, load in loads.items()}


def _bundled_questions(data: Path, plan: Plan) -> str:
    """Questions with enough passages for about 512 tokens."""
    rows = list(read_questions(data))
    contexts = list(dict.fromkeys(str(row["context"]) for row in rows))
    asked = [
        {"question": row["question"], "passages": contexts[place : place + 3]}
        for place, row in enumerate(rows[: plan.records])
    ]
    return write_json(WORKPLACE / "texts" / "decoder_bundled.json", asked)


def write(summary: Mapping[str, Any], into_guide: bool) -> None:
    """Write decoder.json and decoder.md; the last one also into the guide when asked."""
    results = WORKPLACE / "results"
    results.mkdir(parents=True, exist_ok=True)
    (results / "decoder.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    section = markdown(summary)
    (results / "decoder.md").write_text(section, encoding="utf-8")
    if into_guide:
        page = replace_section(GUIDE_PAGE.read_text(encoding="utf-8"), section)
        GUIDE_PAGE.write_text(page, encoding="utf-8")
    print(f"written to {results}" + (f" and {GUIDE_PAGE}" if into_guide else ""), file=sys.stderr)


def versions() -> list[str]:
    """Of each peer's environment, the pins that a reader wants to know."""
    found = []
    for name in ("transformers", "genai"):
        pins = (PEERS / f"{name}.txt").read_text(encoding="utf-8").split()
        named = [pin.replace("==", " ") for pin in pins if pin.partition("==")[0] in NAMED_PACKAGES]
        found.append(", ".join(named))
    return found
