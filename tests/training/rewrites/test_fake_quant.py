"""Rounding in training has LSQ's gradients, and becomes integers that give the same outputs."""

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from tests.training.loss_graphs import run
from tests.training.small_models import convolutions, images, model_of

from edgewise.autodiff.differentiate import differentiate
from edgewise.errors import InputError
from edgewise.graph.writer import Writer
from edgewise.training.rewrites.activation_ranges import activation_ranges
from edgewise.training.rewrites.fake_quant import FakeQuantized, fake_quantize, quantized_activations
from edgewise.training.rewrites.quantized_export import write_qdq

RNG = np.random.default_rng(7)


def quantized(*, symmetric: bool = False, nodes: tuple[str, ...] = ("*",)) -> FakeQuantized:
    model = convolutions()
    ranges = activation_ranges(model, quantized_activations(model, nodes), [{"x": images()}])
    return fake_quantize(model, ranges, nodes, symmetric=symmetric)


def without_fusion(model: object, x: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def lsq(x: np.ndarray, s: np.ndarray, low: int, high: int, dy: np.ndarray, count: int) -> tuple[np.ndarray, ...]:
    """Equations 1 to 3 and 5 of the paper; ``s`` broadcasts against ``x``."""
    v = x / s
    inside = (v > low) & (v < high)
    y = np.round(np.clip(v, low, high)) * s
    slope = np.where(inside, np.round(v) - v, np.clip(v, low, high))
    axes = tuple(at for at in range(x.ndim) if s.ndim == 0 or s.shape[at] == 1)
    return y, dy * inside, (dy * slope).sum(axes) / np.sqrt(count * high)


@pytest.mark.parametrize("element", [TensorProto.FLOAT, TensorProto.DOUBLE])
@pytest.mark.parametrize("symmetric", [False, True])
def test_values_and_gradients_are_those_of_the_paper(element: int, symmetric: bool) -> None:
    kind = "float32" if element == TensorProto.FLOAT else "float64"
    x, weight = RNG.standard_normal((7, 4)).astype(kind), RNG.standard_normal((4, 3)).astype(kind)
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"], "mm")], {"w": weight}, ["n", 4], element)
    found = fake_quantize(model, {"x": (-1.0, 1.5)}, symmetric=symmetric)
    by_value = {q.value: q for q in found.quantizers}
    assert found.scales == tuple(q.scale for q in found.quantizers)
    # Weights reach past their limits once the scale has shrunk in training.
    w = Writer(found.model)
    step_w = w.array(by_value["w"].scale) * 0.6
    step_x = w.array(by_value["x"].scale)
    for tensor in [t for t in w.graph.initializer if t.name == by_value["w"].scale]:
        w.graph.initializer.remove(tensor)
    w.store(by_value["w"].scale, step_w.astype(kind))
    probe = RNG.standard_normal((7, 3)).astype(kind)
    total = w.node("ReduceSum", w.node("Mul", "y", w.constant(probe, kind)), keepdims=0)
    w.infer()
    wanted = ["x", "w", by_value["x"].scale, by_value["w"].scale]
    gradients = differentiate(w, total, wanted).gradients
    for at, name in enumerate(wanted):
        w.output(f"g{at}", gradients[name], kind, None)
    y, dx, dw, dsx, dsw = run(w.model, {"x": x}, ["y", "g0", "g1", "g2", "g3"])
    qx, qw = by_value["x"], by_value["w"]
    assert (qx.limits[1] - qx.limits[0], qw.limits, qw.axis) == (255, (-127, 127), 1)
    rounded_x, _, _ = lsq(x, np.asarray(step_x), *qx.limits, x, 4)
    rounded_w, into_w, into_step_w = lsq(weight, step_w[None, :], *qw.limits, rounded_x.T @ probe, 4)
    _, into_x, into_step_x = lsq(x, np.asarray(step_x), *qx.limits, probe @ rounded_w.T, 4)
    for got, expected in (
        (y, rounded_x @ rounded_w),
        (dx, into_x),
        (dw, into_w),
        (dsx, into_step_x),
        (dsw, into_step_w),
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("symmetric", [False, True])
def test_rounding_starts_near_the_model_and_the_export_gives_its_very_outputs(symmetric: bool) -> None:
    found, x = quantized(symmetric=symmetric), images(16, 8)
    plain, rounded = (without_fusion(model, x) for model in (convolutions(), found.model))
    assert 0 < np.abs(plain - rounded).max() < 0.1 * np.abs(plain).max()
    exported = write_qdq(found.model, found.quantizers)
    np.testing.assert_array_equal(without_fusion(exported, x), rounded)
    # What the runtime fuses may fall on the other side of a half: one step.
    np.testing.assert_allclose(run(exported, {"x": x})[0], rounded, atol=0.01 * np.abs(rounded).max())
    stored = {tensor.data_type for tensor in exported.graph.initializer if len(tensor.dims) > 1}
    assert stored == {TensorProto.INT8}
    kinds = {node.op_type for node in exported.graph.node}
    assert "Round" not in kinds
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds


@pytest.mark.parametrize(
    ("inputs", "turned", "axis"),
    [
        (["w", "x"], {}, 0), (["w", "x"], {"transA": 1}, 1), (["w", "x"], {"transB": 1}, 0),
        (["x", "w"], {}, 1), (["x", "w"], {"transB": 1}, 0), (["x", "w"], {"transA": 1}, 1),
    ],
)  # fmt: skip
def test_each_output_of_a_gemm_has_its_step_however_its_sides_lie(
    inputs: list[str], turned: dict[str, int], axis: int
) -> None:
    stored = {"w": RNG.standard_normal((4, 4)).astype(np.float32)}
    model = model_of([helper.make_node("Gemm", inputs, ["y"], "g", **turned)], stored, [4, 4])
    found = fake_quantize(model, {"x": (-1.0, 1.0)})
    assert {q.value: q.axis for q in found.quantizers} == {"w": axis, "x": None}


def test_trained_values_take_the_place_of_the_stored_ones() -> None:
    """Weights beyond the reach of their steps end at the last one."""
    found, x = quantized(), images()
    new = {"conv.b": RNG.standard_normal(4).astype(np.float32)}
    new |= {
        name: np.asarray(RNG.random(Writer(found.model).array(name).shape) * 0.02 + 0.005, np.float32)
        for name in found.scales
    }
    trained = Writer(found.model)
    for tensor in [t for t in trained.graph.initializer if t.name in new]:
        trained.graph.initializer.remove(tensor)
    for name, value in new.items():
        trained.store(name, value)
    exported = write_qdq(found.model, found.quantizers, new)
    np.testing.assert_array_equal(without_fusion(exported, x), without_fusion(trained.model, x))


def test_a_value_or_weight_that_two_nodes_read_is_rounded_once() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "m1"),
        helper.make_node("MatMul", ["x", "w"], ["b"], "m2"),
        helper.make_node("Add", ["a", "b"], ["y"], "add"),
    ]
    found = fake_quantize(model_of(nodes, {"w": np.eye(4, dtype=np.float32)}, ["n", 4]), {"x": (0, 1)})
    assert sorted(q.value for q in found.quantizers) == ["w", "x"]


@pytest.mark.parametrize(("seen", "zero"), [((1.0, 3.0), 0), ((-3.0, -1.0), 254)])
def test_the_range_of_an_activation_reaches_to_zero(seen: tuple[float, float], zero: int) -> None:
    """What was seen on one side only is rounded in steps that count from 0, and its far end is not cut off."""
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": np.eye(2, dtype=np.float32)}, ["n", 2])
    found = fake_quantize(model, {"x": seen})
    (quantizer,) = (q for q in found.quantizers if q.value == "x")
    assert quantizer.zero_point == zero
    x = np.array([seen], np.float32)
    np.testing.assert_allclose(run(found.model, {"x": x})[0], x, atol=3 / 255)


def test_each_output_channel_has_a_step_of_its_own_where_no_group_shares_it() -> None:
    weights = {"conv": (4, 3, 3, 3), "up": (4, 6, 2, 2), "groups": (6, 2, 2, 2)}
    nodes = [
        helper.make_node("Conv", ["x", "conv"], ["a"]), helper.make_node("ConvTranspose", ["a", "up"], ["b"]),
        helper.make_node("ConvTranspose", ["b", "groups"], ["y"], group=2),
    ]  # fmt: skip
    stored = {name: RNG.standard_normal(shape).astype(np.float32) for name, shape in weights.items()}
    found = fake_quantize(model_of(nodes, stored, ["n", 3, 8, 8]), dict.fromkeys("xab", (-9.0, 9.0)))
    assert {q.value: q.axis for q in found.quantizers if q.value in weights} == {"conv": 0, "up": 1, "groups": None}


def test_nodes_are_chosen_and_missing_ranges_named() -> None:
    found = quantized(nodes=("conv", "mm"))
    assert sorted(q.value for q in found.quantizers) == ["conv.w", "h", "mm.w", "x"]
    with pytest.raises(InputError, match="no finite range for b, d"):
        fake_quantize(convolutions(), {"x": (0, 1), "b": (0, np.nan)}, ["conv", "dw", "grouped"])
    with pytest.raises(InputError, match="'cnov'; near are: conv"):
        fake_quantize(convolutions(), {}, ["cnov"])
    with pytest.raises(InputError, match="rounded"):
        write_qdq(convolutions(), found.quantizers)


def test_ranges_cover_all_batches_or_leave_outliers_out() -> None:
    model = convolutions()
    low, high = activation_ranges(model, ["x"], [{"x": images()}, {"x": images() * 2}])["x"]
    assert (low, high) == (float(images().min() * 2), float(images().max() * 2))
    inner = activation_ranges(model, ["x", "b"], [{"x": images()}], share=0.9)
    assert inner["x"][1] < images().max()
    assert inner["b"][0] == 0
    with pytest.raises(InputError, match="nowhere"):
        activation_ranges(model, ["nowhere"], [])
    with pytest.raises(InputError, match="no batch"):
        activation_ranges(model, ["x"], [])
