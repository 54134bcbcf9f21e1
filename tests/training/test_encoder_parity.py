import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.artifact import BUNDLED_ENCODER, load_manifest
from embeddings.encoder import Encoder
from embeddings.errors import InvalidInput, ModelDamaged
from training.encoder_judgement import Judgement
from training.encoder_parity import (
    FP32_VS_ORIGINAL,
    Agreement,
    ParityBounds,
    agreement,
    compare_fp32,
    compare_int8,
    require_parity,
)
from training.parity_texts import BUILT_IN, FEWEST_TEXTS, given_texts, parity_texts

INT8 = "int8_vs_fp32_graph"
GOOD = Agreement(1.0, 1.0, 1.0, 0.0)
BOUNDS = ParityBounds()


def unit_rows(seed: int, rows: int = 30) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(rows, 8)).astype(np.float32)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def test_equal_encodings_agree_fully() -> None:
    vectors = unit_rows(seed=4)
    assert dataclasses.asdict(agreement(vectors, vectors, queries=5)) == pytest.approx(
        {"lowest_cosine": 1, "mean_cosine": 1, "top10_overlap": 1, "largest_difference": 0}, abs=1e-5
    )


def test_one_strayed_text_shows_in_the_lowest_cosine_and_the_largest_difference() -> None:
    vectors = unit_rows(seed=4)
    strayed = vectors.copy()
    strayed[7] *= -1
    found = agreement(strayed, vectors, queries=5)
    assert found.lowest_cosine == pytest.approx(-1, abs=1e-5)
    assert found.mean_cosine == pytest.approx(1 - 2 / 30, abs=1e-4)
    assert found.top10_overlap < 1
    assert found.largest_difference == pytest.approx(2 * np.abs(vectors[7]).max(), abs=1e-6)


@pytest.mark.parametrize("figure", ["lowest_cosine", "mean_cosine", "top10_overlap"])
def test_gate_names_the_int8_figure_that_is_out_of_bounds(figure: str) -> None:
    require_parity({INT8: {"ru": GOOD}}, (), BOUNDS)
    with pytest.raises(ModelDamaged) as refusal:
        require_parity({INT8: {"ru": dataclasses.replace(GOOD, **{figure: 0.5})}}, (), BOUNDS)
    assert refusal.value.found == f"{INT8} ru {figure} 0.5 < {getattr(BOUNDS, figure)}"


def test_gate_holds_the_fp32_graph_to_the_original_number_by_number() -> None:
    require_parity({FP32_VS_ORIGINAL: {"en": dataclasses.replace(GOOD, largest_difference=9e-5)}}, (), BOUNDS)
    with pytest.raises(ModelDamaged) as refusal:
        require_parity(
            {FP32_VS_ORIGINAL: {"en": dataclasses.replace(GOOD, largest_difference=2e-4)}}, (), BOUNDS
        )
    assert refusal.value.found == f"{FP32_VS_ORIGINAL} en largest_difference 0.0002 > 0.0001"


def test_gate_refuses_a_loss_of_ranking_quality() -> None:
    require_parity({}, [Judgement("wiki", "test", 10, fp32=0.5, int8=0.496)], BOUNDS)
    require_parity({}, [Judgement("wiki", "test", 10, fp32=0.5)], BOUNDS)
    with pytest.raises(ModelDamaged) as refusal:
        require_parity({}, [Judgement("wiki", "test", 10, fp32=0.5, int8=0.49)], BOUNDS)
    assert refusal.value.found == "wiki nDCG@10 fell by 0.0100 > 0.005"


def test_gate_tells_every_failure_at_once() -> None:
    bad = dataclasses.replace(GOOD, lowest_cosine=0.5, top10_overlap=0.1)
    with pytest.raises(ModelDamaged) as refusal:
        require_parity({INT8: {"en": bad, "zh": bad}}, [Judgement("wiki", "test", 9, 0.5, 0.3)], BOUNDS)
    assert refusal.value.found is not None
    assert len(refusal.value.found.split("; ")) == 5


@pytest.mark.parametrize("comparison", [FP32_VS_ORIGINAL, INT8])
def test_gate_refuses_figures_that_are_not_numbers(comparison: str) -> None:
    nan = float("nan")
    with pytest.raises(ModelDamaged):
        require_parity({comparison: {"en": Agreement(nan, nan, nan, nan)}}, (), BOUNDS)


def test_wider_bounds_let_the_same_figures_pass() -> None:
    weak = {INT8: {"en": dataclasses.replace(GOOD, lowest_cosine=0.8)}}
    require_parity(weak, (), ParityBounds(lowest_cosine=0.75))


class PromptedOriginal:
    """Stands for the original: an encoder of Footnote, asked in sentence-transformers' words."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.prompts: list[str] = []

    def encode(self, inputs: Any, /, *, prompt: str, batch_size: int, show_progress_bar: bool) -> Any:
        self.prompts.append(prompt)
        return 3 * self._encoder.encode([prompt + text for text in inputs], "")  # of any length


def test_an_encoder_agrees_with_itself_batched_alone_and_through_the_original() -> None:
    encoder = Encoder.load(BUNDLED_ENCODER)
    original = PromptedOriginal(encoder)
    sample = BUILT_IN[:1]
    assert compare_fp32(original, encoder, sample)["en"].top10_overlap == 1
    assert original.prompts == ["", ""]
    figures = compare_int8(encoder, encoder, sample)
    assert figures[INT8]["en"].lowest_cosine == pytest.approx(1, abs=1e-5)
    assert figures["int8_single_vs_batched"]["en"].mean_cosine > 0.98


def test_built_in_texts_stand_in_for_missing_data(tmp_path: Path) -> None:
    assert [sample.language for sample in parity_texts(tmp_path / "absent")] == ["en", "ru", "zh"]


def test_texts_of_the_data_folder_are_the_same_every_time(data_dir: Path) -> None:
    first, second = parity_texts(data_dir), parity_texts(data_dir)
    assert first == second
    assert [len(sample.queries) for sample in first] == [100, 100, 100]
    for sample in first:
        assert not set(sample.calibration) & {*sample.queries, *sample.passages}


@pytest.mark.parametrize("suffix", [".txt", ".jsonl"])
def test_given_texts_are_divided_into_queries_passages_and_calibration(tmp_path: Path, suffix: str) -> None:
    texts = [f"Text {number} " + "with words " * number for number in range(50)]
    lines = [f'{{"text": "{text}", "id": 3}}' if suffix == ".jsonl" else text for text in texts]
    path = tmp_path / f"mine{suffix}"
    path.write_text("\n".join([*lines, lines[0], ""]))
    sample = given_texts(path)
    assert sample.language == "mine"
    assert [len(part) for part in (sample.queries, sample.passages, sample.calibration)] == [10, 32, 8]
    assert {*sample.queries, *sample.passages, *sample.calibration} == set(texts)
    assert max(map(len, sample.queries)) < min(map(len, sample.passages))


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("few.txt", "one\n" * 100, "1 different texts"),
        ("broken.jsonl", '{"text": "a"}\nplain\n', "line 2"),
        ("odd.jsonl", '{"text": 3}\n', "line 1"),
        ("list.jsonl", "[1]\n", "line 1"),
        ("latin.txt", b"\xe9t\xe9", "utf-8"),
        ("absent.txt", None, "No such file"),
    ],
)
def test_unfit_texts_are_refused_with_the_place(tmp_path: Path, name: str, content: Any, found: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidInput, match=found):
        given_texts(path)
    assert FEWEST_TEXTS > 1


def test_bundled_manifest_stands_within_todays_bounds() -> None:
    figures = load_manifest(BUNDLED_ENCODER).parity
    for languages in (figures[FP32_VS_ORIGINAL], figures[INT8], figures["int8_single_vs_batched"]):
        for found in languages.values():
            assert found["lowest_cosine"] >= BOUNDS.lowest_cosine
            assert found["mean_cosine"] >= BOUNDS.mean_cosine
            assert found["top10_overlap"] >= BOUNDS.top10_overlap
