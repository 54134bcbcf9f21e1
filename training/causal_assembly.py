"""Assembles the graph of a causal decoder over a shared buffer of keys and values.

What goes in and out stands in generation/causal/spec.py. Rotary positions, the causal mask, windows and
writing to the buffer are GroupQueryAttention's.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper

from generation.decoder import StateTensor
from training.causal_blueprint import Activation, Attention, Block, Blueprint, FeedForward, Norm
from training.causal_weights import WeightForm
from training.causal_writing import MICROSOFT, GraphWriter

_EMBEDDING = "embedding"


def state_tensors(blueprint: Blueprint) -> list[StateTensor]:
    """Keys and values of each layer, in the graph's order."""
    return [
        StateTensor(
            f"{number}.{kind}",
            "float32",
            ["batch", block.attention.kv_heads, "past", block.attention.head_size],
        )
        for number, block in enumerate(blueprint.blocks)
        for kind in ("key", "value")
    ]


def assemble(blueprint: Blueprint, form: WeightForm) -> ModelProto:
    """The whole graph, with its weights in the given form."""
    return _Assembly(blueprint, form).write()


@dataclass(slots=True)
class _Stream:
    """The residual stream: its value, and what is still to be added, which the next norm does in one node."""

    value: str
    added: str | None = None


class _Assembly:
    def __init__(self, blueprint: Blueprint, form: WeightForm) -> None:
        self._blueprint = blueprint
        self._form = form
        self._graph = GraphWriter()

    def write(self) -> ModelProto:
        self._write_lengths()
        stream = _Stream(self._embed())
        for number, block in enumerate(self._blueprint.blocks):
            self._write_block(f"layers.{number}", number, block, stream)
        logits = self._head(self._normalise("final_norm", self._blueprint.final_norm, stream))
        softcap = self._blueprint.logit_softcap
        if softcap:
            cap = self._graph.constant("softcap", np.asarray([softcap], dtype=np.float32))
            small = self._graph.add("Div", [logits, cap], "logits.small")
            logits = self._graph.add("Mul", [self._graph.add("Tanh", [small], "logits.tanh"), cap], "capped")
        self._graph.add("Identity", [logits], "logits")
        return self._graph.finish(self._inputs(), self._outputs())

    def _write_lengths(self) -> None:
        """Index of the last filled row of each sequence, and columns of the mask, as the attention asks."""
        graph = self._graph
        one = graph.integers(1)
        filled = graph.add("ReduceSum", ["attention_mask", one], "filled", keepdims=0)
        last = graph.add("Sub", [filled, one], "last_row")
        graph.add("Cast", [last], "last_row.int32", to=TensorProto.INT32)
        columns = graph.add("Shape", ["attention_mask"], "columns", start=1, end=2)
        graph.add("Cast", [columns], "columns.int32", to=TensorProto.INT32)

    def _embed(self) -> str:
        blueprint, graph = self._blueprint, self._graph
        rows = self._form.table(graph, _EMBEDDING, "input_ids", blueprint.embedding)
        if blueprint.embedding_scale != 1.0:
            scale = graph.constant(
                "embedding_scale", np.asarray([blueprint.embedding_scale], dtype=np.float32)
            )
            rows = graph.add("Mul", [rows, scale], "embedding.scaled")
        if blueprint.positions is None:
            return rows
        learned = self._form.table(graph, "positions", self._positions(), blueprint.positions)
        return graph.add("Add", [rows, learned], "embedding.placed")

    def _positions(self) -> str:
        """(batch, tokens), counted as the attention counts: behind the rows that were filled before."""
        graph = self._graph
        tokens = graph.add("Shape", ["input_ids"], "tokens", start=1, end=2)
        before = graph.add("Sub", ["filled", tokens], "before")
        start = graph.add("Max", [before, graph.integers(0)], "start")
        column = graph.add("Unsqueeze", [start, graph.integers(1)], "start.column")
        zero, one = (graph.constant(f"scalar.{value}", np.asarray(value, dtype=np.int64)) for value in (0, 1))
        count = graph.add("Squeeze", [tokens], "tokens.scalar")
        steps = graph.add("Range", [zero, count, one], "steps")
        return graph.add("Add", [column, steps], "places")

    def _write_block(self, name: str, number: int, block: Block, stream: _Stream) -> None:
        normalised = self._normalise(f"{name}.attention_norm", block.attention_norm, stream)
        attended = self._attend(f"{name}.attention", number, block.attention, normalised)
        if number == len(self._blueprint.blocks) - 1:
            # From here on no token reads another, so only those whose logits are wanted go on.
            attended = self._wanted(attended, f"{name}.attended")
            stream.value = self._wanted(stream.value, f"{name}.stream")
            normalised = self._wanted(normalised, f"{name}.normalised")
        attention = self._form.linear(self._graph, f"{name}.output", attended, block.attention.output)
        self._add(f"{name}.after_attention", stream, attention, block.after_attention)
        if block.feed_forward_norm is not None:
            normalised = self._normalise(f"{name}.feed_forward_norm", block.feed_forward_norm, stream)
        feed = self._feed_forward(f"{name}.feed_forward", block.feed_forward, normalised)
        self._add(f"{name}.after_feed_forward", stream, feed, block.after_feed_forward)

    def _wanted(self, source: str, name: str) -> str:
        return self._graph.add("Gather", [source, "logit_positions"], f"{name}.wanted", axis=1)

    def _add(self, name: str, stream: _Stream, added: str, norm: Norm | None) -> None:
        if norm is not None:
            added = self._normalise(name, norm, _Stream(added))
        if stream.added is not None:
            added = self._graph.add("Add", [stream.added, added], f"{name}.both")
        stream.added = added

    def _normalise(self, name: str, norm: Norm, stream: _Stream) -> str:
        graph = self._graph
        weights = [graph.constant(f"{name}.weights", norm.weights)]
        if norm.bias is not None:
            weights.append(graph.constant(f"{name}.bias", norm.bias))
        operator = "SimplifiedLayerNormalization" if norm.bias is None else "LayerNormalization"
        if stream.added is None:
            return graph.add(operator, [stream.value, *weights], name, axis=-1, epsilon=norm.epsilon)
        names = [name, "", "", f"{name}.stream"]
        inputs = [stream.value, stream.added, *weights]
        graph.add_several(f"Skip{operator}", inputs, names, MICROSOFT, epsilon=norm.epsilon)
        stream.value, stream.added = names[3], None
        return name

    def _attend(self, name: str, number: int, attention: Attention, source: str) -> str:
        projected = self._form.linear(self._graph, f"{name}.projection", source, attention.projection)
        queries = [projected, "", ""]
        if attention.query_norm is not None and attention.key_norm is not None:
            queries = self._normalise_heads(name, attention, projected)
        state = f"{number}.key", f"{number}.value"
        tables: list[str] = []
        if attention.rotary is not None:
            rotary = self._blueprint.rotaries[attention.rotary]
            tables.append(self._graph.constant(f"rotary.{attention.rotary}.cosines", rotary.cosines))
            tables.append(self._graph.constant(f"rotary.{attention.rotary}.sines", rotary.sines))
        self._graph.add_several(
            "GroupQueryAttention",
            [*queries, *(f"past.{each}" for each in state), "last_row.int32", "columns.int32", *tables],
            [name, *(f"present.{each}" for each in state)],
            MICROSOFT,
            **_attributes(attention),
        )
        return name

    def _normalise_heads(self, name: str, attention: Attention, projected: str) -> list[str]:
        """Queries, keys and values apart, the first two with each head normalised."""
        graph = self._graph
        sizes = [heads * attention.head_size for heads in (attention.heads, *[attention.kv_heads] * 2)]
        parts = [f"{name}.queries", f"{name}.keys", f"{name}.values"]
        graph.add_several("Split", [projected, graph.integers(*sizes)], parts, axis=-1)
        for place, norm in enumerate((attention.query_norm, attention.key_norm)):
            if norm is not None:
                parts[place] = self._normalise_each(parts[place], norm, sizes[place])
        return parts

    def _normalise_each(self, source: str, norm: Norm, size: int) -> str:
        graph, head_size = self._graph, len(norm.weights)
        shape = graph.integers(0, 0, size // head_size, head_size)
        heads = graph.add("Reshape", [source, shape], f"{source}.heads")
        normalised = self._normalise(f"{source}.norm", norm, _Stream(heads))
        return graph.add("Reshape", [normalised, graph.integers(0, 0, size)], f"{source}.flat")

    def _feed_forward(self, name: str, layers: FeedForward, source: str) -> str:
        graph = self._graph
        inner = self._form.linear(graph, f"{name}.up", source, layers.up)
        if layers.gated:
            gate, value = graph.add_several(
                "Split", [inner], [f"{name}.gate", f"{name}.value"], axis=-1, num_outputs=2
            )
            inner = graph.add("Mul", [self._activate(name, layers.activation, gate), value], f"{name}.inner")
        else:
            inner = self._activate(name, layers.activation, inner)
        return self._form.linear(graph, f"{name}.down", inner, layers.down)

    def _activate(self, name: str, activation: Activation, source: str) -> str:
        graph, result = self._graph, f"{name}.active"
        match activation:
            case "silu":
                return graph.add("Mul", [source, graph.add("Sigmoid", [source], f"{name}.sigmoid")], result)
            case "gelu":
                return graph.add("Gelu", [source], result, MICROSOFT)
            case "gelu_tanh":
                return graph.add("FastGelu", [source], result, MICROSOFT)
            case "relu":
                return graph.add("Relu", [source], result)

    def _head(self, hidden: str) -> str:
        head = self._blueprint.head
        if head is not None:
            return self._form.linear(self._graph, "head", hidden, head)
        return self._form.tied_head(self._graph, "head", hidden, self._blueprint.embedding, _EMBEDDING)

    def _inputs(self) -> list[Any]:
        integers = {
            "input_ids": ["batch", "tokens"],
            "attention_mask": ["batch", "total"],
            "logit_positions": ["wanted"],
        }
        return [
            *(_value(name, TensorProto.INT64, shape) for name, shape in integers.items()),
            *(_value(f"past.{each.name}", TensorProto.FLOAT, each.shape) for each in self._state()),
        ]

    def _outputs(self) -> list[Any]:
        vocabulary = self._blueprint.embedding.shape[0]
        if self._blueprint.head is not None:
            vocabulary = self._blueprint.head.weights.shape[1]
        return [
            _value("logits", TensorProto.FLOAT, ["batch", "wanted", vocabulary]),
            *(
                _value(f"present.{each.name}", TensorProto.FLOAT, [*each.shape[:2], "present", each.shape[3]])
                for each in self._state()
            ),
        ]

    def _state(self) -> list[StateTensor]:
        return state_tensors(self._blueprint)


def _attributes(attention: Attention) -> dict[str, Any]:
    """Of GroupQueryAttention."""
    return {
        "num_heads": attention.heads,
        "kv_num_heads": attention.kv_heads,
        "scale": attention.scale,
        "softcap": attention.softcap,
        "do_rotary": int(attention.rotary is not None),
        "local_window_size": attention.window or -1,
    }


def _value(name: str, kind: int, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)
