"""An encoder as an ONNX graph: input_ids and attention_mask (B, S) int64 to sentence_embedding (B, D).

A cross-encoder may read token_type_ids (B, S) too, and gives what its module gives.
"""

import hashlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import onnx
import torch
from torch import nn
from torch.export import Dim
from torch.onnx import ONNXProgram

from training.fused_attention import FUSED_ATTENTION, FUSED_MODEL_TYPES, OPSET
from training.graph_rewrites import drop_identity_reshapes, strip_metadata

WEIGHTS_DATA = "model.onnx.data"
# A protobuf message ends at 2 GiB; the nodes need a little of it.
INLINE_BYTES = 2**31 - 2**26


def export_fp32(
    encoder: nn.Module,
    path: Path,
    inline_bytes: int = INLINE_BYTES,
    inputs: Sequence[str] = ("input_ids", "attention_mask"),
    output: str = "sentence_embedding",
) -> None:
    """Write the encoder as ONNX, rows padded on the right.

    encoder: takes the `inputs` by name and has its transformer as `transformer`.
    inline_bytes: weights above this size go into the file WEIGHTS_DATA beside `path`.
    """
    with _quiet(), _exportable_attention(encoder.transformer):
        program = _trace(encoder, inputs, output)
    size_bytes = sum(parameter.nbytes for parameter in encoder.state_dict().values())
    if size_bytes <= inline_bytes:
        onnx.save(_tidied(program.model_proto), path)
    else:
        _save_with_data(program, path)


def _trace(encoder: nn.Module, names: Sequence[str], output: str) -> ONNXProgram:
    input_ids = torch.arange(5, 26).reshape(3, 7)
    attention_mask = torch.ones_like(input_ids)
    attention_mask[1, 5:] = attention_mask[2, 3:] = 0  # ragged, as real batches are
    examples = {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "token_type_ids": (input_ids % 7 > 3).long(),
    }
    inputs = {name: examples[name] for name in names}
    program = torch.onnx.export(
        encoder,
        (),
        kwargs=inputs,
        output_names=[output],
        dynamic_shapes={name: {0: Dim.DYNAMIC, 1: Dim.DYNAMIC} for name in inputs},
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    # Only the exporter that dynamo=True replaces returned None.
    return cast(ONNXProgram, program)


def _tidied(model: onnx.ModelProto) -> onnx.ModelProto:
    drop_identity_reshapes(model)
    strip_metadata(model)
    return model


def _save_with_data(program: ONNXProgram, path: Path) -> None:
    program.save(path, external_data=True)
    model = _tidied(onnx.load(path, load_external_data=False))
    # A model is known by the checksum of its graph's file, which here does not hold the weights.
    with (path.parent / WEIGHTS_DATA).open("rb") as data:
        digest = hashlib.file_digest(data, "sha256").hexdigest()
    model.metadata_props.add(key="weights_sha256", value=digest)
    onnx.save(model, path)


@contextmanager
def _exportable_attention(transformer: Any) -> Iterator[None]:
    """Let the transformer attend by one operator where it can; torch itself cannot run that one."""
    if transformer.config.model_type not in FUSED_MODEL_TYPES:
        yield
        return
    before = transformer.config._attn_implementation
    transformer.set_attn_implementation(FUSED_ATTENTION)
    try:
        yield
    finally:
        transformer.set_attn_implementation(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of every operator of packages that are not here."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
