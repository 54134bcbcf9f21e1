"""Writes the nodes and constants of an ONNX graph one after the other."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, ValueInfoProto, helper

MICROSOFT = "com.microsoft"
_OPSET = 21
_IR_VERSION = 10


class GraphWriter:
    """A graph on its way. Every method that adds something returns the name of its result."""

    def __init__(self) -> None:
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(MICROSOFT, 1)]
        self._model = ModelProto(
            ir_version=_IR_VERSION,
            producer_name="footnote",
            opset_import=opsets,
            graph=GraphProto(name="decoder"),
        )
        self._constants: set[str] = set()

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Keep a constant under its name; one that is there already is taken to be the same."""
        if name not in self._constants:
            self._constants.add(name)
            # Made in place: messages of protobuf are copied when they are put together.
            tensor = self._model.graph.initializer.add()
            tensor.name, tensor.data_type = name, helper.np_dtype_to_tensor_dtype(value.dtype)
            tensor.dims.extend(value.shape)
            tensor.raw_data = value.tobytes()
        return name

    def integers(self, *values: int) -> str:
        """A constant vector of int64, such as a shape."""
        return self.constant(f"int64.{'_'.join(map(str, values))}", np.asarray(values, dtype=np.int64))

    def add(
        self, operator: str, inputs: Sequence[str], name: str, domain: str = "", **attributes: Any
    ) -> str:
        """Add a node with one result, which is called `name`."""
        return self.add_several(operator, inputs, [name], domain, **attributes)[0]

    def add_several(
        self,
        operator: str,
        inputs: Sequence[str],
        names: Sequence[str],
        domain: str = "",
        **attributes: Any,
    ) -> Sequence[str]:
        """Add a node with several results. An empty name stands for an input or a result that is left out."""
        self._model.graph.node.append(
            helper.make_node(operator, list(inputs), list(names), name=names[0], domain=domain, **attributes)
        )
        return names

    def finish(self, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]) -> ModelProto:
        """The whole model."""
        self._model.graph.input.extend(inputs)
        self._model.graph.output.extend(outputs)
        return self._model
