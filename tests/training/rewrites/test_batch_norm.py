"""BatchNormalization in training form gives what torch's does, and says which buffers it moves."""

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from tests.training.loss_graphs import run

from edgewise.autodiff.differentiate import differentiate
from edgewise.errors import InputError, UnsupportedError
from edgewise.graph.writer import Writer
from edgewise.training.rewrites.batch_norm import train_batch_norm

RNG = np.random.default_rng(4)
X = RNG.standard_normal((6, 3, 4, 2)).astype(np.float32)
SHARES = {name: RNG.random(3).astype(np.float32) + 0.5 for name in ("scale", "bias", "mean", "var")}


def norms(count: int = 1, *, shared: bool = False) -> ModelProto:
    stored, nodes = [], []
    for at in range(count):
        own = [f"{name}{0 if shared else at}" for name in SHARES]
        if at == 0 or not shared:
            stored += [numpy_helper.from_array(value, name) for name, value in zip(own, SHARES.values(), strict=True)]
        nodes.append(
            helper.make_node(
                "BatchNormalization",
                [f"x{at}" if at else "x", *own],
                [f"x{at + 1}"],
                f"bn{at}",
                momentum=0.8,
                epsilon=1e-3,
            )
        )
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 4, 2])],
        [helper.make_tensor_value_info(f"x{count}", TensorProto.FLOAT, ["n", 3, 4, 2])], stored,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


def lowered(model: ModelProto, buffers: dict[str, str]) -> Writer:
    """The stock runtime has no training-mode BatchNormalization: differentiating writes it out."""
    w = Writer(model)
    total = w.node("ReduceSum", w.node("Mul", "x1", "x1"), keepdims=0)
    w.infer()
    gradients = differentiate(w, total, ["x", "scale0", "bias0"]).gradients
    for name, value in (gradients | {f"next_{k}": v for k, v in buffers.items()}).items():
        w.output(f"out_{name}", value, "float32", None)
    return w


@pytest.mark.parametrize("momentum", [None, 0.5])
def test_statistics_are_the_batches_and_averages_move_as_onnx_says(momentum: float | None) -> None:
    found = train_batch_norm(norms(), momentum=momentum)
    assert list(found.buffers) == ["mean0", "var0"]
    names = ["x1", "out_next_mean0", "out_next_var0"]
    y, mean, var = run(lowered(found.model, found.buffers).model, {"x": X}, names)
    own_mean, own_var = X.mean((0, 2, 3)), X.var((0, 2, 3))
    column = lambda v: v.reshape(1, 3, 1, 1)  # noqa: E731
    expected = (X - column(own_mean)) / np.sqrt(column(own_var) + 1e-3) * column(SHARES["scale"]) + column(
        SHARES["bias"]
    )
    np.testing.assert_allclose(y, expected, atol=1e-5)
    keep = momentum or 0.8
    np.testing.assert_allclose(mean, SHARES["mean"] * keep + own_mean * (1 - keep), atol=1e-6)
    np.testing.assert_allclose(var, SHARES["var"] * keep + own_var * (1 - keep), atol=1e-6)


def test_torch_agrees_on_outputs_gradients_and_means() -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    found = train_batch_norm(norms())
    w = lowered(found.model, found.buffers)
    y, dx, scale, bias, mean = run(w.model, {"x": X}, ["x1", "out_x", "out_scale0", "out_bias0", "out_next_mean0"])
    x = torch.tensor(X, requires_grad=True)
    p = {name: torch.tensor(value) for name, value in SHARES.items()}
    p["scale"].requires_grad_()
    p["bias"].requires_grad_()
    out = torch.nn.functional.batch_norm(
        x, p["mean"], p["var"], p["scale"], p["bias"], training=True, momentum=0.2, eps=1e-3
    )
    (out * out).sum().backward()
    for got, expected in (
        (y, out.detach()),
        (dx, x.grad),
        (scale, p["scale"].grad),
        (bias, p["bias"].grad),
        (mean, p["mean"]),
    ):
        np.testing.assert_allclose(got, expected.numpy(), rtol=1e-4, atol=1e-4)


def test_nodes_that_are_not_chosen_keep_their_averages() -> None:
    found = train_batch_norm(norms(2), ["bn1"])
    assert list(found.buffers) == ["mean1", "var1"]
    assert [len(node.output) for node in found.model.graph.node] == [1, 3]
    assert train_batch_norm(norms(2), []).buffers == {}
    with pytest.raises(InputError, match=r"bn7.*bn0"):
        train_batch_norm(norms(), ["bn7"])


def test_averages_of_two_nodes_or_computed_ones_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"bn0: 'mean0' is shared.*bn1"):
        train_batch_norm(norms(2, shared=True))
    computed = norms()
    computed.graph.node.insert(0, helper.make_node("Identity", ["mean0"], ["m"]))
    computed.graph.node[1].input[3] = "m"
    with pytest.raises(UnsupportedError, match="bn0: 'm' is computed"):
        train_batch_norm(computed)
