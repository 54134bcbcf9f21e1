"""Merges LoRA adapters into the decoder that they were trained for. Source: Hu et al., ICLR 2022."""

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from peft import PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open

from embeddings.artifact import describe_file
from embeddings.errors import ModelDamaged
from training.encoder_origin import Provenance

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


def merge_adapter(model: Any, folder: Path) -> Any:
    """The model with the adapter in `folder` added to its weights; the model itself is changed.

    Raises ModelDamaged for a folder that holds no adapter, or one of another model.
    """
    _check_kind(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is missing; it is checked below
            adapted = PeftModel.from_pretrained(model, str(folder))
        _check_complete(adapted, folder)
        return adapted.merge_and_unload(safe_merge=True).eval()
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise _unfit(folder, " ".join(line.strip() for line in lines[:2])) from error


def with_adapter(provenance: Provenance, folder: Path) -> Provenance:
    """The origin of a model that the adapter in `folder` was merged into. Raises ModelDamaged without one."""
    _check_kind(folder)
    sha256 = describe_file(folder / ADAPTER_WEIGHTS).sha256
    adapter = f"LoRA adapter {folder.resolve().name}, {ADAPTER_WEIGHTS} with SHA-256 {sha256}"
    return replace(provenance, source=f"{provenance.source}; {adapter}")


def _check_kind(folder: Path) -> None:
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if not (folder / name).is_file():
            raise _unfit(folder, f"no {name}")
    try:
        kind = json.loads((folder / ADAPTER_CONFIG).read_bytes()).get("peft_type")
    except (ValueError, AttributeError) as error:
        raise _unfit(folder, f"{ADAPTER_CONFIG}, in which {error}") from error
    if kind != "LORA":
        raise _unfit(folder, f"an adapter of type {kind}")


def _check_complete(adapted: Any, folder: Path) -> None:
    """What the file lacks, peft leaves at zero, and what the model lacks, out: both without an error."""
    with safe_open(str(folder / ADAPTER_WEIGHTS), framework="pt") as weights:
        given = set(weights.keys())
    expected = set(get_peft_model_state_dict(adapted))
    if given != expected:
        odd = min(given ^ expected)
        where = "for which the model has no layer" if odd in given else "missing"
        raise _unfit(folder, f"weights {odd}, {where}")


def _unfit(folder: Path, found: str) -> ModelDamaged:
    expected = "a LoRA adapter of this model, as peft saves it"
    return ModelDamaged(
        f"cannot merge {folder}: found {found}, expected {expected}",
        found=found,
        expected=expected,
        next_step="name the base model that the adapter was trained on, and the adapter's own folder",
    )
