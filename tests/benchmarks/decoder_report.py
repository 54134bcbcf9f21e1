"""The summary of the decoder benchmark as a section of the guide."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.report import replace_section

__all__ = ["GUIDE_PAGE", "HEADING", "markdown", "replace_section"]

GUIDE_PAGE = Path("app/guide/decoder.md")
HEADING = "## Measured"

_SECTION = """{heading}

    make bench-decoder

A decoder of Qwen3's shape with {parameters} million parameters and random weights, on
{machine}: prompts of {prompt_tokens} tokens, {new_tokens} new ones, greedy.
Footnote's engine, transformers' `generate` and onnxruntime-genai each run in a process of their own with all
cores; all stay loaded and take turns, and the figures are {rounds}. A share is of
what the machine could do at that precision: {gb} GB/s of memory for decoding, {clock} GHz of
8-bit, 16-bit or 32-bit products for prefill, all measured in the same run.

| decoder | batch | prefill, tokens/s | share | decode, tokens/s | share | first tokens after, ms | peak, MB |
|---|---|---|---|---|---|---|---|
{speeds}

At batch 8 the decode figure is of all eight together, and the time until each has its first token.

| requests that arrive every {every_ms} ms, new tokens/s | {served_counts} |
|---|{served_rule}|
{served}

Prompts have 128 to 512 tokens and answers 16 to 96. genai decodes one request after the other, or what waits
as one static batch; it has no continuous batching on processors. The 16 have longer prompts than the 8 (5.5
tokens for each new one, against 4), so fewer new tokens a second come out for all.

| Footnote alone | {gain_names} |
|---|{gain_rule}|
{gains}

Guesses were measured on questions of SQuAD with three passages. Random weights copy nothing, so what is
written is imposed: "copied" is a stretch of a passage, which no constraint forces on the engine, "grounded"
whatever the random weights like best among all stretches of the passages. Both are more copying than most
models do. Random weights also spell words in pieces
that stand nowhere in the prompt, and end a span after any word, which no guess foresees; a trained model does
neither. Repeated passages stand before different questions.

| the bundled decoder | |
|---|---|
{bundled}

It answers one question at a time: a batch of eight takes eight times as long.

| aim | wanted | reached |
|---|---|---|
{aims}
{notes}"""


def markdown(summary: Mapping[str, Any]) -> str:
    """The guide's section. summary: as `decoder_speed.measure` returns it."""
    decoders, gains = summary["decoders"], summary["gains"]
    counts = sorted({count for each in decoders.values() for count in each["served"]}, key=int)
    return (
        _SECTION.format(
            heading=HEADING,
            parameters=summary["parameters_millions"],
            machine=summary["machine_name"],
            prompt_tokens=summary["prompt_tokens"],
            new_tokens=summary["new_tokens"],
            rounds=_rounds(summary["rounds"]),
            gb=summary["machine"]["gb_per_second"],
            clock=summary["machine"]["clock_ghz"],
            every_ms=summary["every_ms"],
            speeds=_rows(_speeds(decoders)),
            served_counts=" | ".join(f"{count} of them" for count in counts),
            served_rule="|".join("---" for _ in counts),
            served=_rows(_served(decoders, counts)),
            gain_names=" | ".join(name.removeprefix("Footnote ") for name in gains),
            gain_rule="|".join("---" for _ in gains),
            gains=_rows(_gains(gains)),
            bundled=_rows(_bundled(summary["bundled"])),
            aims=_rows(_aims(summary["aims"])),
            notes=_notes(summary),
        ).rstrip()
        + "\n"
    )


def _rounds(count: int) -> str:
    return "of one round" if count == 1 else f"medians of {count} rounds"


def _rows(rows: Iterable[Sequence[object]]) -> str:
    return "\n".join(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows)


def _speeds(decoders: Mapping[str, Any]) -> Iterable[list[object]]:
    for name, each in decoders.items():
        for batch, speeds in each["batches"].items():
            prefill = [f"{speeds['prefill']:,}", f"{speeds['prefill_share']:.0%}"]
            decode = [f"{speeds['decode']:,}", f"{speeds['decode_share']:.0%}"]
            yield [name, batch, *prefill, *decode, f"{speeds['first_ms']:,.0f}", f"{each['peak_mb']:,}"]


def _served(decoders: Mapping[str, Any], counts: Sequence[str]) -> Iterable[list[object]]:
    for name, each in decoders.items():
        if each["served"]:
            yield [name, *(each["served"][count] for count in counts)]


def _gains(gains: Mapping[str, Any]) -> Iterable[list[object]]:
    for kind, words in (("copying", "copied answers"), ("grounded", "grounded answers")):
        found = [each["lookup"][kind] for each in gains.values()]
        plain = f"{words}, tokens/s without guesses"
        if kind == "grounded":
            yield [f"{words}, tokens/s one token a pass", *(round(each["one_by_one"]) for each in found)]
            plain = f"{words}, forced tokens read together"
        yield [plain, *(round(each["without"]) for each in found)]
        yield [
            f"{words}, with guesses",
            *(f"{each['with']:.0f} ({each['gain']:.2f} times)" for each in found),
        ]
        yield ["read ahead and right", *(_share(each["accepted"]) for each in found)]
    prefixes = [each["prefix"] for each in gains.values()]
    yield ["first token, new passages, ms", *(f"{1000 * each['cold_s']:.0f}" for each in prefixes)]
    yield ["first token, repeated passages, ms", *(f"{1000 * each['warm_s']:.0f}" for each in prefixes)]
    repeats = [each["repeat"] for each in gains.values()]
    growth = [each["ended_mb"] - each["settled_mb"] for each in repeats]
    yield ["growth over many short requests, MB", *(f"{each:+.1f}" for each in growth)]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _bundled(found: Mapping[str, float]) -> Iterable[list[object]]:
    yield ["prompt, tokens", round(found["prompt_tokens"])]
    yield ["prefill, tokens/s", f"{found['prompt_tokens'] / found['first_s']:,.0f}"]
    yield ["first token after, ms", f"{1000 * found['first_s']:.1f}"]
    yield ["decode, tokens/s", f"{found['decode_rate']:.0f}"]
    yield ["peak, MB", round(found["peak_mb"])]


def _aims(found: Mapping[str, Any]) -> Iterable[list[object]]:
    for name, each in found.items():
        missed = "" if each["passed"] else " (missed)"
        yield [name, each["aim"], f"{each['reached']}{missed}"]


def _notes(summary: Mapping[str, Any]) -> str:
    missing = ", ".join(summary["unavailable"])
    absent = f"\nNot measured, since they could not be run here: {missing}." if missing else ""
    return f"{absent}\nVersions: {'; '.join(summary['versions'])}."
