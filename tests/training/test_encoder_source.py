import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from transformers import BertConfig, BertModel, T5Config, T5EncoderModel

from embeddings.errors import InvalidInput, ModelDamaged, NotFound
from tests.training.encoder_fixtures import (
    MAX_TOKENS,
    WIDTH,
    fast_tokenizer,
    write_encoder,
    write_transformer,
)
from training.encoder_origin import locate, trace
from training.encoder_source import read_source

SETTINGS = "config_sentence_transformers.json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder("bert", tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_transformer("roberta", tmp_path_factory.mktemp("plain"))


def edited(folder: Path, target: Path, file: str, **changes: object) -> Path:
    """A copy of the folder with other values in one of its JSON files."""
    shutil.copytree(folder, target)
    path = target / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return target


def test_spec_is_read_from_the_folder(folder: Path) -> None:
    source = read_source(folder)
    assert (source.spec.dimension, source.spec.max_tokens, source.spec.pooling) == (WIDTH, MAX_TOKENS, "mean")
    assert source.spec.prompts == {}
    assert source.notes == ()


def test_folder_of_transformers_is_pooled_by_the_mean_and_says_so(plain: Path) -> None:
    source = read_source(plain)
    assert source.spec.pooling == "mean"
    assert source.notes == ("the folder does not say how to pool: mean is assumed",)


def test_offset_of_the_position_table_is_no_room_for_tokens(plain: Path, tmp_path: Path) -> None:
    generous = edited(plain, tmp_path / "generous", "tokenizer_config.json", model_max_length=10_000)
    source = read_source(generous)
    assert source.spec.max_tokens == MAX_TOKENS
    assert source.original.encode(["word " * 500]).shape == (1, WIDTH)  # 66 tokens would break its table


def test_own_limit_of_the_model_is_kept(folder: Path, tmp_path: Path) -> None:
    short = edited(folder, tmp_path / "short", "tokenizer_config.json", model_max_length=12)
    assert read_source(short).spec.max_tokens == 12


def test_every_prompt_is_kept_and_the_two_roles_know_their_synonyms(folder: Path, tmp_path: Path) -> None:
    prompts = {"query": "q: ", "document": "d: ", "classification": "c: ", "plain": ""}
    named = edited(folder, tmp_path / "named", SETTINGS, prompts=prompts)
    expected = {"query": "q: ", "document": "d: ", "passage": "d: ", "classification": "c: "}
    assert read_source(named).spec.prompts == expected


@pytest.mark.parametrize("name", ["corpus", "search_document"])
def test_other_words_for_a_passage_are_known(folder: Path, tmp_path: Path, name: str) -> None:
    named = edited(folder, tmp_path / "named", SETTINGS, prompts={name: "d: ", "search_query": "q: "})
    spec = read_source(named).spec
    assert (spec.prompts["passage"], spec.prompts["query"]) == ("d: ", "q: ")


def test_callers_prompts_go_before_the_models(folder: Path, tmp_path: Path) -> None:
    named = edited(folder, tmp_path / "named", SETTINGS, prompts={"query": "old: "})
    assert read_source(named, {"query": "new: ", "passage": "p: "}).spec.prompts == {
        "query": "new: ",
        "passage": "p: ",
    }


def test_default_prompt_is_noted_and_not_used(folder: Path, tmp_path: Path) -> None:
    named = edited(folder, tmp_path / "named", SETTINGS, prompts={"sts": "s: "}, default_prompt_name="sts")
    source = read_source(named)
    assert source.spec.prompts == {"sts": "s: "}
    assert "default prompt 'sts'" in source.notes[0]


def test_smaller_dimensions_come_from_the_caller_or_the_model(folder: Path, tmp_path: Path) -> None:
    assert read_source(folder, matryoshka=(8, 16, 8)).spec.matryoshka_dimensions == (16, 8)
    cut = read_source(edited(folder, tmp_path / "cut", SETTINGS, truncate_dim=16))
    assert (cut.spec.dimension, cut.spec.matryoshka_dimensions) == (WIDTH, (16,))
    assert "set to 16 dimensions" in cut.notes[0]
    assert cut.original.encode(["word"]).shape == (1, WIDTH)


@pytest.mark.parametrize("size", [0, WIDTH, 999])
def test_dimension_that_is_not_smaller_is_refused(folder: Path, size: int) -> None:
    with pytest.raises(InvalidInput, match=f"{size} is not a smaller dimension"):
        read_source(folder, matryoshka=(size,))


def test_comparison_by_dot_product_is_noted(folder: Path, tmp_path: Path) -> None:
    dot = read_source(edited(folder, tmp_path / "dot", SETTINGS, similarity_fn_name="dot"))
    assert dot.notes == ("the model compares by dot, Footnote by cosine",)


def test_lowercasing_of_the_model_goes_into_the_tokenizer(tmp_path: Path) -> None:
    written = write_encoder("roberta", tmp_path)
    lower = edited(written, tmp_path / "lower", "sentence_bert_config.json", do_lower_case=True)
    cased, uncased = read_source(written).tokenizer, read_source(lower).tokenizer
    assert cased.encode("WATER").ids != cased.encode("water").ids
    assert uncased.encode("WATER").ids == uncased.encode("water").ids == cased.encode("water").ids


def test_left_padding_is_turned_to_the_right(tmp_path: Path, plain: Path) -> None:
    left = edited(plain, tmp_path / "left", "tokenizer_config.json", padding_side="left")
    mask = read_source(left).original.preprocess(["water", "a much longer text"])["attention_mask"]
    assert mask[0].tolist() == sorted(mask[0].tolist(), reverse=True)


def test_half_precision_weights_are_converted_in_full_precision(folder: Path, tmp_path: Path) -> None:
    model = SentenceTransformer(str(folder), device="cpu").to(torch.float16)
    model.save(str(tmp_path / "half"))
    parameters = read_source(tmp_path / "half").encoder.parameters()
    assert {parameter.dtype for parameter in parameters} == {torch.float32}


def test_missing_weights_are_not_filled_by_chance(folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    for name in [name for name in weights if "layer.1.attention" in name]:
        del weights[name]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelDamaged, match=r"no weights for encoder\.layer\.1\.attention"):
        read_source(broken)


def test_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelDamaged, match=r"neither modules\.json nor config\.json"):
        read_source(tmp_path)


def test_folder_without_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    empty = shutil.copytree(folder, tmp_path / "empty")
    (empty / "model.safetensors").unlink()
    with pytest.raises(ModelDamaged, match="cannot convert"):
        read_source(empty)


def test_other_architectures_are_refused_by_name(tmp_path: Path) -> None:
    shape = {"d_model": WIDTH, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    T5EncoderModel(T5Config(vocab_size=200, **shape)).save_pretrained(tmp_path)
    fast_tokenizer("bert").save_pretrained(tmp_path)
    with pytest.raises(ModelDamaged, match="architecture 't5'"):
        read_source(tmp_path)


def test_model_that_sees_only_what_stands_before_a_token_is_refused(tmp_path: Path) -> None:
    tokenizer = fast_tokenizer("bert")
    shape = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(tokenizer), is_decoder=True, **shape)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelDamaged, match="a decoder"):
        read_source(tmp_path)


def test_existing_folder_is_never_looked_for_on_a_hub(folder: Path) -> None:
    def fetch(model: str) -> Path:
        raise AssertionError(model)

    assert locate(str(folder), fetch) == folder


def test_hub_id_is_fetched(folder: Path) -> None:
    asked = []

    def fetch(model: str) -> Path:
        asked.append(model)
        return folder

    assert locate("sentence-transformers/some-model", fetch) == folder
    assert asked == ["sentence-transformers/some-model"]
    assert trace("sentence-transformers/some-model", folder).name == "some-model"


def test_hub_without_a_network_says_what_to_do() -> None:
    def fetch(model: str) -> Path:
        raise ConnectionError("Name or service not known")

    with pytest.raises(NotFound, match="Name or service not known") as refusal:
        locate("owner/model", fetch)
    assert refusal.value.next_step is not None
    assert "hf download owner/model --local-dir" in refusal.value.next_step


@pytest.mark.parametrize("source", ["./absent/folder", "a/b/c", "with space", "/absolute/absent"])
def test_what_is_neither_folder_nor_id_is_not_fetched(source: str) -> None:
    def fetch(model: str) -> Path:
        raise AssertionError(model)

    with pytest.raises(NotFound, match="no such folder"):
        locate(source, fetch)


def test_file_in_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(NotFound, match="a file"):
        locate(str(tmp_path / "model.bin"))


def test_origin_tells_name_checksum_and_licence(folder: Path, tmp_path: Path) -> None:
    licensed = shutil.copytree(folder, tmp_path / "my-model")
    (licensed / "README.md").write_text("---\nlanguage: en\nlicense: mit\n---\n# A model\n")
    found = trace(str(licensed), licensed)
    assert (found.name, found.licence) == ("my-model", "mit")
    assert found.source.startswith("my-model, model.safetensors with SHA-256 ")
    assert trace(str(licensed), licensed, name="other").name == "other"


def test_unstated_licence_is_not_guessed(folder: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(folder, tmp_path / "bare")
    (bare / "README.md").write_text("A model.\n\nlicense: mine\n")
    assert trace(str(bare), bare).licence == "not stated"
