"""How the weights of a decoder's graph are kept: 32-bit, 8-bit with dynamic activations, or blocks of bits.

Each form writes the nodes of a linear layer, of a table's look-up and of a head that is the table itself.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from training.causal_blueprint import Floats, Linear
from training.causal_writing import MICROSOFT, GraphWriter
from training.static_quantisation import quantise_columns

Integers = NDArray[np.uint8]
# Of a block of zeros: the kernels subtract what they added for zero points, rounded in units of the scale.
_ZERO_SCALE = 1e-8


class WeightForm(Protocol):
    """Writes weights in one form. name: of the layer, unique in the graph; source: what goes in."""

    def linear(self, graph: GraphWriter, name: str, source: str, layer: Linear) -> str:
        """Multiply (..., inputs) by the layer's weights and add its bias."""

    def table(self, graph: GraphWriter, name: str, ids: str, table: Floats) -> str:
        """Look rows of (rows, width) up."""

    def tied_head(self, graph: GraphWriter, name: str, source: str, table: Floats, table_name: str) -> str:
        """Multiply (batch, k, width) by the transpose of the table that was written as `table_name`."""


@dataclass(frozen=True, slots=True)
class Float32:
    """Weights as they are."""

    def linear(self, graph: GraphWriter, name: str, source: str, layer: Linear) -> str:
        """MatMul and Add."""
        weights = graph.constant(f"{name}.weights", layer.weights)
        product = graph.add("MatMul", [source, weights], f"{name}.product")
        if layer.bias is None:
            return product
        return graph.add("Add", [product, graph.constant(f"{name}.bias", layer.bias)], name)

    def table(self, graph: GraphWriter, name: str, ids: str, table: Floats) -> str:
        """Gather."""
        return graph.add("Gather", [graph.constant(f"{name}.table", table), ids], name)

    def tied_head(self, graph: GraphWriter, name: str, source: str, table: Floats, table_name: str) -> str:
        """Gemm, which alone multiplies by a transpose in place, so that the table is kept once."""
        vocabulary, width = table.shape
        rows = graph.add("Reshape", [source, graph.integers(-1, width)], f"{name}.rows")
        weights = graph.constant(f"{table_name}.table", table)
        product = graph.add("Gemm", [rows, weights], f"{name}.product", transB=1)
        sizes = graph.add("Shape", [source], f"{name}.sizes", start=0, end=2)
        shape = graph.add("Concat", [sizes, graph.integers(vocabulary)], f"{name}.shape", axis=0)
        return graph.add("Reshape", [product, shape], name)


@dataclass(frozen=True, slots=True)
class DynamicInt8:
    """Signed 8-bit weights with a scale a column; activations are scaled anew in every pass, 8-bit too.

    The scale of the activations is one for the whole pass, so what is read together tells on the result.
    """

    def linear(self, graph: GraphWriter, name: str, source: str, layer: Linear) -> str:
        """DynamicQuantizeMatMul."""
        weights, scales = quantise_columns(layer.weights)
        constants = [graph.constant(f"{name}.weights", weights), graph.constant(f"{name}.scales", scales)]
        return self._product(graph, name, [source, *constants], layer.bias)

    def table(self, graph: GraphWriter, name: str, ids: str, table: Floats) -> str:
        """Gather of 8-bit rows with a scale each."""
        return write_int8_table(graph, name, ids, table)

    def tied_head(self, graph: GraphWriter, name: str, source: str, table: Floats, table_name: str) -> str:
        """The table's rows are the head's columns; ONNX Runtime turns them once, when it opens the graph."""
        turned = graph.add("Transpose", [f"{table_name}.rows"], f"{name}.weights", perm=[1, 0])
        _, scales = quantise_columns(table.T)
        return self._product(graph, name, [source, turned, graph.constant(f"{name}.scales", scales)], None)

    def _product(self, graph: GraphWriter, name: str, inputs: list[str], bias: Floats | None) -> str:
        if bias is not None:
            inputs = [*inputs, "", graph.constant(f"{name}.bias", bias)]
        return graph.add("DynamicQuantizeMatMul", inputs, name, MICROSOFT)


@dataclass(frozen=True, slots=True)
class Blocks:
    """Unsigned weights of 4 or 8 bits, with a scale for each block of a column, and a zero point if affine.

    size: weights of a block, a power of two from 16; exact: activations stay 32-bit instead of 8-bit with a
    scale a block, which is slower.
    """

    bits: Literal[4, 8]
    size: int = 32
    affine: bool = False
    exact: bool = False

    def linear(self, graph: GraphWriter, name: str, source: str, layer: Linear) -> str:
        """MatMulNBits."""
        inputs, outputs = layer.weights.shape
        packed = self.pack(layer.weights)
        zero_points, bias = "", ""
        if packed.zero_points is not None:
            zero_points = graph.constant(f"{name}.zero_points", packed.zero_points)
        if layer.bias is not None:
            bias = graph.constant(f"{name}.bias", layer.bias)
        weights = graph.constant(f"{name}.weights", packed.weights)
        scales = graph.constant(f"{name}.scales", packed.scales)
        given = _without_empty_end([source, weights, scales, zero_points, "", bias])
        return graph.add(
            "MatMulNBits",
            given,
            name,
            MICROSOFT,
            K=inputs,
            N=outputs,
            bits=self.bits,
            block_size=self.size,
            accuracy_level=1 if self.exact else 4,
        )

    def table(self, graph: GraphWriter, name: str, ids: str, table: Floats) -> str:
        """Gather of 8-bit rows with a scale each: a look-up costs the same at 4 bits and loses more."""
        return write_int8_table(graph, name, ids, table)

    def tied_head(self, graph: GraphWriter, name: str, source: str, table: Floats, table_name: str) -> str:  # noqa: ARG002
        """A linear layer of its own."""
        return self.linear(graph, name, source, Linear(table.T))

    def pack(self, weights: Floats) -> "PackedBlocks":
        """Quantise (inputs, outputs), blocks along the inputs; the last is filled with zeros."""
        inputs, outputs = weights.shape
        count = -(-inputs // self.size)
        blocks = np.zeros((outputs, count * self.size), dtype=np.float32)
        blocks[:, :inputs] = weights.T
        blocks = blocks.reshape(outputs, count, self.size)
        scales, zero_points = self._affine(blocks) if self.affine else self._symmetric(blocks)
        # In place from here: a head's blocks alone are a copy of the embedding.
        np.divide(blocks, scales[..., None], out=blocks)
        np.add(np.round(blocks, out=blocks), zero_points[..., None], out=blocks)
        quantised = np.clip(blocks, 0, self._top, out=blocks).astype(np.uint8)
        return PackedBlocks(
            self._packed(quantised), scales, self._packed(zero_points) if self.affine else None
        )

    @property
    def _top(self) -> int:
        return (1 << self.bits) - 1

    def _symmetric(self, blocks: Floats) -> tuple[Floats, Integers]:
        """The number that is largest in size becomes the lowest integer, which has no counterpart."""
        middle = 2 ** (self.bits - 1)
        places = np.abs(blocks).argmax(axis=2)[..., None]
        extremes = np.take_along_axis(blocks, places, axis=2)[..., 0]
        scales = np.where(extremes == 0, _ZERO_SCALE, extremes / -middle).astype(np.float32)
        return scales, np.full(scales.shape, middle, dtype=np.uint8)

    def _affine(self, blocks: Floats) -> tuple[Floats, Integers]:
        low, high = np.minimum(blocks.min(axis=2), 0), np.maximum(blocks.max(axis=2), 0)
        scales = np.where(high == low, _ZERO_SCALE, (high - low) / self._top).astype(np.float32)
        return scales, np.clip(np.round(-low / scales), 0, self._top).astype(np.uint8)

    def _packed(self, values: Integers) -> Integers:
        """Two 4-bit numbers share a byte, the first in its lower half."""
        if self.bits == 8:
            return values
        if values.shape[-1] % 2:
            values = np.concatenate([values, np.zeros_like(values[..., :1])], axis=-1)
        return values[..., ::2] | (values[..., 1::2] << np.uint8(4))


@dataclass(frozen=True, slots=True)
class PackedBlocks:
    """weights: (outputs, blocks, bytes of a block); scales: (outputs, blocks); zero_points: (outputs, bytes),
    None for the middle of the range.
    """

    weights: Integers
    scales: Floats
    zero_points: Integers | None


def write_int8_table(graph: GraphWriter, name: str, ids: str, table: Floats) -> str:
    """Look rows up in a signed 8-bit table with one scale a row."""
    columns, scales = quantise_columns(table.T)
    rows = graph.add("Gather", [graph.constant(f"{name}.rows", columns.T), ids], f"{name}.int8")
    scale_table = graph.constant(f"{name}.row_scales", scales[:, None])
    scale = graph.add("Gather", [scale_table, ids], f"{name}.scale")
    floats = graph.add("Cast", [rows], f"{name}.floats", to=1)
    return graph.add("Mul", [floats, scale], name)


def _without_empty_end(inputs: list[str]) -> list[str]:
    while not inputs[-1]:
        inputs = inputs[:-1]
    return inputs
