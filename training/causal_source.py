"""A causal decoder's folder as transformers saved it, and what its conversion needs of it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from embeddings.artifact import TOKENIZER
from embeddings.errors import InvalidInput, ModelDamaged
from generation.causal.spec import GenerationDefaults
from training.causal_lora import ADAPTER_CONFIG, merge_adapter
from training.causal_reading import MODEL_TYPES
from training.encoder_source import quiet_transformers

CHAT_TEMPLATE = "chat_template.jinja"
# A longer context costs tables of positions that no memory of keys and values would follow.
LONGEST_CONTEXT = 32_768
SHORTEST_CONTEXT = 32


@dataclass(frozen=True, slots=True)
class CausalSource:
    """model: transformers' own, in fp32 and evaluation mode; notes: what a person who converts it should
    know.
    """

    model: Any
    tokenizer: Tokenizer
    architecture: str
    context_tokens: int
    vocabulary_size: int
    bos: int | None
    eos: tuple[int, ...]
    chat_template: str | None
    defaults: GenerationDefaults
    notes: tuple[str, ...] = ()


def read_causal_source(
    folder: Path, *, context_tokens: int | None = None, adapter: Path | None = None
) -> CausalSource:
    """Open a folder that transformers saved, and merge the LoRA adapter in the folder `adapter`.

    context_tokens: of prompt and answer, for less than the model can take.
    Raises ModelDamaged for a folder or a model that can't be converted, InvalidInput for a context that the
    model can't take.
    """
    config = _read_config(folder)
    _check_config(config, folder)
    tokenizer = _read_tokenizer(folder)
    model = _open(folder)
    if adapter is not None:
        model = merge_adapter(model, adapter)
    vocabulary_size = model.get_output_embeddings().weight.shape[0]
    _check_vocabulary(tokenizer, model, folder)
    told = _read_json(folder / "tokenizer_config.json")
    context, notes = _context(model.config, context_tokens)
    eos = _ends(model, tokenizer, told)
    if not eos:
        notes = (*notes, "the model names no token that ends an answer: each goes on to its largest length")
    return CausalSource(
        model=model,
        tokenizer=tokenizer,
        architecture=config["model_type"],
        context_tokens=context,
        vocabulary_size=vocabulary_size,
        bos=_start(tokenizer, told),
        eos=eos,
        chat_template=_chat_template(folder, told),
        defaults=_defaults(model.generation_config, folder),
        notes=notes,
    )


def _read_config(folder: Path) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        if (folder / ADAPTER_CONFIG).is_file():
            raise refused(
                folder, "a LoRA adapter", "a whole model", "name its base model, and this folder with --lora"
            )
        raise refused(folder, "no config.json", "a folder that transformers saved")
    return _read_json(folder / "config.json")


def _read_json(path: Path) -> dict[str, Any]:
    """Empty when there is no such file."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise refused(path.parent, f"{path.name}, in which {error}", "JSON") from error
    if not isinstance(content, dict):
        raise refused(path.parent, f"{path.name} of type {type(content).__name__}", "a JSON object")
    return content


def _check_config(config: dict[str, Any], folder: Path) -> None:
    kind = config.get("model_type")
    if kind not in MODEL_TYPES:
        raise refused(folder, f"architecture {kind!r}", f"one of {', '.join(sorted(MODEL_TYPES))}")
    if "quantization_config" in config:
        raise refused(folder, "weights that are quantised already", "weights of 16 or 32 bits")


def _read_tokenizer(folder: Path) -> Tokenizer:
    path = folder / TOKENIZER
    if not path.is_file():
        step = (
            "open its tokenizer with transformers, with the package sentencepiece where it asks for it, and"
        )
        raise refused(folder, f"no {TOKENIZER}", f"the tokenizer as {TOKENIZER}", f"{step} save it again")
    try:
        tokenizer: Tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing more precise
        raise refused(folder, f"{TOKENIZER}, in which {error}", "a tokenizer of Hugging Face") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _open(folder: Path) -> Any:
    try:
        with quiet_transformers():
            opened: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=torch.float32,
                # The other implementations leave the soft cap of Gemma 2 out.
                attn_implementation="eager",
                local_files_only=True,
                output_loading_info=True,
            )
    except (
        *(OSError, ValueError, KeyError, ImportError, RuntimeError, TypeError, AttributeError),
        SafetensorError,
        StrictDataclassError,
    ) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        found = " ".join(line.strip() for line in lines[:2])
        raise refused(folder, found, "a decoder that transformers can open") from error
    model, loading = opened  # transformers' types leave this form out
    if missing := sorted(loading["missing_keys"]):
        found = f"no weights for {missing[0]}, one of {len(missing)}"
        raise refused(folder, found, "the weights of every layer")
    return model.eval()


def _check_vocabulary(tokenizer: Tokenizer, model: Any, folder: Path) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
    if largest >= rows:
        raise refused(folder, f"a tokenizer with the id {largest}", f"ids below the model's {rows} rows")


def _context(config: Any, asked: int | None) -> tuple[int, tuple[str, ...]]:
    """Tokens of the context, and what to say of them."""
    possible = int(config.max_position_embeddings)
    if asked is not None and not SHORTEST_CONTEXT <= asked <= possible:
        raise InvalidInput(
            f"a context of {asked} tokens is not possible: the model takes {SHORTEST_CONTEXT} to {possible}",
            field="context",
            found=str(asked),
            expected=f"{SHORTEST_CONTEXT} to {possible}",
        )
    usual = min(possible, _trained_context(config) or possible, LONGEST_CONTEXT)
    context = asked or usual
    if asked is None and usual < possible:
        return context, (f"the context is {usual} tokens; the model could take {possible}, with --context",)
    return context, ()


def _trained_context(config: Any) -> int | None:
    """Of LongRoPE, which has other positions beyond: one graph holds one kind. Source: Ding et al. 2024."""
    parameters = getattr(config, "rope_parameters", None) or {}
    if parameters.get("rope_type") != "longrope":
        return None
    return int(parameters["original_max_position_embeddings"])


def _start(tokenizer: Tokenizer, told: dict[str, Any]) -> int | None:
    """What the tokenizer itself puts before a text, or else calls its first token."""
    own = tokenizer.encode("").ids
    return own[0] if own else _token_id(tokenizer, told.get("bos_token"))


def _ends(model: Any, tokenizer: Tokenizer, told: dict[str, Any]) -> tuple[int, ...]:
    """Every token that generation_config.json, config.json or the tokenizer says ends an answer."""
    ends: list[int] = []
    for found in (model.generation_config.eos_token_id, model.config.eos_token_id):
        ends += found if isinstance(found, list) else [found] if found is not None else []
    declared = _token_id(tokenizer, told.get("eos_token"))
    ends += [declared] if declared is not None else []
    return tuple(dict.fromkeys(int(each) for each in ends))


def _token_id(tokenizer: Tokenizer, declared: Any) -> int | None:
    """tokenizer_config.json writes a token as text or as an object."""
    content = declared.get("content") if isinstance(declared, dict) else declared
    return tokenizer.token_to_id(content) if isinstance(content, str) else None


def _chat_template(folder: Path, told: dict[str, Any]) -> str | None:
    path = folder / CHAT_TEMPLATE
    if path.is_file():
        return path.read_text(encoding="utf-8")
    template = told.get("chat_template")
    if isinstance(template, list):
        named = {each.get("name"): each.get("template") for each in template if isinstance(each, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def _defaults(generation: Any, folder: Path) -> GenerationDefaults:
    """Greedy unless the authors sample; then theirs, where they name one."""
    if not generation.do_sample:
        penalty = generation.repetition_penalty
        return GenerationDefaults(repetition_penalty=1.0 if penalty is None else float(penalty))
    names = ("temperature", "top_k", "top_p", "repetition_penalty")
    given = {name: value for name in names if (value := getattr(generation, name, None)) is not None}
    try:
        return msgspec.convert({"temperature": 1.0, **given}, GenerationDefaults)
    except msgspec.ValidationError as error:
        raise refused(
            folder, f"generation_config.json, in which {error}", "sampling that is possible"
        ) from error


def refused(folder: Path, found: str, expected: str, next_step: str = "") -> ModelDamaged:
    """The error for a folder that can't be converted."""
    return ModelDamaged(
        f"cannot convert {folder}: found {found}, expected {expected}",
        found=found,
        expected=expected,
        next_step=next_step or "save the model again with transformers, or choose another",
    )
