from pathlib import Path

import numpy as np
import pytest

from embeddings.artifact import GOLDEN, load_manifest
from embeddings.errors import Conflict, ModelDamaged
from embeddings.reranker import Reranker
from tests.training.encoder_fixtures import PARITY
from tests.training.reranker_fixtures import ARCHITECTURES, write_reranker
from training.encoder_origin import Provenance
from training.reranker_conversion import RerankerConversion, convert_reranker
from training.reranker_parity import PairBounds, original_scores
from training.reranker_source import RerankerSource, read_reranker

PROVENANCE = Provenance(name="tiny", source="a test", licence="Apache-2.0")
QUERY = PARITY[0].queries[0]


def _conversion(output: Path, **changes: object) -> RerankerConversion:
    return RerankerConversion(output, PROVENANCE, PARITY, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> RerankerSource:
    return read_reranker(write_reranker("bert", tmp_path_factory.mktemp("bert")))


@pytest.fixture(scope="module")
def int8(source: RerankerSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("int8") / "model"
    convert_reranker(source, _conversion(output))
    return output


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_architecture_scores_as_its_original_does(architecture: str, tmp_path: Path) -> None:
    source = read_reranker(write_reranker(architecture, tmp_path / "source"))
    convert_reranker(source, _conversion(tmp_path / "fp32", precision="fp32"))
    texts = PARITY[0].passages[:6]
    expected = original_scores(source.original, [(QUERY, text) for text in texts])
    found = Reranker.load(tmp_path / "fp32").score(QUERY, texts, raw=True)
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_an_int8_reranker_is_whole_and_says_how_near_it_is(int8: Path) -> None:
    manifest = load_manifest(int8)
    assert (manifest.kind, manifest.precision) == ("reranker", "int8")
    assert manifest.reranker is not None
    assert manifest.reranker.segments
    assert set(manifest.parity) == {"fp32_vs_original", "int8_vs_fp32"}
    assert {path.name for path in int8.iterdir()} == {
        *("README.md", "golden.json", "manifest.json", "model.onnx", "tokenizer.json")
    }


def test_golden_scores_are_checked_when_a_reranker_is_loaded(int8: Path, source: RerankerSource) -> None:
    assert GOLDEN in load_manifest(int8).files
    assert Reranker.load(int8).score(QUERY, PARITY[0].passages[:3]).shape == (3,)
    fewer = Reranker.load(int8)

    class Broken:
        def run(self, _: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [np.arange(len(feed["input_ids"]), dtype=np.float32)]

    with pytest.raises(ModelDamaged, match="other vectors"):
        Reranker.load(int8, opener=lambda _path, _exact: Broken())
    assert fewer.max_tokens == source.spec.max_tokens


def test_a_figure_out_of_bounds_leaves_nothing_behind(source: RerankerSource, tmp_path: Path) -> None:
    with pytest.raises(ModelDamaged, match="in order"):
        convert_reranker(source, _conversion(tmp_path / "out", bounds=PairBounds(least_order=1.01)))
    assert not list(tmp_path.iterdir())


def test_a_taken_folder_is_refused(source: RerankerSource, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    with pytest.raises(Conflict):
        convert_reranker(source, _conversion(tmp_path / "taken"))


def test_a_classifier_of_three_labels_is_no_reranker(tmp_path: Path) -> None:
    with pytest.raises(ModelDamaged, match="3 outputs"):
        read_reranker(write_reranker("bert", tmp_path, labels=3))


def test_a_long_text_loses_its_end_and_the_query_stays(int8: Path) -> None:
    reranker = Reranker.load(int8)
    long = " ".join(PARITY[0].passages)
    short, cut = reranker.tokenize([(QUERY, "water"), (QUERY, long)])
    question = short.segments.index(1)
    assert (short.truncated, cut.truncated, len(cut.ids)) == (False, True, reranker.max_tokens)
    assert cut.ids[:question] == short.ids[:question]
    assert reranker.count_tokens(QUERY, long) > reranker.max_tokens


def test_a_query_that_would_leave_no_place_for_the_text_is_cut(int8: Path) -> None:
    reranker = Reranker.load(int8)
    (pair,) = reranker.tokenize([(" ".join(PARITY[0].passages), "water \ud800")])
    assert not pair.truncated
    assert pair.segments.index(1) <= reranker.max_tokens // 2 + 2


def test_scores_do_not_depend_on_the_texts_beside_them(int8: Path) -> None:
    reranker = Reranker.load(int8)
    texts = PARITY[0].passages[:40]
    together = reranker.score(QUERY, texts)
    alone = [reranker.score(QUERY, [text])[0] for text in texts]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert reranker.score(QUERY, []).shape == (0,)
    assert ((together > 0) & (together < 1)).all()
