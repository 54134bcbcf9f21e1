"""The model that all peers run: the same weights as ours, as torch and as ONNX graphs, cut at 256 tokens."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

MAX_TOKENS = 256
_TOKENIZER_FILES = ("tokenizer.json", "special_tokens_map.json", "vocab.txt")


def make_peer_model(folder: Path) -> Path:
    """A folder of sentence-transformers with `fp32/` and `int8/` for ONNX Runtime inside, made once."""
    if folder.is_dir():
        return folder
    from training.minilm import minilm_directory  # noqa: PLC0415  torch is loaded only to make the graphs

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch, "model")
        shutil.copytree(minilm_directory(), made)
        for precision in ("fp32", "int8"):
            _describe(made, made / precision)
        _export(made, made / "fp32" / "model.onnx")
        _quantise(made / "fp32" / "model.onnx", made / "int8" / "model.onnx")
        made.replace(folder)
    return folder


def _describe(source: Path, target: Path) -> None:
    """Put tokenizer and configuration beside a graph.

    infinity cuts at max_position_embeddings and fastembed at model_max_length, which is 512 here:
    the length that the model was trained for goes there. The graph keeps all 512 positions.
    """
    target.mkdir()
    for name in _TOKENIZER_FILES:
        shutil.copyfile(source / name, target / name)
    _copy_json(source, target, "config.json", {"max_position_embeddings": MAX_TOKENS})
    _copy_json(source, target, "tokenizer_config.json", {"model_max_length": MAX_TOKENS})


def _copy_json(source: Path, target: Path, name: str, changes: Mapping[str, object]) -> None:
    values = json.loads((source / name).read_text(encoding="utf-8"))
    (target / name).write_text(json.dumps({**values, **changes}), encoding="utf-8")


def _export(model: Path, target: Path) -> None:
    """Token states (B, S, D) from ids, mask and types (B, S), with eager attention.

    That is what the published graphs of this model hold. optimum's exporter of today takes the sdpa form;
    ONNX Runtime ran both equally fast in fp32 and int8 on 8 x 128 tokens.
    """
    import onnx  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from torch.export import Dim  # noqa: PLC0415
    from transformers import AutoModel  # noqa: PLC0415

    class TokenStates(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.transformer = AutoModel.from_pretrained(model, attn_implementation="eager")

        def forward(self, input_ids, attention_mask, token_type_ids):
            return self.transformer(input_ids, attention_mask, token_type_ids).last_hidden_state

    ids = torch.arange(5, 26).reshape(3, 7)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    program = torch.onnx.export(
        TokenStates().eval(),
        (),
        kwargs=inputs,
        output_names=["last_hidden_state"],
        dynamic_shapes={name: {0: Dim.DYNAMIC, 1: Dim.DYNAMIC} for name in inputs},
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    graph = program.model_proto
    del graph.graph.value_info[:]  # the quantiser trips over shapes that the exporter inferred
    onnx.save(graph, target)


def _quantise(source: Path, target: Path) -> None:
    """Plain dynamic int8 with its best settings: signed weights, one scale a channel, no reduced range."""
    import onnx  # noqa: PLC0415
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415

    quantize_dynamic(
        source,
        target,
        weight_type=QuantType.QInt8,
        per_channel=True,
        op_types_to_quantize=["MatMul", "Gemm"],
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
