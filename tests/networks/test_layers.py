"""Layers compute what their formulas say, by plain NumPy."""

from collections.abc import Callable
from math import erf

import numpy as np
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from edgewise.networks.builder import Builder
from edgewise.networks.convolution import conv, global_pool, upsample
from edgewise.networks.dense import BagPooling, bag, gelu, present
from edgewise.networks.initial import glorot, he, orthogonal
from edgewise.networks.sequence import attention, gru, pool_steps

RANDOM = np.random.default_rng(0)
Draw = Callable[[Builder], str]


def run(draw: Draw, **arrays: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The answer of a drawn graph, and its initializers. ``draw`` gets a builder whose inputs are named as the arrays."""
    net = Builder("layer", 4)
    for name, array in arrays.items():
        net.input(name, str(array.dtype), array.shape[1:])
    model = net.finish({"y": draw(net)})
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    got = session.run(["y"], arrays)[0]
    declared = [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim[1:]]
    assert declared == list(got.shape[1:])
    return got, {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def floats(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 10])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 7, 8, 49, 96])
def test_a_convolution_has_one_output_for_every_stride_of_input(kernel: int, stride: int, size: int) -> None:
    got, _ = run(lambda net: conv(net, "x", 2, "c", kernel=(kernel,), stride=stride), x=floats(1, 1, size))
    assert got.shape == (1, 2, -(-size // stride))


@pytest.mark.parametrize(("how", "width"), [("mean", 3), ("max", 3), ("mean+max", 6)])
def test_global_pooling_keeps_mean_and_largest_value(how: str, width: int) -> None:
    x = floats(2, 3, 4, 5)
    got, _ = run(lambda net: global_pool(net, "x", "p", how), x=x)  # type: ignore[arg-type]
    kinds = {"mean": x.mean((2, 3)), "max": x.max((2, 3))}
    np.testing.assert_allclose(got, np.concatenate([kinds[part] for part in how.split("+")], 1), rtol=1e-5, atol=1e-6)
    assert got.shape == (2, width)


def test_upsampling_doubles_every_side() -> None:
    got, stored = run(lambda net: upsample(net, "x", 2, "u"), x=(x := floats(1, 3, 4, 5)))
    expected = np.einsum("nchw,cokl->nohkwl", x, stored["u.weight"]).reshape(1, 2, 8, 10)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_gelu_is_exact_not_the_approximation_by_tanh() -> None:
    x = np.linspace(-6, 6, 200, dtype=np.float32)[None]
    got, _ = run(lambda net: gelu(net, "x", "g"), x=x)
    expected = [0.5 * v * (1 + erf(v / 2**0.5)) for v in x[0].tolist()]
    np.testing.assert_allclose(got[0], expected, atol=2e-6)


@pytest.mark.parametrize("how", ["sum", "mean", "sqrtn"])
def test_a_bag_pools_what_is_there_and_an_empty_one_is_zero(how: BagPooling) -> None:
    ids = np.array([[3, 1, 0, 0], [2, 2, 2, 4], [0, 0, 0, 0]])
    given = RANDOM.uniform(0.5, 2, ids.shape).astype(np.float32)

    def draw(net: Builder) -> str:
        weight = net.parameter("t.weight", floats(5, 6))
        weights = net.node("w", "Mul", "weights", present(net, "ids", "there"), shape=net.shape("weights"))
        return bag(net, "ids", weights, weight, "bag", how)

    got, stored = run(draw, ids=ids, weights=given)
    w = given * (ids != 0)
    total = np.einsum("nl,nld->nd", w, stored["t.weight"][ids])
    scale = {"sum": 1.0, "mean": w.sum(1)[:, None], "sqrtn": np.sqrt((w**2).sum(1))[:, None]}[how]
    np.testing.assert_allclose(got[:2], (total / np.where(np.equal(scale, 0), 1, scale))[:2], rtol=1e-4, atol=1e-6)
    assert not got[2].any()


@pytest.mark.parametrize("how", ["mean", "max", "mean+max"])
def test_pooling_over_steps_leaves_padding_out(how: str) -> None:
    x, mask = floats(3, 5, 4), np.array([[1, 1, 0, 0, 0], [1] * 5, [1, 0, 0, 0, 0]], np.float32)
    got, _ = run(lambda net: pool_steps(net, "x", how, "p", mask="mask"), x=x, mask=mask)  # type: ignore[arg-type]
    for row, (steps, counts) in enumerate(zip(x, mask, strict=True)):
        there = steps[counts > 0]
        kinds = {"mean": there.mean(0), "max": there.max(0)}
        np.testing.assert_allclose(
            got[row], np.concatenate([kinds[part] for part in how.split("+")]), rtol=1e-5, atol=1e-6
        )


def test_attention_ignores_what_the_padding_holds() -> None:
    x = floats(2, 6, 8)
    mask = np.array([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]], np.float32)
    other = x.copy()
    other[0, 3:] = 7
    one, _ = run(lambda net: attention(net, "x", 2, "a", mask="mask"), x=x, mask=mask)
    two, _ = run(lambda net: attention(net, "x", 2, "a", mask="mask"), x=other, mask=mask)
    np.testing.assert_allclose(one[0, :3], two[0, :3], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one[1], two[1], rtol=1e-5, atol=1e-6)
    short, _ = run(lambda net: attention(net, "x", 2, "a"), x=x[:1, :3])
    np.testing.assert_allclose(one[0, :3], short[0], rtol=1e-4, atol=1e-5)


def test_a_gru_both_ways_ends_where_each_way_ends() -> None:
    x = floats(2, 5, 3)
    steps, _ = run(lambda net: gru(net, "x", 4, "g", both_ways=True), x=x)
    last, _ = run(lambda net: gru(net, "x", 4, "g", both_ways=True, last=True), x=x)
    assert steps.shape == (2, 5, 8)
    np.testing.assert_allclose(last, np.concatenate([steps[:, -1, :4], steps[:, 0, 4:]], 1), rtol=1e-5, atol=1e-6)


def test_starting_values_have_the_spread_of_their_papers() -> None:
    random = np.random.default_rng(0)
    assert he(random, (64, 64, 3, 3), 576).std() == pytest.approx((2 / 576) ** 0.5, rel=0.02)
    drawn = glorot(random, (200, 300), 300, 200)
    assert drawn.std() == pytest.approx((2 / 500) ** 0.5, rel=0.02)
    assert abs(drawn).max() <= (6 / 500) ** 0.5
    turn = orthogonal(random, 40)
    np.testing.assert_allclose(turn @ turn.T, np.eye(40), atol=1e-5)
    assert he(random, (2, 3), 3).dtype == drawn.dtype == turn.dtype == np.float32
