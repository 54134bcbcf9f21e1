"""From times of decoders to the figures that are shown."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from tests.benchmarks.decoder import REFERENCE, Figures, Found, Machine, Plan
from tests.benchmarks.decoder_bound import DecoderShape

# What the engine was built to reach: times the peer's speed.
AIMS = {
    "int8 decode, times transformers fp32": 8.0,
    "int8 prefill, times transformers fp32": 4.0,
    "decode at batch 1, times genai of the same precision": 1.0,
    "8 staggered requests, times genai's best": 2.0,
    "speculation on grounded answers, times one token a pass": 1.5,
}


def summarise(
    found: Found, shape: DecoderShape, plan: Plan, useful_tokens: Mapping[int, int]
) -> dict[str, Any]:
    """useful_tokens: new tokens of all requests together, by their number."""
    decoders = {
        name: _decoder(each, found.machine, shape, plan, useful_tokens)
        for name, each in found.figures.items()
    }
    return {
        "decoders": decoders,
        "machine": {
            "clock_ghz": round(max(found.machine.clock_ghz), 2),
            "gb_per_second": round(max(found.machine.bytes_per_second) / 1e9, 1),
        },
        "gains": found.gains,
        "aims": aims(found, useful_tokens),
        "unavailable": found.unavailable,
    }


def _decoder(
    each: Figures, machine: Machine, shape: DecoderShape, plan: Plan, useful_tokens: Mapping[int, int]
) -> dict[str, Any]:
    """Shares are of the bound at the decoder's own precision, at the best clock and bandwidth seen."""
    batches = {}
    prefill_bound = shape.prefill_bound(
        plan.prompt_tokens, each.precision, plan.threads, max(machine.clock_ghz)
    )
    context = plan.prompt_tokens + plan.new_tokens // 2
    for batch, speeds in each.speeds.items():
        decode_bound = shape.decode_bound(batch, context, each.precision, max(machine.bytes_per_second))
        prefill = batch * plan.prompt_tokens / median(speeds.prefill_s)
        decode = median(speeds.decode_rate)
        batches[str(batch)] = {
            "prefill": round(prefill),
            "decode": round(decode),
            "first_ms": round(1000 * median(speeds.prefill_s), 1),
            "total_s": round(median(speeds.total_s), 3),
            "prefill_share": round(prefill / prefill_bound, 3),
            "decode_share": round(decode / decode_bound, 3),
        }
    served = {
        str(requests): round(useful_tokens[requests] / median(seconds))
        for requests, seconds in each.served_s.items()
    }
    return {
        "precision": each.precision,
        "batches": batches,
        "served": served,
        "peak_mb": round(each.peak_mb),
        "load_s": round(each.load_s, 2),
    }


def aims(found: Found, useful_tokens: Mapping[int, int]) -> dict[str, dict[str, Any]]:
    """What each aim came to, ratios within a round; those whose decoders could not be run are left out."""
    reached: dict[str, float] = {}
    figures = found.figures
    ours, reference = figures.get("Footnote int8"), figures.get(REFERENCE)
    names = list(AIMS)
    if ours and reference:
        reached[names[0]] = _ratio(ours.speeds[1].decode_rate, reference.speeds[1].decode_rate)
        reached[names[1]] = _ratio(reference.speeds[1].prefill_s, ours.speeds[1].prefill_s)
    for precision, value in _levels(figures).items():
        reached[f"{names[2]}: {precision}"] = value
    for precision, value in _staggered(figures, min(useful_tokens, default=0)).items():
        reached[f"{names[3]}: {precision}"] = value
    if "Footnote int8" in found.gains:
        lookup = found.gains["Footnote int8"]["lookup"]
        reached[names[4]] = min(each["gain"] for each in lookup.values())
    wanted = {name: AIMS[name.partition(":")[0]] for name in reached}
    return {
        name: {"aim": wanted[name], "reached": round(value, 2), "passed": round(value, 2) >= wanted[name]}
        for name, value in reached.items()
    }


def _ratio(above: Sequence[float], below: Sequence[float]) -> float:
    return median(a / b for a, b in zip(above, below, strict=True))


def _levels(figures: Mapping[str, Figures]) -> dict[str, float]:
    """Decode at batch 1 against genai, for each precision that both have."""
    return {
        each.precision: _ratio(
            each.speeds[1].decode_rate, figures[f"genai {each.precision}"].speeds[1].decode_rate
        )
        for name, each in figures.items()
        if name.startswith("Footnote") and f"genai {each.precision}" in figures and each.speeds
    }


def _staggered(figures: Mapping[str, Figures], requests: int) -> dict[str, float]:
    """Aggregate against genai's better way, for each precision that both have."""
    found = {}
    for name, each in figures.items():
        ways = [f"genai {each.precision} {way}" for way in ("one-by-one", "static")]
        theirs = [figures[way].served_s[requests] for way in ways if way in figures]
        if name.startswith("Footnote") and requests in each.served_s and theirs:
            found[each.precision] = min(_ratio(seconds, each.served_s[requests]) for seconds in theirs)
    return found
