"""Starts a decoder from the weights of a MiniLM encoder."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from training.decoder_model import CopyDecoder


def warm_start(model: CopyDecoder, directory: Path) -> None:
    """Copy the encoder's weights into `model` in place; heads keep their initial values.

    Raises KeyError when the folder holds another architecture.
    """
    source = {
        name.removeprefix("bert."): value
        for name, value in load_file(directory / "model.safetensors").items()
    }
    state = model.state_dict()
    for name in ("word", "position", "type"):
        theirs = "token_type" if name == "type" else name
        rows = source[f"embeddings.{theirs}_embeddings.weight"]
        state[f"{name}_embeddings.weight"] = _lengthen(rows, len(state[f"{name}_embeddings.weight"]))
    for part in ("weight", "bias"):
        state[f"embedding_norm.{part}"] = source[f"embeddings.LayerNorm.{part}"]
        for index in range(model.shape.layers):
            state.update(_layer_weights(source, index, part))
    model.load_state_dict(state)


def _lengthen(rows: Tensor, count: int) -> Tensor:
    """Repeat the last rows of a table until it has `count`: a start for positions that were never seen."""
    missing = count - len(rows)
    return torch.cat([rows, rows[-missing:]]) if missing > 0 else rows


def _layer_weights(source: dict[str, Tensor], index: int, part: str) -> dict[str, Tensor]:
    theirs, ours = f"encoder.layer.{index}", f"layers.{index}"
    projections = [source[f"{theirs}.attention.self.{name}.{part}"] for name in ("query", "key", "value")]
    return {
        f"{ours}.qkv.{part}": torch.cat(projections),
        f"{ours}.attention_out.{part}": source[f"{theirs}.attention.output.dense.{part}"],
        f"{ours}.attention_norm.{part}": source[f"{theirs}.attention.output.LayerNorm.{part}"],
        f"{ours}.inner.{part}": source[f"{theirs}.intermediate.dense.{part}"],
        f"{ours}.inner_out.{part}": source[f"{theirs}.output.dense.{part}"],
        f"{ours}.output_norm.{part}": source[f"{theirs}.output.LayerNorm.{part}"],
    }
