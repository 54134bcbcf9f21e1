"""The figures of the stores as Markdown, for the guide."""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.report import LINE_CHARS, replace_section

__all__ = ["GUIDE_PAGE", "markdown", "replace_section"]

GUIDE_PAGE = Path("app/guide/evaluate.md")
HEADING = "## Beside other indexes and stores"
NONE = "none"

_INTRODUCTION = """`python -m tests.benchmarks stores --write` fills Footnote and its peers with the
texts of the section above and asks all of them the same 300 questions, in one run on 2 cores,
{threads} threads for each. The peers run in environments of their own. A store keeps texts, a
metadata field and vectors; the first three rows of each table are of vectors alone, Footnote's
index with its words. "Filled" counts from the first text until all are on the disk and searched as
in the second table. Each peer runs at the quickest of its settings whose recall@10 is at least .97;
Footnote has none to choose. One question at a time, all stores in turn, and each hit with its text
and metadata."""


def markdown(figures: Mapping[str, Any]) -> str:
    """The guide's section. figures: as `stores.measure` returns them."""
    parts = [HEADING, textwrap.fill(_INTRODUCTION.format(threads=figures["threads"]), LINE_CHARS)]
    for size, found in figures["sizes"].items():
        parts += ["\n".join(_filling(int(size), found["stores"])), "\n".join(_searching(found["stores"]))]
    return "\n\n".join([*parts, textwrap.fill(_notes(figures), LINE_CHARS)]) + "\n"


def _filling(size: int, stores: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"| {size:,} texts | filled, s | texts a second | disk, MB "
        "| memory filled / searched, MB | opened, with a search, ms |"
    )
    yield "|---|---|---|---|---|---|"
    for name, each in stores.items():
        memory = f"{each['filling_peak_mb']:,} / {each['serving_peak_mb']:,}"
        yield (
            f"| {name} | {each['filled_s']:.1f} | {each['documents_per_second']:,} | {each['disk_mb']:,.0f} "
            f"| {memory} | {each['opening_ms']:,.0f} |"
        )


def _searching(stores: Mapping[str, Any]) -> Iterator[str]:
    yield "| | queries a second | recall@10 | p50 / p99, ms | 1 % filter: recall@10, p50 | hybrid, p50, ms |"
    yield "|---|---|---|---|---|---|"
    for name, each in stores.items():
        dense, searches = each["searches"]["dense"], each["searches"]
        yield (
            f"| {name} | {dense['queries_per_second']:,} | {_share(dense)} "
            f"| {dense['p50_ms']} / {dense['p99_ms']} | {_filtered(searches)} | {_hybrid(searches)} |"
        )


def _share(search: Mapping[str, Any]) -> str:
    return f"{search['recall@10']:.3f}".removeprefix("0")


def _filtered(searches: Mapping[str, Any]) -> str:
    if "filtered" not in searches:
        return NONE
    return f"{_share(searches['filtered'])}, {searches['filtered']['p50_ms']}"


def _hybrid(searches: Mapping[str, Any]) -> str:
    return str(searches["hybrid"]["p50_ms"]) if "hybrid" in searches else NONE


def _notes(figures: Mapping[str, Any]) -> str:
    settings = "; ".join(
        f"{int(size):,}: {_settings(found['stores'])}" for size, found in figures["sizes"].items()
    )
    missing = {name: why for found in figures["sizes"].values() for name, why in found["unavailable"].items()}
    absent = f" Not measured, since they could not be run here: {', '.join(missing)}." if missing else ""
    versions = ", ".join(figures["versions"])
    return f"Settings of the dense search at {settings}. Versions: {versions}.{absent}"


def _settings(stores: Mapping[str, Any]) -> str:
    efforts = {name: each["searches"]["dense"]["effort"] for name, each in stores.items()}
    return ", ".join(
        " ".join([name, *(f"{key}={value}" for key, value in effort.items())])
        for name, effort in efforts.items()
        if effort
    )
