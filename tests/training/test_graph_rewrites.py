from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, TensorProto, helper, numpy_helper

from training.graph_rewrites import drop_identity_reshapes


def model_with_reshapes(last: list[int]) -> ModelProto:
    """(rows, 6) to (rows, 2, 3) to `last`, doubled."""
    nodes = [
        helper.make_node("Reshape", ["input", "split"], ["heads"]),
        helper.make_node("Reshape", ["heads", "last"], ["whole"]),
        helper.make_node("Add", ["whole", "whole"], ["output"]),
    ]
    shapes = {"heads": ["rows", 2, 3], "whole": ["rows", *last[1:]]}
    graph = helper.make_graph(
        nodes,
        "reshapes",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["rows", 6])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.array([-1, 2, 3]), "split"),
            numpy_helper.from_array(np.array(last), "last"),
        ],
        value_info=[helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=10)


def run(model: ModelProto, tmp_path: Path) -> np.ndarray:
    onnx.save(model, tmp_path / "model.onnx")
    session = ort.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    output: np.ndarray = session.run(None, {"input": np.arange(12, dtype=np.float32).reshape(2, 6)})[0]
    return output


def test_reshapes_that_end_where_they_began_are_removed(tmp_path: Path) -> None:
    model = model_with_reshapes([-1, 6])
    expected = run(model, tmp_path)
    drop_identity_reshapes(model)
    assert [node.op_type for node in model.graph.node] == ["Add"]
    assert len(model.graph.initializer) == 0
    np.testing.assert_array_equal(run(model, tmp_path), expected)


def test_reshape_to_another_shape_stays(tmp_path: Path) -> None:
    model = model_with_reshapes([-1, 3, 2])
    expected = run(model, tmp_path)
    drop_identity_reshapes(model)
    assert [node.op_type for node in model.graph.node] == ["Reshape", "Reshape", "Add"]
    np.testing.assert_array_equal(run(model, tmp_path), expected)
