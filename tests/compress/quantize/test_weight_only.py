"""Weights in fewer bits: the stored integers stand for the weights, and everything else stays as it was."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.compress.quantize.small import case, decibels, fused, run, weight

from edgewise.compress.quantize.static import Static
from edgewise.compress.quantize.weight_only import Blocks, Storage
from edgewise.errors import UnsupportedError
from edgewise.graph.walk import is_default_domain, nodes


@pytest.mark.parametrize(("bits", "least"), [(8, 30), (4, 10)])
@pytest.mark.parametrize("name", ["cnn", "gru", "encoder of tokens", "text-bag", "unet", "autoencoder"])
def test_storage_keeps_answers_in_standard_operators_and_fewer_bytes(name: str, bits: int, least: float) -> None:
    model, samples, fed = case(name, 16)
    small = Storage(bits=bits).apply(model, samples)  # type: ignore[arg-type]
    onnx.checker.check_model(small, full_check=True)
    assert all(is_default_domain(node.domain) for node in nodes(small))
    assert decibels(run(model, fed, samples.output), run(small, fed, samples.output)) > least
    assert small.ByteSize() < (0.42 if bits == 8 else 0.33) * model.ByteSize()


def test_storage_costs_a_run_nothing_where_weights_are_folded_when_it_opens() -> None:
    model, samples, _ = case("cnn", 8)
    for bits in (4, 8):
        assert fused(Storage(bits=bits).apply(model, samples)) == fused(model)  # type: ignore[arg-type]
    assert fused(Storage(dequantized=True).apply(model, samples))["DequantizeLinear"] == 4


def test_storage_takes_what_static_quantization_leaves() -> None:
    model, samples, fed = case("unet", 16)
    static = Static(count=16, rest=False).apply(model, samples)
    small = Static(count=16).apply(model, samples)
    assert small == Storage().apply(static, samples)
    assert small.ByteSize() < static.ByteSize() - 10_000
    assert fused(small) == fused(static)
    assert decibels(run(static, fed), run(small, fed)) > 30


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("block", [16, 32, 64, 128])
@pytest.mark.parametrize("symmetric", [False, True])
def test_blocks_are_what_onnxruntime_unpacks(bits: int, block: int, symmetric: bool) -> None:
    """The product with the unit matrix gives the weight back: its error is at most half a step of its block."""
    inner, outer = 40, 6  # no multiple of any block
    w = weight(inner, outer)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"], "product")], "g",
        [onnx.helper.make_tensor_value_info("x", 1, ["n", inner])], [onnx.helper.make_tensor_value_info("y", 1, ["n", outer])],
        [numpy_helper.from_array(w, "w")],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    _, samples, _ = case("cnn", 4)
    small = Blocks(bits=bits, block=block, symmetric=symmetric).apply(model, samples)  # type: ignore[arg-type]
    assert "MatMulNBits" in {node.op_type for node in small.graph.node}
    given = run(small, {"x": np.eye(inner, dtype=np.float32)})
    for at in range(0, inner, block):
        part = w[at : at + block]
        low, high = np.minimum(part.min(0), 0), np.maximum(part.max(0), 0)
        step = np.abs(part).max(0) / (1 << (bits - 1)) if symmetric else (high - low) / ((1 << bits) - 1)
        # The counterpart of a symmetric block's extreme is cut off by one step at most.
        assert (np.abs(given[at : at + block] - part) <= (1.01 if symmetric else 0.51) * step + 1e-6).all()


@pytest.mark.parametrize(("bits", "least"), [(8, 38), (4, 10)])
@pytest.mark.parametrize("name", ["encoder", "encoder of tokens"])
def test_blocks_take_products_and_gemms(name: str, bits: int, least: float) -> None:
    model, samples, fed = case(name, 16)
    small = Blocks(bits=bits).apply(model, samples)  # type: ignore[arg-type]
    assert fused(small)["MatMulNBits"] >= 9
    assert decibels(run(model, fed), run(small, fed)) > least


def test_what_they_do_not_have_is_refused() -> None:
    model, samples, _ = case("unet", 4)
    with pytest.raises(UnsupportedError, match="no MatMul or Gemm"):
        Blocks().apply(model, samples)
    with pytest.raises(UnsupportedError, match="10000000 or more values"):
        Storage(least=10_000_000).apply(model, samples)
