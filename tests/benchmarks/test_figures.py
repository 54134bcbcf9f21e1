"""Texts, figures, table and plot of the encoder benchmark."""

from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from tests.benchmarks.bound import Bound
from tests.benchmarks.encoder import REFERENCE, Figures, Graph, InProcess, compare
from tests.benchmarks.encoder_http import Load, OverHttp
from tests.benchmarks.environments import PEERS
from tests.benchmarks.figures import ratio, summarise, summarise_http
from tests.benchmarks.http_load import Outcome
from tests.benchmarks.quantiles import percentile
from tests.benchmarks.report import HEADING, markdown, plot, replace_section
from tests.benchmarks.texts import LONGEST, SHORTEST, TextSet, cut, draw_lengths

SETS = {name: TextSet(name, ("a", "b"), 200) for name in ("abstracts", "queries", "mix", "tokens_128")}


def summary() -> dict[str, object]:
    ours = Figures({name: [1.0, 2.0, 1.0] for name in SETS}, [0.001] * 100, 0.99, peak_mb=150)
    theirs = Figures({name: [3.0, 8.0, 2.0] for name in SETS}, [0.004] * 100)
    found = InProcess({"Footnote": ours, REFERENCE: theirs}, Graph([40_000.0], [4.0]), {"other": "no wheel"})
    load = Load()
    load.add(Outcome([0.002, 0.004], {200: 2}, 1.0))  # type: ignore[arg-type]
    over_http = OverHttp({"Footnote": {1: load}}, {"Footnote": 200.0})
    rest = {"machine": "2 cores", "cores": 2, "rounds": 3, "sets": "two texts", "versions": ["torch 2"]}
    return {**rest, **summarise(found, SETS, 2), "http": summarise_http(over_http)}


def test_lengths_of_the_mix_are_seeded_and_within_its_bounds() -> None:
    lengths = draw_lengths(1_000, seed=1)
    assert lengths == draw_lengths(1_000, seed=1)
    assert min(lengths) == SHORTEST
    assert max(lengths) == LONGEST


def test_cut_pieces_begin_at_words_and_have_their_tokens() -> None:
    words = [f"w{number}" for number in range(400)]
    stream, spans, at = " ".join(words), [], 0
    for word in words:
        spans += [(at, at + 1), (at + 1, at + len(word))]  # two tokens each
        at += len(word) + 1
    pieces = cut(stream, spans, [6, 22, 42], seed=3)
    assert [len(piece.split()) for piece in pieces] == [2, 10, 20]
    assert all(set(piece.split()) <= set(words) for piece in pieces)


def test_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile([7.0], 0.99) == 7
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_ratio_is_the_median_of_the_rounds() -> None:
    assert ratio([3.0, 8.0, 2.0], [1.0, 2.0, 1.0]) == 3


def test_bound_of_two_cores_at_4_ghz() -> None:
    assert Bound(2, 4.0, 128).tokens_per_second == pytest.approx(78_914, abs=1)


def test_encoder_that_computes_something_else_is_not_timed() -> None:
    rows = np.eye(2, dtype=np.float32)
    figures = {REFERENCE: Figures(), "good": Figures(), "wrong": Figures()}
    compare({REFERENCE: rows, "good": 3 * rows}, figures)
    assert figures["good"].lowest_cosine == pytest.approx(1)
    with pytest.raises(ValueError, match=r"wrong: found a cosine of 0\.000"):
        compare({REFERENCE: rows, "wrong": rows[::-1]}, figures)


def test_section_shows_speed_latency_bound_and_who_is_missing() -> None:
    section = markdown(summary())
    for part in (
        "| Footnote | 200 | 200 | 200 | 1.00 |",
        f"| {REFERENCE} | 67 | 67 | 67 | 3.00 |",
        "| Footnote | 1.0 | 1.0 | 150 | 0.99 |",
        "| Footnote | 1 | 2.0 | 4.0 | 2 | 200 |",
        "51%",
        "other",
    ):
        assert part in section


def test_plot_is_well_formed_with_a_bar_for_each_encoder_and_set() -> None:
    drawing = ET.fromstring(plot(summary()))  # noqa: S314  our own text
    bars = [each for each in drawing.iter() if each.tag.endswith("rect")][1:]
    assert len(bars) == 2 * 3
    assert float(bars[0].get("width", 0)) > float(bars[1].get("width", 0)) > 0


def test_section_takes_the_place_of_the_old_one() -> None:
    page = "# P\n\n## A\n\na\n\n## Last\n\nz\n"
    once = replace_section(page, f"{HEADING}\n\none\n")
    twice = replace_section(once, f"{HEADING}\n\ntwo\n")
    assert once == f"# P\n\n## A\n\na\n\n{HEADING}\n\none\n\n## Last\n\nz\n"
    assert twice == once.replace("one", "two")


@pytest.mark.parametrize("path", sorted(PEERS.glob("*.txt")), ids=lambda path: path.stem)
def test_peers_are_pinned_and_name_no_host(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").split():
        assert line.count("==") == 1
        assert not set(line) & {"/", ":", "@", "+"}
