from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from embeddings.sessions import open_session
from training.static_quantisation import Feed, quantise_static

WORDS, CHANNELS, HIDDEN = 50, 16, 32
OUTLIER = 3


def write_graph(path: Path, outlier: float = 1.0) -> Path:
    """A table, two layers that read the same input, GELU and a third layer; channel OUTLIER stands out."""
    generator = np.random.default_rng(5)
    table = generator.standard_normal((WORDS, CHANNELS)).astype(np.float32)
    table[7] /= 1000
    gain = np.ones(CHANNELS, dtype=np.float32)
    gain[OUTLIER] = outlier
    constants = {
        "table": table,
        "gain": gain,
        "first": generator.standard_normal((CHANNELS, HIDDEN)).astype(np.float32),
        "first_bias": generator.standard_normal(HIDDEN).astype(np.float32),
        "second": generator.standard_normal((CHANNELS, HIDDEN)).astype(np.float32),
        "third": generator.standard_normal((HIDDEN, CHANNELS)).astype(np.float32),
    }
    constants["first"][OUTLIER] /= outlier
    constants["second"][OUTLIER] /= outlier
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["found"]),
        helper.make_node("Mul", ["found", "gain"], ["states"]),
        helper.make_node("MatMul", ["states", "first"], ["product"]),
        helper.make_node("Add", ["product", "first_bias"], ["biased"]),
        helper.make_node("MatMul", ["states", "second"], ["other"]),
        helper.make_node("Add", ["biased", "other"], ["sum"]),
        helper.make_node("Gelu", ["sum"], ["active"]),
        helper.make_node("MatMul", ["active", "third"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["result"]),
    ]
    constants["last"] = np.array([-1])
    shape = ["batch", "length"]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(n, TensorProto.INT64, shape) for n in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, [*shape, CHANNELS])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=10), path)
    return path


def feed(*rows: list[int]) -> Feed:
    longest = max(len(row) for row in rows)
    ids = np.array([row + [0] * (longest - len(row)) for row in rows])
    mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


CALIBRATION = [feed(list(range(1, WORDS)))]


def run(path: Path, inputs: Feed) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = open_session(path, True).run(None, inputs)[0]
    return rows


def quantised(tmp_path: Path, outlier: float = 1.0, calibration: list[Feed] = CALIBRATION) -> Path:
    target = tmp_path / "int8.onnx"
    quantise_static(write_graph(tmp_path / "fp32.onnx", outlier), target, calibration)
    return target


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def noise(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return float(((found - expected) ** 2).mean() / expected.var())


@pytest.mark.parametrize("outlier", [1.0, 100.0])
def test_int8_graph_says_what_the_fp32_graph_says(tmp_path: Path, outlier: float) -> None:
    int8 = quantised(tmp_path, outlier)
    assert noise(run(int8, CALIBRATION[0]), run(tmp_path / "fp32.onnx", CALIBRATION[0])) < 1e-3


def test_channel_that_stands_out_is_balanced_and_an_even_input_is_not(tmp_path: Path) -> None:
    even, uneven = tmp_path / "even", tmp_path / "uneven"
    even.mkdir(), uneven.mkdir()
    # Besides the balance: a looked-up row times its scale, times the gain, and the result times the mask.
    assert operators(quantised(even))["Mul"] == 3
    assert operators(quantised(uneven, outlier=100.0))["Mul"] == 4


def test_layers_of_one_input_quantise_it_once_and_keep_their_biases(tmp_path: Path) -> None:
    found = operators(quantised(tmp_path))
    assert found["MatMul"] == 0
    assert found["MatMulIntegerToFloat"] == 3
    assert found["QuantizeLinear"] == 2
    assert found["Add"] == 1  # that of the two layers; the bias went into the product


def test_vector_does_not_depend_on_its_batch_neighbours(tmp_path: Path) -> None:
    int8 = quantised(tmp_path)
    alone = run(int8, feed([4, 5, 6]))
    among = run(int8, feed([4, 5, 6], [30, 31, 32, 33], [OUTLIER] * 4))
    np.testing.assert_array_equal(alone[0], among[0, :3])


def test_padding_is_not_calibrated_on(tmp_path: Path) -> None:
    # Word 0 is padding; here it is a thousand times as large as any other.
    with_padding = [feed(list(range(1, WORDS)), [1])]
    source = write_graph(tmp_path / "fp32.onnx")
    model = onnx.load(source)
    table = next(constant for constant in model.graph.initializer if constant.name == "table")
    values = numpy_helper.to_array(table).copy()
    values[0] = 1000
    table.CopyFrom(numpy_helper.from_array(values, "table"))
    onnx.save(model, source)
    quantise_static(source, tmp_path / "int8.onnx", with_padding)
    assert noise(run(tmp_path / "int8.onnx", CALIBRATION[0]), run(source, CALIBRATION[0])) < 1e-3


def test_small_rows_of_a_table_keep_their_precision(tmp_path: Path) -> None:
    graph = onnx.load(quantised(tmp_path)).graph
    constants = {constant.name: numpy_helper.to_array(constant) for constant in graph.initializer}
    original = onnx.load(tmp_path / "fp32.onnx").graph.initializer
    table = next(numpy_helper.to_array(constant) for constant in original if constant.name == "table")
    found = constants["found.table"] * constants["found.table_scale"]
    assert np.abs(found[7] - table[7]).max() <= np.abs(table[7]).max() / 250


def test_fp32_weights_are_gone_from_the_file(tmp_path: Path) -> None:
    names = {constant.name for constant in onnx.load(quantised(tmp_path)).graph.initializer}
    assert not names & {"table", "first", "second", "third"}
