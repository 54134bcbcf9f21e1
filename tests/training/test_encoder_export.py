import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from embeddings.artifact import BUNDLED_ENCODER, MANIFEST, load_manifest
from embeddings.encoder import Encoder
from embeddings.errors import ModelDamaged
from training.encoder_export import Provenance, convert_encoder
from training.encoder_parity import BOUNDS, Agreement, agreement, require_parity
from training.encoder_source import read_source
from training.parity_texts import ParityTexts, parity_texts
from training.quantisation import quantise_int8

WORDS = (
    *("red", "green", "blue", "old", "new", "fish", "bird", "tree", "river", "sky"),
    *("swims", "flies", "grows", "over", "under", "the"),
)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
PROVENANCE = Provenance(name="tiny", source="a test", licence="Apache-2.0")


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers folder with a BERT of random weights, two layers of 32."""
    torch.manual_seed(7)
    parts, folder = tmp_path_factory.mktemp("parts"), tmp_path_factory.mktemp("tiny")
    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *WORDS))}
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(parts)
    fast_tokenizer(vocabulary).save_pretrained(parts)
    transformer = Transformer(str(parts), max_seq_length=12)
    SentenceTransformer(modules=[transformer, Pooling(32, "mean"), Normalize()], device="cpu").save(
        str(folder)
    )
    return folder


def fast_tokenizer(vocabulary: dict[str, int]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=12, **names)


def sentences(count: int, seed: int) -> tuple[str, ...]:
    rng = np.random.default_rng(seed)
    return tuple(" ".join(rng.choice(WORDS, size=rng.integers(2, 9))) for _ in range(count))


@pytest.fixture(scope="module")
def texts() -> tuple[ParityTexts, ...]:
    return (ParityTexts("en", sentences(5, seed=1), sentences(20, seed=2)),)


@pytest.fixture(scope="module")
def converted(
    tiny_folder: Path, texts: tuple[ParityTexts, ...], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    output = tmp_path_factory.mktemp("converted")
    convert_encoder(read_source(tiny_folder), output, PROVENANCE, texts)
    return output


def test_converted_encoder_agrees_with_sentence_transformers(tiny_folder: Path, converted: Path) -> None:
    passages = list(sentences(30, seed=3))
    expected = SentenceTransformer(str(tiny_folder), device="cpu").encode(passages)
    found = Encoder.load(converted).encode(passages, "passage")
    assert np.einsum("nd,nd->n", found, expected).min() > 0.98


def test_manifest_tells_the_spec_the_origin_and_the_figures(converted: Path) -> None:
    manifest = load_manifest(converted)
    assert (manifest.name, manifest.source, manifest.precision) == ("tiny", "a test", "int8")
    assert manifest.encoder is not None
    assert (manifest.encoder.dimension, manifest.encoder.max_tokens) == (32, 12)
    assert manifest.encoder.pooling == "mean"
    assert manifest.parity["texts"] == {"en": 25}
    assert manifest.parity["int8_vs_original"]["en"]["lowest_cosine"] > 0.96


def test_model_card_shows_the_measured_figures(converted: Path) -> None:
    figures = load_manifest(converted).parity["int8_vs_original"]["en"]
    card = (converted / "README.md").read_text()
    assert f"| int8 vs original | en | {figures['lowest_cosine']:.4f} |" in card


def test_graph_carries_no_paths_of_the_machine_that_made_it(converted: Path) -> None:
    weights = (converted / "model.onnx").read_bytes()
    assert b".py" not in weights
    assert b"stack_trace" not in weights


def test_tokenizer_of_the_artifact_neither_cuts_nor_pads(converted: Path) -> None:
    tokenizer = json.loads((converted / "tokenizer.json").read_text())
    assert tokenizer["truncation"] is None
    assert tokenizer["padding"] is None


def test_nothing_is_written_when_parity_fails(
    tiny_folder: Path, tmp_path: Path, texts: tuple[ParityTexts, ...]
) -> None:
    source, stranger = read_source(tiny_folder), read_source(tiny_folder)
    torch.nn.init.normal_(stranger.encoder.transformer.embeddings.word_embeddings.weight)
    strayed = dataclasses.replace(source, encoder=stranger.encoder)
    with pytest.raises(ModelDamaged, match="strays"):
        convert_encoder(strayed, tmp_path / "output", PROVENANCE, texts)
    assert not (tmp_path / "output").exists()


def unit_rows(seed: int, rows: int = 30) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(rows, 8)).astype(np.float32)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def test_equal_encodings_agree_fully() -> None:
    vectors = unit_rows(seed=4)
    assert dataclasses.asdict(agreement(vectors, vectors, queries=5)) == pytest.approx(
        {"lowest_cosine": 1, "mean_cosine": 1, "top10_overlap": 1}, abs=1e-5
    )


def test_one_strayed_text_shows_in_the_lowest_cosine() -> None:
    vectors = unit_rows(seed=4)
    strayed = vectors.copy()
    strayed[7] *= -1
    found = agreement(strayed, vectors, queries=5)
    assert found.lowest_cosine == pytest.approx(-1, abs=1e-5)
    assert found.mean_cosine == pytest.approx(1 - 2 / 30, abs=1e-4)
    assert found.top10_overlap < 1


@pytest.mark.parametrize("figure", ["lowest_cosine", "mean_cosine", "top10_overlap"])
def test_gate_names_the_figure_that_is_out_of_bounds(figure: str) -> None:
    good = {name: {"ru": Agreement(1.0, 1.0, 1.0)} for name in BOUNDS}
    require_parity(good)
    values = dataclasses.asdict(good["int8_vs_original"]["ru"])
    bad = good | {"int8_vs_original": {"ru": Agreement(**values | {figure: 0.5})}}
    with pytest.raises(ModelDamaged) as raised:
        require_parity(bad)
    assert raised.value.found is not None
    assert f"int8_vs_original ru {figure} 0.5" in raised.value.found


def test_gate_refuses_figures_that_are_not_numbers() -> None:
    figures = {name: {"en": Agreement(float("nan"), 1.0, 1.0)} for name in BOUNDS}
    with pytest.raises(ModelDamaged):
        require_parity(figures)


def test_folder_without_modules_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelDamaged, match=r"modules\.json"):
        read_source(tmp_path)


def test_unknown_pooling_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "max")
    pooling = {"embedding_dimension": 32, "pooling_mode": "max"}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    with pytest.raises(ModelDamaged, match="'max'"):
        read_source(folder)


def test_quantised_embedding_and_product_stay_near_fp32(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    table = rng.normal(size=(50, 16)).astype(np.float32)
    weight = rng.normal(size=(16, 8)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "ids"], ["rows"]),
            helper.make_node("MatMul", ["rows", "weight"], ["product"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("product", TensorProto.FLOAT, ["n", 8])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "fp32.onnx")
    quantise_int8(tmp_path / "fp32.onnx", tmp_path / "int8.onnx")
    found = run(tmp_path / "int8.onnx", ids=[3, 41, 7])
    assert np.abs(found - table[[3, 41, 7]] @ weight).max() < 0.2
    kinds = {initializer.data_type for initializer in onnx.load(tmp_path / "int8.onnx").graph.initializer}
    assert TensorProto.INT8 in kinds


def run(path: Path, ids: Sequence[int]) -> NDArray[np.float32]:
    import onnxruntime  # noqa: PLC0415

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    product: NDArray[np.float32] = session.run(None, {"ids": np.asarray(ids, dtype=np.int64)})[0]
    return product


def test_built_in_texts_stand_in_for_missing_data(tmp_path: Path) -> None:
    assert [sample.language for sample in parity_texts(tmp_path / "absent")] == ["en", "ru", "zh"]


def test_texts_of_the_data_folder_are_the_same_every_time(data_dir: Path) -> None:
    first, second = parity_texts(data_dir), parity_texts(data_dir)
    assert first == second
    assert [len(sample.queries) for sample in first] == [100, 100, 100]


def test_bundled_manifest_stands_within_todays_bounds() -> None:
    figures = load_manifest(BUNDLED_ENCODER).parity
    require_parity(
        {name: {language: Agreement(**found) for language, found in figures[name].items()} for name in BOUNDS}
    )
    assert (BUNDLED_ENCODER / MANIFEST).is_file()
