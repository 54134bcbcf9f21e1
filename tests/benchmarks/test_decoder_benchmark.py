"""Prompts, bounds, figures and report of the decoder benchmark, and its worker."""

import json
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from generation.causal.chat_template import ChatTemplate
from tests.benchmarks.decoder import REFERENCE, Figures, Found, Machine, Plan, Speeds, check_agreement
from tests.benchmarks.decoder_bound import DecoderShape, measure_bandwidth
from tests.benchmarks.decoder_figures import summarise
from tests.benchmarks.decoder_prompts import (
    ANSWER_TOKENS,
    exact_prompts,
    prefix_groups,
    rag_records,
    staggered,
    write_json,
)
from tests.benchmarks.decoder_report import HEADING, markdown
from tests.benchmarks.environments import PEERS
from tests.benchmarks.peers.decoder_contract import Timeline
from tests.benchmarks.workers import Worker, WorkerFailed
from tests.generation.causal.tiny_causal import tiny_tokenizer

SHAPE = DecoderShape(layers=2, hidden=8, heads=2, kv_heads=1, head_size=4, inner=16, vocabulary=100)

FAKE = """
from decoder_contract import Timeline
class Decoder:
    def __init__(self, model, variant, threads):
        self._offset = len(variant)
    def generate(self, prompts, new_tokens):
        timeline = Timeline.begin(len(prompts))
        for _ in range(new_tokens):
            timeline.note()
        timeline.tokens = [[prompt[0] + self._offset] * new_tokens for prompt in prompts]
        return timeline
    def serve(self, arrivals):
        return [each.at_s + each.new_tokens for each in arrivals]
    def twice(self, value):
        return {"value": 2 * value}
"""


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return tiny_tokenizer(300)


def test_bounds_count_every_parameter_once() -> None:
    """By hand: a layer has 8 x (8 + 4 + 4 + 8) of attention and 3 x 8 x 16 of the inner layer."""
    assert SHAPE.linear_parameters == 2 * (192 + 384)
    assert SHAPE.head_parameters == 800
    # 1 core at 1 GHz: 2 x (1152 + 800 / 10) int8 operations and 2 x 4 x 8 x 5 of attention in fp32.
    assert SHAPE.prefill_bound(10, "int8", 1, 1.0) == pytest.approx(1e9 / (2 * 1232 / 256 + 320 / 64))
    # One byte a weight and 2 x 2 x 4 x 4 bytes for each of 10 tokens.
    assert SHAPE.decode_bound(1, 10, "int8", 1e6) == pytest.approx(1e6 / (1952 + 640))
    assert SHAPE.decode_bound(8, 10, "int8", 1e6) == pytest.approx(8e6 / (1952 + 8 * 640))
    assert SHAPE.decode_bound(1, 0, "int4", 1e6) == 2 * SHAPE.decode_bound(1, 0, "int8", 1e6)


def test_bandwidth_is_a_speed_of_memory() -> None:
    assert 1e8 < measure_bandwidth(threads=1, repeats=1) < 1e12


def test_time_line_counts_tokens_while_all_are_decoded() -> None:
    timeline = Timeline(10.0, [[11.0, 12.0, 13.0, 14.0], [12.5, 13.5, 14.5, 15.5]])
    figures = timeline.figures()
    assert (figures["first_s"], figures["total_s"]) == (2.5, 5.5)
    assert (figures["decode_tokens"], figures["decode_s"]) == (3, 1.5)


def test_prompts_have_their_length_and_are_different(tokenizer: Tokenizer, data_dir: Path) -> None:
    prompts = exact_prompts(tokenizer, data_dir, 6, 200)
    assert [len(prompt) for prompt in prompts] == [200] * 6
    assert len({tuple(prompt) for prompt in prompts}) == 6


def test_what_is_copied_stands_in_a_passage_of_the_prompt(tokenizer: Tokenizer, data_dir: Path) -> None:
    for record in rag_records(tokenizer, ChatTemplate(None), data_dir, 3):
        assert ANSWER_TOKENS // 2 <= len(record.answer) <= ANSWER_TOKENS
        inside = tokenizer.decode(record.answer).strip()
        assert any(inside in passage for passage in record.passages)


def test_groups_begin_alike_and_end_with_another_question(tokenizer: Tokenizer, data_dir: Path) -> None:
    for group in prefix_groups(tokenizer, ChatTemplate(None), data_dir, groups=2, questions=3):
        assert len({tuple(prompt[:100]) for prompt in group}) == 1
        assert len({tuple(prompt) for prompt in group}) == 3


def test_load_is_the_same_each_time_and_staggered() -> None:
    prompts = [list(range(512))] * 3
    load = staggered(prompts, 8, 0.1)
    assert load == staggered(prompts, 8, 0.1)
    assert [each.at_s for each in load] == pytest.approx([0.1 * number for number in range(8)])
    assert len({(len(each.prompt), each.new_tokens) for each in load}) > 3


def test_decoder_that_computes_something_else_is_not_timed() -> None:
    check_agreement({REFERENCE: [1, 2, 3, 4, 5], "genai fp32": [1, 2, 3, 4, 9], "genai int4": [7]})
    with pytest.raises(ValueError, match="genai fp32 decodes"):
        check_agreement({REFERENCE: [1, 2, 3, 4], "genai fp32": [1, 2, 9, 4]})


def test_worker_generates_serves_and_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fake_decoder.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    command = [sys.executable, str(PEERS / "decoder_worker.py"), "fake_decoder"]
    with Worker(command, tmp_path / "log", threads=1) as worker:
        worker.ask("load", model=".", variant="ab", threads=1)
        worker.ask("prompts", name="p", path=write_json(tmp_path / "p.json", [[1], [2], [3]]))
        answer = worker.ask("generate", prompts="p", batch=2, new_tokens=3, skip=2)
        assert answer["tokens"] == [[5, 5, 5], [3, 3, 3]]
        assert answer["decode_tokens"] == 4
        load = write_json(tmp_path / "load.json", staggered([[1, 2]], 2, 1.0))
        assert worker.ask("serve", arrivals=load)["ended_s"][0] in {16, 32, 64, 96}
        assert worker.ask("measure", name="twice", value=4) == {"value": 8}
        assert worker.ask("memory")["peak_mb"] > 1
        with pytest.raises(WorkerFailed, match="AttributeError"):
            worker.ask("measure", name="nothing")


def speeds(prefill_s: float, decode: float) -> dict[int, Speeds]:
    return {batch: Speeds([batch * prefill_s] * 3, [1.0] * 3, [batch * decode] * 3) for batch in (1, 8)}


def found() -> Found:
    ours = Figures("int8", speeds(0.1, 320.0), {8: [1.0] * 3, 16: [2.0] * 3}, peak_mb=500)
    gains = {
        "lookup": {
            "copying": {"with": 300.0, "without": 150.0, "gain": 2.0, "accepted": 0.9},
            "grounded": {"with": 200.0, "without": 160.0, "one_by_one": 100.0, "gain": 2.0, "accepted": None},
        },
        "prefix": {"cold_s": 0.1, "warm_s": 0.02, "cached_tokens": 480},
        "repeat": {"settled_mb": 500.0, "ended_mb": 501.0, "seconds": 9.0},
    }
    return Found(
        {
            "Footnote int8": ours,
            REFERENCE: Figures("fp32", speeds(0.5, 32.0)),
            "genai int8": Figures("int8", speeds(0.2, 400.0)),
            "genai int8 one-by-one": Figures("int8", served_s={8: [3.0] * 3, 16: [6.0] * 3}),
            "genai int8 static": Figures("int8", served_s={8: [2.5] * 3, 16: [5.0] * 3}),
        },
        Machine([4.0, 3.0], [7e10]),
        {"Footnote int8": gains},
        {"genai int4": "no wheel"},
    )


def summary() -> dict[str, object]:
    rest = {
        "machine_name": "2 cores",
        "rounds": 3,
        "prompt_tokens": 512,
        "new_tokens": 64,
        "every_ms": 50,
        "parameters_millions": 107,
        "versions": ["torch 2"],
        "bundled": {"prompt_tokens": 500, "first_s": 0.05, "decode_rate": 200.0, "peak_mb": 100.0},
    }
    return {**rest, **summarise(found(), SHAPE, Plan(), {8: 400, 16: 800})}


def test_aims_are_ratios_and_say_which_were_missed() -> None:
    aims = summary()["aims"]
    assert isinstance(aims, dict)
    assert [each["reached"] for each in aims.values()] == [10, 5, 0.8, 2.5, 2.0]
    assert [each["passed"] for each in aims.values()] == [True, True, False, True, True]


def test_section_shows_speeds_loads_gains_aims_and_who_is_missing() -> None:
    section = markdown(summary())
    assert section.startswith(HEADING)
    for part in (
        "| Footnote int8 | 1 | 5,120 |",
        "| Footnote int8 | 8 | 5,120 |",
        "| genai int8 static | 160 | 160 |",
        "| copied answers, with guesses | 300 (2.00 times) |",
        "| grounded answers, tokens/s one token a pass | 100 |",
        "| 8 staggered requests, times genai's best: int8 | 2.0 | 2.5 |",
        "| first token, repeated passages, ms | 20 |",
        "| growth over many short requests, MB | +1.0 |",
        "0.8 (missed)",
        "could not be run here: genai int4",
    ):
        assert part in section
    assert max(len(line) for line in section.splitlines() if not line.startswith("|")) <= 118


def test_written_inputs_are_plain_json(tmp_path: Path) -> None:
    path = write_json(tmp_path / "deep" / "load.json", staggered([[1, 2]], 1, 0.5))
    (arrival,) = json.loads(Path(path).read_text())
    assert arrival["prompt"] == [1, 2]
