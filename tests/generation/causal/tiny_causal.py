"""A small decoder with random weights, built from ONNX nodes: it continues nonsense, but by all the rules."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from embeddings.artifact import TOKENIZER, WEIGHTS, ModelManifest, describe_file, write_manifest
from generation.causal.spec import CausalSpec
from generation.decoder import StateTensor

EOS = 0


@dataclass(frozen=True)
class TinyShape:
    """Sizes of a Llama-like decoder."""

    vocabulary: int = 300
    layers: int = 2
    hidden: int = 32
    heads: int = 4
    kv_heads: int = 2
    context: int = 512
    window: int | None = None
    seed: int = 3
    head_size: int = 16
    inner: int = 64


@dataclass
class _Graph:
    shape: TinyShape
    nodes: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.shape.seed)

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def linear(self, name: str, source: str, rows: int, columns: int) -> str:
        scale = 1.0 / np.sqrt(rows)
        weight = self.rng.normal(0, scale, (rows, columns)).astype(np.float32)
        return self.node("MatMul", [source, self.constant(f"{name}.weight", weight)], name)

    def norm(self, name: str, source: str) -> str:
        weight = self.constant(f"{name}.weight", np.ones(self.shape.hidden, dtype=np.float32))
        return self.node("SimplifiedLayerNormalization", [source, weight], name, axis=-1, epsilon=1e-6)


def _rotary(shape: TinyShape) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    frequencies = 1.0 / 10000.0 ** (np.arange(0, shape.head_size, 2) / shape.head_size)
    angles = np.outer(np.arange(shape.context), frequencies)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def _layer(graph: _Graph, index: int, source: str) -> str:
    shape, name = graph.shape, f"layer{index}"
    normed = graph.norm(f"{name}.norm", source)
    size = shape.head_size
    query = graph.linear(f"{name}.query", normed, shape.hidden, shape.heads * size)
    key = graph.linear(f"{name}.key", normed, shape.hidden, shape.kv_heads * size)
    value = graph.linear(f"{name}.value", normed, shape.hidden, shape.kv_heads * size)
    past = [f"past.{index}.key", f"past.{index}.value"]
    graph.nodes.append(
        helper.make_node(
            "GroupQueryAttention",
            [query, key, value, *past, "filled", "total", "cos", "sin"],
            [f"{name}.attended", f"present.{index}.key", f"present.{index}.value"],
            domain="com.microsoft",
            num_heads=shape.heads,
            kv_num_heads=shape.kv_heads,
            do_rotary=1,
            local_window_size=shape.window or -1,
        )
    )
    attended = graph.linear(f"{name}.out", f"{name}.attended", shape.heads * size, shape.hidden)
    middle = graph.node("Add", [source, attended], f"{name}.middle")
    normed = graph.norm(f"{name}.norm2", middle)
    gate = graph.linear(f"{name}.gate", normed, shape.hidden, shape.inner)
    up = graph.linear(f"{name}.up", normed, shape.hidden, shape.inner)
    active = graph.node("Mul", [gate, graph.node("Sigmoid", [gate], f"{name}.sigmoid")], f"{name}.silu")
    inner = graph.node("Mul", [active, up], f"{name}.inner")
    down = graph.linear(f"{name}.down", inner, shape.inner, shape.hidden)
    return graph.node("Add", [middle, down], f"{name}.output")


def _lengths(graph: _Graph) -> None:
    axis = graph.constant("axis", np.asarray([1], dtype=np.int64))
    one = graph.constant("one", np.asarray([1], dtype=np.int64))
    summed = graph.node("ReduceSum", ["attention_mask", axis], "summed", keepdims=0)
    graph.node("Cast", [graph.node("Sub", [summed, one], "last")], "filled", to=TensorProto.INT32)
    sizes = graph.node("Shape", ["attention_mask"], "sizes")
    scalar = graph.constant("scalar", np.asarray(1, dtype=np.int64))
    graph.node("Cast", [graph.node("Gather", [sizes, scalar], "size")], "total", to=TensorProto.INT32)


def build_tiny_graph(shape: TinyShape) -> onnx.ModelProto:
    """The graph that `CausalSpec` describes."""
    graph = _Graph(shape)
    _lengths(graph)
    cos, sin = _rotary(shape)
    graph.constant("cos", cos)
    graph.constant("sin", sin)
    embedding = graph.rng.normal(0, 1, (shape.vocabulary, shape.hidden)).astype(np.float32)
    hidden = graph.node("Gather", [graph.constant("embedding", embedding), "input_ids"], "embedded")
    for index in range(shape.layers):
        hidden = _layer(graph, index, hidden)
    wanted = graph.node("Gather", [hidden, "logit_positions"], "wanted", axis=1)
    head = graph.linear("head", graph.norm("norm", wanted), shape.hidden, shape.vocabulary)
    graph.node("Identity", [head], "logits")
    names = [tensor.name for tensor in _state(shape)]
    sizes = ["batch", shape.kv_heads, "rows", shape.head_size]
    integers = {"input_ids": ["batch", "tokens"], "attention_mask": ["batch", "total"]}
    inputs = [
        *(_value(name, sizes, TensorProto.INT64) for name, sizes in integers.items()),
        _value("logit_positions", ["wanted"], TensorProto.INT64),
        *(_value(f"past.{name}", sizes, TensorProto.FLOAT) for name in names),
    ]
    outputs = [
        _value("logits", ["batch", "wanted", shape.vocabulary], TensorProto.FLOAT),
        *(_value(f"present.{name}", sizes, TensorProto.FLOAT) for name in names),
    ]
    proto = helper.make_graph(graph.nodes, "tiny", inputs, outputs, graph.weights)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(proto, opset_imports=opsets, ir_version=9)


def _value(name: str, sizes: list[Any], kind: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, sizes)


def _state(shape: TinyShape) -> list[StateTensor]:
    sizes: list[int | str] = ["batch", shape.kv_heads, "past", shape.head_size]
    names = [f"{layer}.{part}" for layer in range(shape.layers) for part in ("key", "value")]
    return [StateTensor(name, "float32", sizes) for name in names]


def tiny_tokenizer(vocabulary: int) -> Tokenizer:
    """Bytes as GPT-2 writes them, then words that no text is split into; <eos> is the first."""
    symbols = ["<eos>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    words = [f"Ġw{number}" for number in range(vocabulary - len(symbols))]
    tokens = (symbols + words)[:vocabulary]
    model = models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=[])
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<eos>"])
    return tokenizer


def write_tiny_causal(directory: Path, shape: TinyShape | None = None, template: str | None = None) -> Path:
    """Write a whole artifact into the directory, and return it."""
    shape = shape or TinyShape()
    directory.mkdir(parents=True, exist_ok=True)
    onnx.save(build_tiny_graph(shape), directory / WEIGHTS)
    tiny_tokenizer(shape.vocabulary).save(str(directory / TOKENIZER))
    names = [WEIGHTS, TOKENIZER]
    if template is not None:
        (directory / "chat_template.jinja").write_text(template)
        names.append("chat_template.jinja")
    spec = CausalSpec(
        prompt="causal",
        architecture="tiny",
        vocabulary_size=shape.vocabulary,
        context_tokens=shape.context,
        state=_state(shape),
        position_ids=False,
        window_tokens=shape.window,
        bos=EOS,
        eos=(EOS,),
        chat_template="chat_template.jinja" if template is not None else None,
    )
    manifest = ModelManifest(
        name="tiny-causal",
        kind="decoder",
        source="random weights",
        licence="Apache-2.0",
        precision="fp32",
        files={name: describe_file(directory / name) for name in names},
        graph=msgspec.to_builtins(spec),
    )
    write_manifest(directory, manifest)
    return directory
