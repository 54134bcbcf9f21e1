import dataclasses
import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize

from embeddings.artifact import GOLDEN, TOKENIZER, WEIGHTS, describe_file, load_manifest, write_manifest
from embeddings.encoder import Encoder
from embeddings.errors import Conflict, InvalidInput, ModelDamaged, NotFound
from tests.training.encoder_fixtures import PARITY, TEXTS, WIDTH, write_encoder
from training.encoder_calibration import calibration_feeds, calibration_texts
from training.encoder_conversion import Conversion, Watcher, convert_encoder
from training.encoder_export import WEIGHTS_DATA, export_fp32
from training.encoder_folder import appearing_whole
from training.encoder_origin import Provenance
from training.encoder_parity import ParityBounds
from training.encoder_source import EncoderSource, read_source
from training.minilm import minilm_directory
from training.parity_texts import BUILT_IN
from training.static_quantisation import quantise_static

PROVENANCE = Provenance(name="tiny", source="a test", licence="Apache-2.0")
FILES = {"README.md", "golden.json", "manifest.json", "model.onnx", "tokenizer.json"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> EncoderSource:
    folder = write_encoder("bert", tmp_path_factory.mktemp("bert"), tail=[Normalize()])
    return read_source(folder, {"query": "find ", "sts": "same: "}, (16,))


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents in BEIR form of which every question has one that answers it."""
    folder = tmp_path_factory.mktemp("data") / "facts"
    (folder / "qrels").mkdir(parents=True)
    passages, queries = BUILT_IN[0].passages, BUILT_IN[0].queries
    rows = [json.dumps({"_id": f"d{i}", "title": "", "text": text}) for i, text in enumerate(passages)]
    (folder / "corpus.jsonl").write_text("\n".join(rows))
    rows = [json.dumps({"_id": f"q{i}", "text": text}) for i, text in enumerate(queries)]
    (folder / "queries.jsonl").write_text("\n".join(rows))
    judgements = "".join(f"q{i}\td{i}\t1\n" for i in range(len(queries)))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judgements)
    return folder


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return []


@pytest.fixture(scope="module")
def converted(
    source: EncoderSource, judge: Path, lines: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    output = tmp_path_factory.mktemp("converted") / "new" / "int8"
    # Whether a random model ranks as well in int8 is chance.
    bounds = ParityBounds(ndcg_drop=1)
    conversion = Conversion(output, PROVENANCE, PARITY, judges=(judge,), bounds=bounds)
    convert_encoder(source, conversion, Watcher(announce=lines.append))
    return output


@pytest.fixture(scope="module")
def exact(source: EncoderSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("exact") / "fp32"
    convert_encoder(source, Conversion(output, PROVENANCE, PARITY, precision="fp32"))
    return output


def test_artifact_holds_its_files_and_nothing_stays_beside_it(converted: Path, exact: Path) -> None:
    for folder in (converted, exact):
        assert {path.name for path in folder.iterdir()} == FILES
        assert [path.name for path in folder.parent.iterdir()] == [folder.name]
        assert set(load_manifest(folder).files) == FILES - {"README.md", "manifest.json"}


def test_manifest_tells_the_spec_the_origin_and_the_figures(converted: Path) -> None:
    manifest = load_manifest(converted)
    assert (manifest.name, manifest.source, manifest.precision) == ("tiny", "a test", "int8")
    assert manifest.encoder is not None
    assert (manifest.encoder.dimension, manifest.encoder.pooling) == (WIDTH, "mean")
    assert manifest.encoder.prompts == {"query": "find ", "sts": "same: "}
    assert manifest.encoder.matryoshka_dimensions == (16,)
    assert manifest.parity["texts"] == {"en": 16}
    assert manifest.parity["fp32_graph_vs_original"]["en"]["largest_difference"] < 1e-5
    assert manifest.parity["int8_vs_fp32_graph"]["en"]["lowest_cosine"] > 0.96
    assert manifest.parity["int8_single_vs_batched"]["en"]["lowest_cosine"] > 0.999


def test_manifest_tells_what_int8_costs_in_ranking(converted: Path) -> None:
    found = load_manifest(converted).parity["ndcg@10"]["facts"]
    assert (found["split"], found["queries"]) == ("test", 4)
    assert 0 < found["fp32"] <= 1
    assert 0 < found["int8"] <= 1


def test_fp32_conversion_keeps_the_originals_numbers(source: EncoderSource, exact: Path) -> None:
    encoder = Encoder.load(exact)
    assert encoder.manifest.precision == "fp32"
    assert set(encoder.manifest.parity) == {"texts", "fp32_graph_vs_original"}
    expected = source.original.encode(list(TEXTS), prompt="find ")
    np.testing.assert_allclose(encoder.encode(TEXTS, "query"), expected, atol=1e-5)


def test_graph_ends_before_the_normalisation(exact: Path) -> None:
    encoder = Encoder.load(exact)
    rows = encoder.run([text.ids for text in encoder.tokenize(TEXTS[:3])])
    assert np.abs(np.linalg.norm(rows, axis=1) - 1).min() > 0.1


def test_each_step_is_told_with_its_figures(converted: Path, lines: list[str]) -> None:
    steps = [line for line in lines if not line.startswith(" ")]
    assert [step.split()[0] for step in steps] == [
        "exporting",
        "comparing",
        "quantising,",
        "comparing",
        "ranking",
    ]
    assert any("int8_vs_fp32_graph en: lowest cosine 0.9" in line for line in lines)
    assert any(line.startswith("  ndcg@10 fp32 0.") for line in lines)


def test_model_card_shows_the_measured_figures(converted: Path, exact: Path) -> None:
    parity = load_manifest(converted).parity
    card = (converted / "README.md").read_text()
    figures, ranking = parity["int8_vs_fp32_graph"]["en"], parity["ndcg@10"]["facts"]
    assert f"| int8 vs fp32 graph | en | {figures['lowest_cosine']:.4f} |" in card
    assert f"| facts (test) | 4 | {ranking['fp32']:.4f} | {ranking['int8']:.4f} |" in card
    assert "- Prompt `query`: 'find '" in card
    assert "Vectors can be cut to 16 numbers." in card
    assert "not measured" in (exact / "README.md").read_text()


def test_graph_carries_no_paths_of_the_machine_that_made_it(converted: Path) -> None:
    weights = (converted / WEIGHTS).read_bytes()
    assert b".py" not in weights
    assert b"stack_trace" not in weights


def test_tokenizer_of_the_artifact_neither_cuts_nor_pads(converted: Path) -> None:
    tokenizer = json.loads((converted / TOKENIZER).read_text())
    assert tokenizer["truncation"] is None
    assert tokenizer["padding"] is None


def test_strayed_graph_is_refused_and_nothing_is_written(source: EncoderSource, tmp_path: Path) -> None:
    encoder = read_source(write_encoder("bert", tmp_path / "other")).encoder
    torch.nn.init.normal_(encoder.transformer.embeddings.word_embeddings.weight)
    strayed = dataclasses.replace(source, encoder=encoder)
    with pytest.raises(ModelDamaged, match="strays") as refusal:
        convert_encoder(strayed, Conversion(tmp_path / "new" / "output", PROVENANCE, PARITY))
    assert refusal.value.found is not None
    assert "fp32_graph_vs_original en largest_difference" in refusal.value.found
    assert list((tmp_path / "new").iterdir()) == []


def test_int8_below_the_callers_bounds_is_refused_and_nothing_is_written(
    source: EncoderSource, tmp_path: Path
) -> None:
    conversion = Conversion(
        tmp_path / "output", PROVENANCE, PARITY, bounds=ParityBounds(lowest_cosine=0.999999)
    )
    with pytest.raises(ModelDamaged, match="strays"):
        convert_encoder(source, conversion)
    assert list(tmp_path.iterdir()) == []


def test_interrupted_conversion_leaves_nothing_behind(source: EncoderSource, tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        if line.startswith("comparing"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_encoder(
            source, Conversion(tmp_path / "output", PROVENANCE, PARITY), Watcher(announce=interrupt)
        )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def occupied(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.txt").write_text("ten years of work")
    return tmp_path / "model"


def test_folder_with_files_is_refused_at_once(source: EncoderSource, occupied: Path) -> None:
    with pytest.raises(Conflict, match="a folder with files"):
        convert_encoder(source, Conversion(occupied, PROVENANCE, PARITY))
    assert (occupied / "thesis.txt").read_text() == "ten years of work"


def test_file_in_the_place_of_the_output_is_refused(source: EncoderSource, occupied: Path) -> None:
    with pytest.raises(Conflict, match="a file"):
        convert_encoder(source, Conversion(occupied / "thesis.txt", PROVENANCE, PARITY, overwrite=True))


def test_replaced_folder_goes_only_when_the_new_one_is_whole(occupied: Path) -> None:
    with pytest.raises(ZeroDivisionError), appearing_whole(occupied) as staging:
        (staging / "new.txt").write_text(f"half of {1 / 0}")
    assert [path.name for path in occupied.iterdir()] == ["thesis.txt"]
    with appearing_whole(occupied) as staging:
        (staging / "new.txt").write_text("whole")
    assert [path.name for path in occupied.iterdir()] == ["new.txt"]
    assert [path.name for path in occupied.parent.iterdir()] == ["model"]


def test_missing_data_to_judge_on_is_told_before_any_work(source: EncoderSource, tmp_path: Path) -> None:
    told: list[str] = []
    conversion = Conversion(tmp_path / "output", PROVENANCE, PARITY, judges=(tmp_path / "absent",))
    with pytest.raises(NotFound, match="absent"):
        convert_encoder(source, conversion, Watcher(announce=told.append))
    assert told == []


def test_data_without_judgements_is_told_before_any_work(
    source: EncoderSource, judge: Path, tmp_path: Path
) -> None:
    empty = shutil.copytree(judge, tmp_path / "empty")
    (empty / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n")
    with pytest.raises(InvalidInput, match="no query has a relevant document"):
        convert_encoder(source, Conversion(tmp_path / "output", PROVENANCE, PARITY, judges=(empty,)))


def test_weights_too_large_for_one_message_stand_in_a_file_of_their_own(
    source: EncoderSource, exact: Path, tmp_path: Path
) -> None:
    large = shutil.copytree(exact, tmp_path / "large")
    export_fp32(source.encoder, large / WEIGHTS, inline_bytes=0)
    assert (large / WEIGHTS_DATA).stat().st_size > (large / WEIGHTS).stat().st_size
    assert b".py" not in (large / WEIGHTS).read_bytes()
    # Only the graph's file is in a model's id: it has to know the weights.
    assert describe_file(large / WEIGHTS_DATA).sha256.encode() in (large / WEIGHTS).read_bytes()
    files = {name: describe_file(large / name) for name in (WEIGHTS, WEIGHTS_DATA, TOKENIZER, GOLDEN)}
    write_manifest(large, msgspec.structs.replace(load_manifest(exact), files=files))
    found, expected = (Encoder.load(folder) for folder in (large, exact))
    np.testing.assert_allclose(found.encode(TEXTS, "query"), expected.encode(TEXTS, "query"), atol=1e-6)
    feeds = calibration_feeds(found, TEXTS)
    for folder in (large, exact):
        quantise_static(folder / WEIGHTS, tmp_path / f"{folder.name}.onnx", feeds)
    # The same weights give the same int8 graph, from wherever they were read; it stands in one file.
    one, other = (onnx.load(tmp_path / name).graph for name in ("large.onnx", "fp32.onnx"))
    assert list(one.node) == list(other.node)
    for mine, theirs in zip(one.initializer, other.initializer, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(mine), numpy_helper.to_array(theirs))
    assert not (large / "model.probe.onnx").exists()


def test_calibration_has_short_and_long_texts_of_three_scripts_and_the_callers() -> None:
    texts = calibration_texts(["my own words"] * 2)
    assert "my own words" in texts
    lengths = sorted(map(len, texts))
    assert lengths[0] == 0
    assert lengths[-1] > 1_000
    for word in ("boils", "кипит", "沸腾"):
        assert any(word in text for text in texts)


def test_calibration_takes_a_part_of_many_texts() -> None:
    many = [f"text {number}" for number in range(10_000)]
    assert len(calibration_texts(many)) - len(calibration_texts()) == 48


def test_calibration_batches_hold_every_text_once_padded_on_the_right(exact: Path) -> None:
    encoder = Encoder.load(exact)
    feeds = calibration_feeds(encoder, TEXTS)
    assert sum(len(feed["input_ids"]) for feed in feeds) == len(TEXTS)
    assert sum(feed["attention_mask"].sum() for feed in feeds) == sum(encoder.count_tokens(TEXTS))
    for feed in feeds:
        assert (np.diff(feed["attention_mask"], axis=1) <= 0).all()


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("minilm") / "int8"
    convert_encoder(read_source(minilm_directory()), Conversion(output, PROVENANCE, BUILT_IN))
    return output


def test_minilm_keeps_its_meaning_and_its_size(minilm: Path) -> None:
    manifest = load_manifest(minilm)
    english = manifest.parity["int8_vs_fp32_graph"]["en"]
    assert english["lowest_cosine"] > 0.99
    assert manifest.files[WEIGHTS].size_bytes < 24_000_000
    assert manifest.files[GOLDEN].size_bytes < 100_000


def test_minilm_agrees_with_sentence_transformers(minilm: Path) -> None:
    texts = [text for sample in BUILT_IN for text in sample.passages]
    expected = SentenceTransformer(str(minilm_directory()), device="cpu").encode(texts)
    cosines = np.einsum("nd,nd->n", Encoder.load(minilm).encode(texts, "passage"), expected)
    assert cosines.min() > 0.975
