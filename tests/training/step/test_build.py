"""A training step is one graph: what it computes, what it keeps in place, and what it refuses."""

from collections.abc import Mapping

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx import ModelProto, helper
from tests.networks.cases import CASES, feeds

from edgewise.errors import InputError, UnsupportedError
from edgewise.networks.inputs import ImageInput
from edgewise.networks.parameters import parameters
from edgewise.networks.registry import build
from edgewise.networks.residual import ResNetConfig
from edgewise.training.losses.registry import CrossEntropy, MeanSquaredError, Sum
from edgewise.training.rewrites.batch_norm import train_batch_norm
from edgewise.training.run.step_file import TrainingStep
from edgewise.training.run.stepper import Stepper
from edgewise.training.step.build import build_step
from edgewise.training.step.optimizers import SGD, Adam, AdamW, Optimizer
from edgewise.training.step.processor import block_size

CLASSES, SAMPLES = 4, 8
Arrays = dict[str, np.ndarray]


def resnet() -> tuple[ModelProto, list[str]]:
    model = build("resnet8", ResNetConfig(ImageInput(12, 12, 3), classes=CLASSES), seed=3)
    return model, list(parameters(model))


def step_of(optimizer: Optimizer, **choices: object) -> TrainingStep:
    model, names = resnet()
    ready = train_batch_norm(model)
    return build_step(ready.model, CrossEntropy(), optimizer, names, buffers=ready.buffers, inference=model, **choices)  # type: ignore[arg-type]


def batch(seed: int = 0, samples: int = SAMPLES) -> Arrays:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, 3, 12, 12)).astype(np.float32)
    return {"x": x, "target": rng.integers(0, CLASSES, samples)}


def linear(dtype: type[np.floating] = np.float32) -> ModelProto:
    """y = x w + b, with nothing that mixes samples."""
    rng = np.random.default_rng(1)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    stored = [
        onnx.numpy_helper.from_array(rng.normal(size=(3, 2)).astype(dtype), "w"),
        onnx.numpy_helper.from_array(rng.normal(size=2).astype(dtype), "b"),
    ]
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], "layer")
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", kind, ["n", 3])],
        [helper.make_tensor_value_info("y", kind, ["n", 2])], stored,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def gradients_of(x: np.ndarray, y: np.ndarray, w: np.ndarray, b: np.ndarray) -> Arrays:
    """Of the mean squared error, by hand."""
    error = 2 * (x @ w + b - y) / y.size
    return {"w": x.T @ error, "b": error.sum(axis=0)}


def reference(optimizer: Optimizer, steps: list[Arrays], start: Arrays, rate: float, decay: float) -> Arrays:
    """What the papers say, in NumPy and float64."""
    values = {name: array.astype(np.float64) for name, array in start.items()}
    memory: dict[str, list[np.ndarray]] = {name: [np.zeros_like(v), np.zeros_like(v)] for name, v in values.items()}
    for t, data in enumerate(steps, 1):
        found = gradients_of(data["x"], data["target"], values["w"], values["b"])
        for name, gradient in found.items():
            m, v = memory[name]
            value = values[name]
            decoupled = isinstance(optimizer, AdamW)
            g = gradient if decoupled else gradient + decay * value
            if isinstance(optimizer, SGD):
                m = optimizer.momentum * m + g
                way = g + optimizer.momentum * m if optimizer.nesterov else m
                value = value - rate * way
            else:
                if decoupled:
                    value = value * (1 - rate * decay)
                m = optimizer.beta1 * m + (1 - optimizer.beta1) * g
                v = optimizer.beta2 * v + (1 - optimizer.beta2) * g * g
                steady = m / (1 - optimizer.beta1**t)
                value = value - rate * steady / (np.sqrt(v / (1 - optimizer.beta2**t)) + optimizer.epsilon)
            values[name], memory[name] = value, [m, v]
    return values


@pytest.mark.parametrize(
    "optimizer",
    [SGD(0.1), SGD(0.1, momentum=0.0), SGD(0.1, nesterov=True), Adam(0.05), AdamW(0.05), Adam(0.05, epsilon=0.3)],
    ids=["momentum", "plain", "nesterov", "adam", "adamw", "adam with a large epsilon"],
)
def test_an_optimiser_is_the_one_of_its_paper(optimizer: Optimizer) -> None:
    model = linear(np.float64)
    step = build_step(model, MeanSquaredError(), optimizer, ["w", "b"])
    stepper = Stepper(step, threads=1)
    rng = np.random.default_rng(5)
    data = [{"x": rng.normal(size=(6, 3)), "target": rng.normal(size=(6, 2))} for _ in range(7)]
    for one in data:
        stepper.step(one, {"weight_decay": 0.03})
    start = {name: step.initial[name] for name in ("w", "b")}
    expected = reference(optimizer, data, start, optimizer.rate, 0.03)
    for name, value in expected.items():
        # The scalars of a step are float32.
        np.testing.assert_allclose(stepper.state()[name], value, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
def test_a_negative_rate_or_decay_is_refused(kind: type[SGD] | type[Adam] | type[AdamW]) -> None:
    for wrong in ({"rate": -0.1}, {"decay": -0.1}, {"rate": float("nan")}):
        with pytest.raises(InputError, match="have to be 0 or more"):
            kind(**wrong)


@pytest.mark.parametrize("most", [1e9, 0.3])
def test_adding_up_batches_is_one_large_batch(most: float) -> None:
    """Clipped once, by the length of the whole gradient."""
    whole, parts = (
        build_step(linear(), MeanSquaredError(), SGD(0.1), ["w", "b"], accumulates=count) for count in (1, 3)
    )
    rng = np.random.default_rng(2)
    data = {"x": rng.normal(size=(12, 3)).astype(np.float32), "target": rng.normal(size=(12, 2)).astype(np.float32)}
    one, three = Stepper(whole, threads=1), Stepper(parts, threads=1)
    for _ in range(4):
        one.step(data, {"max_norm": most})
        for at in range(0, 12, 4):
            three.step({name: array[at : at + 4] for name, array in data.items()}, {"max_norm": most})
    assert three.in_place
    for name in ("w", "b"):
        np.testing.assert_allclose(three.state()[name], one.state()[name], rtol=1e-5, atol=1e-6)


def test_each_sample_is_clipped_by_itself() -> None:
    """Abadi et al. 2016: the mean of clipped per-example gradients, which a clipped mean is not."""
    step = build_step(linear(), MeanSquaredError(), SGD(1.0, momentum=0.0), ["w", "b"], accumulates=5, clip_each=True)
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(5, 3)).astype(np.float32), 10 * rng.normal(size=(5, 2)).astype(np.float32)
    stepper = Stepper(step, threads=1)
    start = {name: array.astype(np.float64) for name, array in step.initial.items()}
    expected = {name: np.zeros_like(start[name]) for name in ("w", "b")}
    most = 0.5
    for at in range(5):
        found = gradients_of(x[at : at + 1], y[at : at + 1], start["w"], start["b"])
        norm = np.sqrt(sum((g**2).sum() for g in found.values()))
        for name, gradient in found.items():
            expected[name] += gradient * min(1.0, most / norm) / 5
        stepper.step({"x": x[at : at + 1], "target": y[at : at + 1]}, {"max_norm": most})
    for name in ("w", "b"):
        np.testing.assert_allclose(start[name] - stepper.state()[name], expected[name], rtol=1e-4, atol=1e-6)


def test_clipping_keeps_the_direction_and_limits_the_length() -> None:
    data = {"x": np.full((2, 3), 5, np.float32), "target": np.full((2, 2), -40, np.float32)}
    step = build_step(linear(), MeanSquaredError(), SGD(1.0, momentum=0.0), ["w", "b"])
    free, held = Stepper(step, threads=1), Stepper(step, threads=1)
    norm = free.step(data).grad_norm
    assert held.step(data, {"max_norm": 0.25}).grad_norm == norm
    moved = [np.concatenate([(s.state()[n] - step.initial[n]).ravel() for n in ("w", "b")]) for s in (free, held)]
    assert np.linalg.norm(moved[1]) == pytest.approx(0.25, rel=1e-4)
    np.testing.assert_allclose(moved[1] / 0.25, moved[0] / np.linalg.norm(moved[0]), rtol=1e-3, atol=1e-5)


def run(step: TrainingStep, count: int = 3) -> tuple[list[float], Mapping[str, np.ndarray]]:
    stepper = Stepper(step, threads=1)
    losses = [stepper.step(batch(at)).loss for at in range(count)]
    assert stepper.in_place, "states are written over themselves"
    return losses, stepper.state()


def test_the_number_of_recomputed_segments_changes_no_bit() -> None:
    two, four = run(step_of(Adam(), segments=2)), run(step_of(Adam(), segments=4))
    assert two[0] == four[0]
    for name, array in two[1].items():
        np.testing.assert_array_equal(array, four[1][name])


@pytest.mark.parametrize("case", [case for case in CASES if "open length" not in case])
def test_every_network_learns_the_same_with_recomputation(case: str) -> None:
    name, config, outputs = CASES[case]
    model = build(name, config, seed=3)
    ready = train_batch_norm(model)
    loss = Sum(tuple((1.0, MeanSquaredError(output=output, target=f"{output}/wanted")) for output in outputs))
    fed, random = feeds(model, 4), np.random.default_rng(0)
    fed |= {f"{k}/wanted": random.normal(size=(4, *dims)).astype(np.float32) for k, dims in outputs.items()}
    losses = []
    for segments in (1, 3):
        step = build_step(
            ready.model, loss, SGD(0.01), list(parameters(model)), buffers=ready.buffers, inference=model, segments=segments
        )  # fmt: skip
        again = b"/again" in step.step
        assert again == (segments > 1), "values are computed again where that was asked for, and only there"
        stepper = Stepper(step, threads=1)
        losses.append([stepper.step(fed).loss for _ in range(3)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_blocked_layout_learns_the_same() -> None:
    block = block_size()
    if not block:
        pytest.skip("onnxruntime has no blocked layout on this processor")
    plain, fast = run(step_of(SGD(0.01))), run(step_of(SGD(0.01), batch=SAMPLES, block=block))
    np.testing.assert_allclose(plain[0], fast[0], rtol=1e-4)
    domains = {node.domain for node in onnx.load_from_string(step_of(SGD(0.01)).step).graph.node}
    assert domains <= {"", "ai.onnx"}, "a portable step has standard operators only"


def test_frozen_parameters_stay_and_cost_nothing() -> None:
    model, names = resnet()
    head = [name for name in names if name.startswith("head")]
    whole = build_step(model, CrossEntropy(), SGD(0.1), names)
    step = build_step(model, CrossEntropy(), SGD(0.1), head)
    assert {state.of for state in step.spec.states if state.role == "parameter"} == set(head)
    count = {key: len(onnx.load_from_string(s.step).graph.node) for key, s in (("all", whole), ("head", step))}
    assert count["head"] < 0.5 * count["all"], "nothing below the head is differentiated"


def test_what_the_loss_does_not_see_is_refused_by_name() -> None:
    model, names = resnet()
    with pytest.raises(InputError, match="no initializer nothing"):
        build_step(model, CrossEntropy(), SGD(), [*names, "nothing"])
    w = onnx.numpy_helper.from_array(np.ones(3, np.float32), "idle")
    model.graph.initializer.append(w)
    with pytest.raises(InputError, match="does not depend on idle"):
        build_step(model, CrossEntropy(), SGD(), [*names, "idle"])


def test_every_node_without_a_gradient_is_named_before_anything_runs() -> None:
    model = linear()
    nodes = list(model.graph.node)
    del model.graph.node[:]
    nodes[0].output[0] = "h"
    model.graph.node.extend(
        [*nodes, helper.make_node("Det", ["square"], ["d"], "first"), helper.make_node("Add", ["h", "d"], ["y"], "sum")]
    )
    model.graph.node.insert(1, helper.make_node("Gemm", ["w", "w"], ["square"], "second", transA=1))
    with pytest.raises(UnsupportedError, match=r"Det \(first\)") as caught:
        build_step(model, MeanSquaredError(), SGD(), ["w", "b"])
    assert caught.value.details["nodes"][0]["operator"] == "Det"


def test_a_fixed_batch_is_one_everywhere() -> None:
    spec = step_of(SGD(), batch=SAMPLES).spec
    assert {value.shape[0] for value in (*spec.inputs, *spec.targets, *spec.outputs, *spec.forward_outputs)} == {
        SAMPLES
    }


def test_labels_carry_their_limit_and_the_seed_is_a_number_of_the_step() -> None:
    step = step_of(SGD())
    assert [target.below for target in step.spec.targets] == [CLASSES]
    assert {scalar.name for scalar in step.spec.scalars} == {"learning_rate", "weight_decay", "max_norm"}


@pytest.mark.parametrize("operator", ["LSTM", "GRU"])
def test_recurrent_layers_learn_with_batches_of_any_size(operator: str) -> None:
    gates, random = {"LSTM": 4, "GRU": 3}[operator], np.random.default_rng(0)
    more = {"linear_before_reset": 1} if operator == "GRU" else {}
    stored = {
        "w": random.normal(size=(1, gates * 5, 3)) / 2, "r": random.normal(size=(1, gates * 5, 5)) / 2,
        "b": np.zeros((1, gates * 10)), "g": random.normal(size=(5, 2)),
    }  # fmt: skip
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], perm=[1, 0, 2]),
        helper.make_node(operator, ["turned", "w", "r", "b"], ["", "last"], hidden_size=5, **more),
        helper.make_node("Squeeze", ["last", "axis"], ["state"]), helper.make_node("MatMul", ["state", "g"], ["y"]),
    ]  # fmt: skip
    tensors = [onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in stored.items()]
    graph = helper.make_graph(
        nodes, "layer", [helper.make_tensor_value_info("x", 1, ["n", "t", 3])],
        [helper.make_tensor_value_info("y", 1, ["n", 2])], [*tensors, onnx.numpy_helper.from_array(np.array([0]), "axis")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    stepper = Stepper(build_step(model, MeanSquaredError(), SGD(0.1), list(stored)), threads=1)
    losses = []
    for size, steps in [(4, 7), (1, 3)] * 10:
        x = random.normal(size=(size, steps, 3)).astype(np.float32)
        losses.append(stepper.step({"x": x, "target": x[:, -1, :2].copy()}).loss)
    assert np.mean(losses[-6:]) < 0.6 * np.mean(losses[:6])


def test_a_weight_without_a_part_in_the_loss_stays_as_it_is_where_that_was_asked_for() -> None:
    model, names = resnet()
    spare = onnx.numpy_helper.from_array(np.ones((3, 2), np.float32), "spare")
    model.graph.initializer.append(spare)
    model.graph.node.append(helper.make_node("MatMul", ["other", "spare"], ["second"]))
    model.graph.input.append(helper.make_tensor_value_info("other", 1, ["batch", 3]))
    model.graph.output.append(helper.make_tensor_value_info("second", 1, ["batch", 2]))
    loss = CrossEntropy(output="logits")
    with pytest.raises(InputError, match="does not depend on spare"):
        build_step(model, loss, SGD(0.1), [*names, "spare"])
    step = build_step(model, loss, SGD(0.1), [*names, "spare"], leave_out=True)
    assert {state.of for state in step.spec.of_role("parameter")} == set(names)
