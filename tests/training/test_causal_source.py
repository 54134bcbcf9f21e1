"""Folders of decoders: what is read of them, and what is said of odd ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embeddings.errors import InvalidInput, ModelDamaged
from generation.causal.spec import GenerationDefaults
from tests.training.causal_fixtures import (
    CONTEXT_TOKENS,
    WINDOW,
    random_decoder,
    write_adapter,
    write_decoder,
)
from training.causal_reading import read_blueprint
from training.causal_source import read_causal_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_decoder("qwen3", tmp_path / "qwen3")


def rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_generation_config_gives_defaults_and_every_end(folder: Path) -> None:
    rewrite(
        folder / "generation_config.json",
        do_sample=True,
        temperature=0.6,
        top_k=20,
        top_p=0.95,
        eos_token_id=[7, 0],
    )
    source = read_causal_source(folder)
    assert source.defaults == GenerationDefaults(0.6, 20, 0.95, 1.0)
    assert source.eos == (7, 0, 1)


def test_models_that_do_not_sample_are_greedy(folder: Path) -> None:
    rewrite(folder / "generation_config.json", do_sample=False, temperature=0.6)
    assert read_causal_source(folder).defaults == GenerationDefaults()


def test_chat_template_of_the_tokenizer_is_taken_where_it_has_no_file(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    assert read_causal_source(folder).chat_template is None
    rewrite(folder / "tokenizer_config.json", chat_template="{{ messages[0].content }}")
    assert read_causal_source(folder).chat_template == "{{ messages[0].content }}"
    named = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]
    rewrite(folder / "tokenizer_config.json", chat_template=named)
    assert read_causal_source(folder).chat_template == "plain"


def test_first_token_is_the_one_that_the_tokenizer_adds(folder: Path) -> None:
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<pad>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<pad>": {"id": "<pad>", "ids": [2], "tokens": ["<pad>"]}},
    }
    rewrite(folder / "tokenizer.json", post_processor=template)
    assert read_causal_source(folder).bos == 2
    rewrite(folder / "tokenizer.json", post_processor=None)
    assert read_causal_source(folder).bos == 0
    rewrite(folder / "tokenizer_config.json", bos_token=None)
    assert read_causal_source(folder).bos is None


def test_context_may_be_shorter_than_the_models_and_not_longer(folder: Path) -> None:
    assert read_causal_source(folder).context_tokens == CONTEXT_TOKENS
    assert read_causal_source(folder, context_tokens=64).context_tokens == 64
    with pytest.raises(InvalidInput, match="the model takes 32 to 128"):
        read_causal_source(folder, context_tokens=129)


def test_longrope_keeps_to_the_context_that_it_was_trained_for(tmp_path: Path) -> None:
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10_000.0,
        "short_factor": [1.0] * 8,
        "long_factor": [4.0] * 8,
        "original_max_position_embeddings": 64,
    }
    folder = write_decoder(
        "phi3", tmp_path / "phi3", rope_parameters=rope, original_max_position_embeddings=64
    )
    source = read_causal_source(folder)
    assert source.context_tokens == 64
    assert source.notes == ("the context is 64 tokens; the model could take 128, with --context",)


def test_window_is_read_from_the_layers_that_have_one() -> None:
    mixed = read_blueprint(random_decoder("gemma2"), CONTEXT_TOKENS)
    assert [block.attention.window for block in mixed.blocks] == [WINDOW, None]
    assert read_blueprint(random_decoder("qwen3"), CONTEXT_TOKENS).window_tokens is None


def test_variants_without_a_graph_are_refused() -> None:
    with pytest.raises(ModelDamaged, match="found phi with qk_layernorm"):
        read_blueprint(random_decoder("phi", qk_layernorm=True), CONTEXT_TOKENS)
    with pytest.raises(ModelDamaged, match="the activation QuickGELUActivation"):
        read_blueprint(random_decoder("llama", hidden_act="quick_gelu"), CONTEXT_TOKENS)
    with pytest.raises(ModelDamaged, match="positions on 4 pairs of numbers"):
        read_blueprint(random_decoder("llama", head_dim=8), CONTEXT_TOKENS)


def _without(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def _cut(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-200])


def _config(**changes: Any) -> Callable[[Path], object]:
    return lambda folder: rewrite(folder / "config.json", **changes)


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (_without("config.json"), "found no config.json"),
        (_without("tokenizer.json"), "found no tokenizer.json"),
        (_without("model.safetensors"), "model.safetensors"),
        (_cut("config.json"), "found config.json, in which"),
        (_cut("tokenizer.json"), "found tokenizer.json, in which"),
        (_cut("model.safetensors"), "cannot convert"),
        (_config(model_type="mamba"), "found architecture 'mamba', expected one of gemma, gemma2"),
        (_config(num_hidden_layers=3), "`num_hidden_layers` (3) must be equal"),
        (
            _config(num_hidden_layers=3, layer_types=["full_attention"] * 3),
            "found no weights for model.layers.2",
        ),
        (_config(quantization_config={"bits": 4}), "quantised already"),
        (lambda folder: rewrite(folder / "generation_config.json", do_sample=True, top_p=2.0), "top_p"),
    ],
)
def test_damaged_folder_is_refused(damage: Callable[[Path], object], found: str, folder: Path) -> None:
    damage(folder)
    with pytest.raises(ModelDamaged, match="cannot convert") as caught:
        read_causal_source(folder)
    assert found in str(caught.value)
    assert caught.value.next_step


def test_adapter_alone_is_refused_with_the_way_out(tmp_path: Path) -> None:
    write_adapter("qwen3", tmp_path / "adapter")
    with pytest.raises(ModelDamaged, match="found a LoRA adapter") as caught:
        read_causal_source(tmp_path / "adapter")
    assert "--lora" in caught.value.next_step


def test_adapter_of_another_model_or_with_missing_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    write_adapter("gemma", tmp_path / "other", num_hidden_layers=3)
    with pytest.raises(ModelDamaged, match="for which the model has no layer"):
        read_causal_source(folder, adapter=tmp_path / "other")
    write_adapter("qwen3", tmp_path / "short", num_hidden_layers=1)
    with pytest.raises(ModelDamaged, match="missing"):
        read_causal_source(folder, adapter=tmp_path / "short")
    with pytest.raises(ModelDamaged, match=r"found no adapter_config\.json"):
        read_causal_source(folder, adapter=folder)
