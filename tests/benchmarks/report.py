"""The summary of the encoder benchmark as Markdown and as a plot, and their place in the guide."""

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.plot import Bar, Panel, bar_chart

GUIDE_PAGE = Path("app/guide/evaluate.md")
GUIDE_PLOT = Path("app/guide/encoder-speed.svg")
LINE_CHARS = 118
HEADING = "## Speed of the encoder"
PLOTTED = {"abstracts": "SciFact abstracts", "queries": "SciFact claims", "mix": "texts of 5 to 500 tokens"}

_SECTION = """{heading}

    make bench-encoder

Footnote's bundled encoder against other libraries with the same weights, all-MiniLM-L6-v2, on
{machine}. Each peer runs in an environment of its own, with all cores, its fastest batch size of 8,
16 and 32, the same first 256 tokens of each text, and its own way of sorting by length. All stay loaded and
take turns; the figures are medians of {rounds} rounds. Tokens are those that the model sees. The texts are
{sets}.

| tokens a second | abstracts | claims | mix | Footnote is faster on the mix by |
|---|---|---|---|---|
{speeds}

| one query of 16 tokens, in process | p50, ms | p99, ms | process at its peak, MB | lowest cosine to fp32 |
|---|---|---|---|---|
{queries}

![Tokens a second of Footnote and its peers, as in the table]({plot})

With int8 linear layers and fp32 attention, {cores} cores at {clock} GHz could do at most {bound} tokens
a second on 8 texts of 128 tokens. The graph alone does {graph}, {share} of that; with tokeniser and
queue it is {whole}, {whole_share}.

| one query over HTTP | clients | p50, ms | p99, ms | requests a second | server at its peak, MB |
|---|---|---|---|---|---|
{http}

The client runs on the same cores. {notes}
"""


def markdown(summary: Mapping[str, Any], plot: str = GUIDE_PLOT.name) -> str:
    """The guide's section. summary: as `encoder_speed.measure` returns it."""
    encoders, bound = summary["encoders"], summary["bound"]
    section = _SECTION.format(
        heading=HEADING,
        machine=summary["machine"],
        rounds=summary["rounds"],
        sets=summary["sets"],
        speeds=_rows(_speed(name, each) for name, each in encoders.items()),
        queries=_rows(_query(name, each) for name, each in encoders.items()),
        http=_rows(_http(summary["http"])),
        plot=plot,
        cores=summary["cores"],
        clock=bound["clock_ghz"],
        bound=f"{bound['bound_tokens_per_second']:,}",
        graph=f"{bound['graph_tokens_per_second']:,}",
        share=f"{bound['graph_share']:.0%}",
        whole=f"{bound['with_tokeniser_and_queue_tokens_per_second']:,}",
        whole_share=f"{bound['with_tokeniser_and_queue_share']:.0%}",
        notes=_notes(summary),
    )
    return "\n\n".join(_wrap(block) for block in section.rstrip().split("\n\n")) + "\n"


def _wrap(block: str) -> str:
    """Prose in lines of the guide's width; tables, code, headings and images as they are."""
    return textwrap.fill(block, LINE_CHARS) if block[0].isalpha() else block


def _rows(rows: Iterable[Sequence[object]]) -> str:
    return "\n".join(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows)


def _speed(name: str, each: Mapping[str, Any]) -> list[object]:
    speeds = [f"{each[texts]['tokens_per_second']:,}" for texts in PLOTTED]
    return [name, *speeds, f"{each['mix']['footnote_is_faster_by']:.2f}"]


def _query(name: str, each: Mapping[str, Any]) -> list[object]:
    return [name, each["query_ms_p50"], each["query_ms_p99"], each["peak_mb"], each["lowest_cosine"]]


def _http(found: Mapping[str, Any]) -> Iterable[list[object]]:
    for name, loads in found["servers"].items():
        for clients, load in loads.items():
            rate = f"{load['requests_per_second']:,}"
            yield [name, clients, load["p50_ms"], load["p99_ms"], rate, found["peak_mb"][name]]


def _notes(summary: Mapping[str, Any]) -> str:
    missing = {**summary["unavailable"], **summary["http"]["unavailable"]}
    absent = f"Not measured, since they could not be run here: {', '.join(missing)}. " if missing else ""
    return f"{absent}Versions: {'; '.join(summary['versions'])}."


def plot(summary: Mapping[str, Any]) -> str:
    """Tokens a second of every encoder, a panel for each set of texts, as SVG."""
    panels = [
        Panel(
            f"tokens a second, {title}",
            tuple(
                Bar(name, each[texts]["tokens_per_second"], ours=name == "Footnote")
                for name, each in summary["encoders"].items()
            ),
        )
        for texts, title in PLOTTED.items()
    ]
    return bar_chart(panels)


def replace_section(page: str, section: str) -> str:
    """The page with this section in place of the one of the same heading, or before the last one."""
    heading = section.partition("\n")[0]
    found = re.search(rf"^{re.escape(heading)}\n.*?(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    if found is not None:
        return (page[: found.start()] + section.rstrip() + "\n\n" + page[found.end() :]).rstrip() + "\n"
    last = page.rindex("\n## ") + 1
    return page[:last] + section.rstrip() + "\n\n" + page[last:]
