"""Forms of weights, each layer against the plain product."""

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from embeddings.sessions import ask_exact_products
from training.causal_blueprint import Linear
from training.causal_weights import Blocks, DynamicInt8, Float32, WeightForm
from training.causal_writing import GraphWriter

CHANCE = np.random.default_rng(3)
SOURCE = CHANCE.normal(size=(2, 9, 80)).astype(np.float32)
LAYER = Linear(
    CHANCE.normal(0.2, size=(80, 33)).astype(np.float32), CHANCE.normal(size=33).astype(np.float32)
)


def run(form: WeightForm, layer: Linear) -> NDArray[np.float32]:
    graph = GraphWriter()
    name = form.linear(graph, "layer", "source", layer)
    given, result = (
        helper.make_tensor_value_info(each, TensorProto.FLOAT, ["batch", "tokens", size])
        for each, size in (("source", 80), (name, 33))
    )
    model = graph.finish([given], [result])
    options = ort.SessionOptions()
    ask_exact_products(options)
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(None, {"source": SOURCE})[0]
    return found


def relative_error(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean((found - expected) ** 2)) / expected.std())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("form", "most"),
    [
        (Float32(), 1e-6),
        (DynamicInt8(), 0.02),
        (Blocks(8), 0.02),
        (Blocks(8, affine=True, exact=True), 0.01),
        (Blocks(4), 0.12),
        (Blocks(4, affine=True), 0.12),
        (Blocks(4, 16, exact=True), 0.1),
        (Blocks(4, 128, affine=True), 0.14),
    ],
    ids=str,
)
def test_layer_is_near_the_plain_product(form: WeightForm, most: float, bias: bool) -> None:
    layer = LAYER if bias else Linear(LAYER.weights)
    expected = SOURCE @ LAYER.weights + (LAYER.bias if bias and LAYER.bias is not None else 0)
    assert relative_error(run(form, layer), expected) < most


def test_affine_blocks_lose_less_on_weights_of_one_sign() -> None:
    layer = Linear(np.abs(LAYER.weights) + 1)
    expected = SOURCE @ layer.weights
    symmetric, affine = (
        relative_error(run(Blocks(4, affine=affine, exact=True), layer), expected) for affine in (False, True)
    )
    assert affine < 0.8 * symmetric


def test_each_weight_of_a_block_is_at_most_half_a_step_off() -> None:
    packed = Blocks(8, 16).pack(LAYER.weights)
    steps = np.abs(packed.scales)
    restored = (packed.weights.astype(np.float32) - 128) * packed.scales[..., None]
    error = np.abs(restored.reshape(33, 80) - LAYER.weights.T).reshape(33, 5, 16)
    # The largest of the other sign has no integer of its own and may be a whole step off.
    assert (error <= 1.001 * steps[..., None]).all()
    assert np.mean(error <= 0.501 * steps[..., None]) > 0.97


def test_blocks_of_zeros_stay_zeros() -> None:
    zeros = Linear(np.zeros_like(LAYER.weights))
    for form in (Blocks(4), Blocks(4, affine=True), Blocks(8), DynamicInt8()):
        assert np.abs(run(form, zeros)).max() < 1e-8
