import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest

from embeddings.artifact import BUNDLED_ENCODER, WEIGHTS, load_manifest, write_manifest
from embeddings.encoder import BATCH_TOKENS, Encoder
from embeddings.errors import InvalidInput, ModelDamaged

TEXTS = (
    "A man is playing a guitar on the street.",
    "Vaccines train the immune system. " * 12,
    "short",
    "How do I declare a path parameter?",
    "Пчёлы собирают нектар и превращают его в мёд.",
    "光合作用把光、水和二氧化碳变成糖和氧气。",
    "Copper conducts electricity better than iron and does not rust. " * 5,
)


def test_no_texts_give_no_rows(encoder: Encoder) -> None:
    assert encoder.encode([], "passage").shape == (0, encoder.dimension)


def test_rows_are_unit_vectors_of_the_manifest_dimension(encoder: Encoder) -> None:
    vectors = encoder.encode(TEXTS, "passage")
    assert vectors.shape == (len(TEXTS), 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_rows_come_back_in_the_order_of_the_texts(encoder: Encoder) -> None:
    batched = encoder.encode(TEXTS, "passage")
    single = np.concatenate([encoder.encode([text], "passage") for text in TEXTS])
    assert (batched @ single.T).argmax(axis=1).tolist() == list(range(len(TEXTS)))


def test_batched_rows_stay_near_single_ones(encoder: Encoder) -> None:
    # Not equal: an int8 graph scales its activations over the whole batch. The gate measured .978 at worst.
    batched = encoder.encode(TEXTS, "passage")
    single = np.concatenate([encoder.encode([text], "passage") for text in TEXTS])
    assert np.einsum("nd,nd->n", batched, single).min() > 0.97


def test_more_text_than_one_batch_holds_is_encoded_whole(encoder: Encoder) -> None:
    texts = [f"Station {number} measured {number * 7} millimetres of rain." for number in range(600)]
    assert sum(encoder.count_tokens(texts)) > BATCH_TOKENS
    vectors = encoder.encode(texts, "passage")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_paraphrases_are_nearer_than_unrelated_texts(encoder: Encoder) -> None:
    pairs = [
        ("How old is the universe?", "The age of the cosmos is about 13.8 billion years."),
        ("The company fired two hundred workers.", "Two hundred employees lost their jobs."),
        ("My dog will not eat his food.", "The puppy refuses its meals."),
        ("Reset a forgotten password", "What to do when you cannot remember your login secret"),
    ]
    questions = encoder.encode([left for left, _ in pairs], "query")
    answers = encoder.encode([right for _, right in pairs], "passage")
    assert (questions @ answers.T).argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_threads_share_one_encoder(encoder: Encoder) -> None:
    expected = [encoder.encode([text], "passage") for text in TEXTS]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda text: encoder.encode([text], "passage"), TEXTS * 5))
    for position, vectors in enumerate(found):
        np.testing.assert_allclose(vectors, expected[position % len(TEXTS)], atol=1e-4)


def test_long_text_is_reported_and_encoded_by_its_beginning(encoder: Encoder) -> None:
    beginning = "The treaty was signed in Vienna by nine states. " * 40
    long = beginning + "Penguins live in the south. " * 400
    assert [text.truncated for text in encoder.tokenize([long, "short"])] == [True, False]
    vectors = encoder.encode([long, beginning], "passage")
    assert vectors[0] @ vectors[1] > 0.999


def test_token_count_includes_the_special_tokens(encoder: Encoder) -> None:
    assert encoder.count_tokens(["", "cat", "cat dog"]) == [2, 3, 4]


def test_lone_surrogates_are_encoded_as_replacement_characters(encoder: Encoder) -> None:
    broken = "caf\ud800 au lait"
    vectors = encoder.encode([broken, "caf\ufffd au lait"], "query")
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert encoder.count_tokens([broken])[0] > 2
    assert 0 <= encoder.vocabulary_coverage(broken) <= 1


@pytest.mark.parametrize("text", ["", " \n\t", "\x00", "😀" * 50, "a" * 5_000, "\u202eمرحبا"])
def test_odd_texts_give_finite_unit_vectors(encoder: Encoder, text: str) -> None:
    (vector,) = encoder.encode([text], "passage")
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_english_is_known_and_other_scripts_are_not(encoder: Encoder) -> None:
    english = encoder.vocabulary_coverage("How do I install Docker on a new server?")
    russian = encoder.vocabulary_coverage("Как и зачем я ставлю Docker на новый сервер?")
    chinese = encoder.vocabulary_coverage("如何在新服务器上安装 Docker？")
    assert english > 0.9
    assert russian < 0.3
    assert chinese < 0.3


def test_spelt_out_words_lower_the_coverage(encoder: Encoder) -> None:
    assert encoder.vocabulary_coverage("qzxjv wkqpz") < encoder.vocabulary_coverage("paper boats")


def test_text_without_words_has_nothing_unknown(encoder: Encoder) -> None:
    assert encoder.vocabulary_coverage("?! …") == 1.0


def test_prompts_of_the_manifest_go_before_the_text(tmp_path: Path) -> None:
    directory = shutil.copytree(BUNDLED_ENCODER, tmp_path / "prompted")
    manifest = load_manifest(directory)
    assert manifest.encoder is not None
    spec = msgspec.structs.replace(manifest.encoder, prompts={"query": "find: "})
    write_manifest(directory, msgspec.structs.replace(manifest, encoder=spec))
    prompted = Encoder.load(directory)
    assert prompted.count_tokens(["cat"], "query") == [5]
    (query,), (same,), (bare,) = (
        prompted.encode(["cat"], "query"),
        prompted.encode(["find: cat"], "passage"),
        prompted.encode(["cat"], "passage"),
    )
    assert query @ same > 0.9999 > query @ bare


def test_damaged_weights_are_not_loaded(tmp_path: Path) -> None:
    directory = shutil.copytree(BUNDLED_ENCODER, tmp_path / "damaged")
    with (directory / WEIGHTS).open("r+b") as weights:
        weights.seek(1_000_000)
        weights.write(b"\x01\x02\x03")
    with pytest.raises(ModelDamaged, match="SHA-256"):
        Encoder.load(directory)


def test_decoder_artifact_is_refused_as_an_encoder(tmp_path: Path) -> None:
    directory = shutil.copytree(BUNDLED_ENCODER, tmp_path / "decoder")
    manifest = msgspec.structs.replace(load_manifest(directory), kind="decoder", encoder=None)
    write_manifest(directory, manifest)
    with pytest.raises(ModelDamaged, match="no encoder"):
        Encoder.load(directory)


def test_the_end_of_a_long_text_is_kept_when_asked(encoder: Encoder) -> None:
    long = "Penguins live in the south. " * 100 + "The treaty was signed in Vienna."
    (start,), (end,) = encoder.tokenize([long]), encoder.tokenize([long], keep="end")
    (short,) = encoder.tokenize(["The treaty was signed in Vienna."])
    assert start.count == end.count > encoder.max_tokens == len(start.ids) == len(end.ids)
    assert end.ids[-len(short.ids) + 1 :].tolist() == short.ids[1:].tolist()
    assert (start.ids[0], start.ids[-1]) == (end.ids[0], end.ids[-1]) == (short.ids[0], short.ids[-1])


def test_unknown_prompt_is_refused_with_the_known_ones(encoder: Encoder) -> None:
    with pytest.raises(InvalidInput, match="no prompt 'title'") as refusal:
        encoder.tokenize(["cat"], "title")
    assert refusal.value.expected == "passage, query"
