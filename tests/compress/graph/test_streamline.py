"""A streamlined graph gives the same answers with fewer nodes; each rule where it applies, and not where it does not."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper
from tests.networks.cases import CASES, feeds

from edgewise.compress.graph.forms.flat import flattened_once
from edgewise.compress.graph.forms.masks import masks_left_out
from edgewise.compress.graph.forms.planes import in_planes
from edgewise.compress.graph.forms.scales import scales_drawn_in
from edgewise.compress.graph.simplify import simplified
from edgewise.compress.graph.streamline import RULES, Streamline, streamlined
from edgewise.compress.quantize.static import Static
from edgewise.compress.samples import Samples
from edgewise.graph.inspect import describe
from edgewise.measure.dataset import Dataset
from edgewise.networks.inputs import SequenceInput
from edgewise.networks.registry import build
from edgewise.networks.signal import Cnn1dConfig

Array = np.ndarray
F = TensorProto.FLOAT
CHANCE = np.random.default_rng(5)


def run(model: ModelProto, fed: dict[str, Array]) -> list[Array]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, fed))


def close(model: ModelProto, other: ModelProto, fed: dict[str, Array]) -> None:
    for one, two in zip(run(model, fed), run(other, fed), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5 * max(1.0, float(np.abs(one).max(initial=0))))


def net(
    nodes: list[onnx.NodeProto], weights: dict[str, Array], shape: list[int | str], outputs: list[str] | None = None
) -> ModelProto:
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", F, shape)],
        [helper.make_tensor_value_info(name, F, None) for name in outputs or [nodes[-1].output[0]]],
        [numpy_helper.from_array(np.asarray(array, array.dtype), name) for name, array in weights.items()],
    )  # fmt: skip
    return onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    )


def floats(*shape: int) -> Array:
    return CHANCE.normal(size=shape).astype(np.float32)


def kinds(model: ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("name", CASES)
def test_every_reference_network_answers_as_before(name: str) -> None:
    network, config, _ = CASES[name]
    model = build(network, config, 3)
    before = model.SerializeToString()
    made = streamlined(model)
    assert model.SerializeToString() == before
    assert [v.name for v in describe(made).inputs] == [v.name for v in describe(model).inputs]
    assert [v.name for v in describe(made).outputs] == [v.name for v in describe(model).outputs]
    close(model, made, feeds(model, 3))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_that_finds_nothing_gives_back_what_it_was_given(rule: Callable[[ModelProto], ModelProto]) -> None:
    model = net([helper.make_node("Relu", ["x"], ["y"])], {}, ["n", 3])
    assert rule(model) is model


@settings(max_examples=40, deadline=None)
@given(
    scale=st.sampled_from([0.5, -2.0, 1 / 255]), divide=st.booleans(),
    shift=st.sampled_from(["none", "one", "each"]), padded=st.booleans(),
    turned=st.booleans(), dense=st.booleans(),
)  # fmt: skip
def test_a_scale_goes_into_the_layer_behind(
    scale: float, divide: bool, shift: str, padded: bool, turned: bool, dense: bool
) -> None:
    nodes = [helper.make_node("Div" if divide else "Mul", ["x", "s"], ["a"])]
    weights = {"s": np.array([scale], np.float32)}
    value = "a"
    if shift != "none":
        nodes.append(helper.make_node("Sub", [value, "b"], ["c"]))
        weights["b"], value = np.array(0.7, np.float32) if shift == "one" else floats(3, 1), "c"
    if turned:
        nodes.append(helper.make_node("Transpose", [value], ["t"], perm=[0, 2, 1]))
        value = "t"
    if dense:
        nodes += [helper.make_node("Flatten", [value], ["f"]), helper.make_node("Gemm", ["f", "w"], ["y"], transB=1)]
        weights["w"] = floats(4, 15)
    else:
        nodes.append(helper.make_node("Conv", [value, "w"], ["y"], kernel_shape=[3], pads=[1, 1] if padded else [0, 0]))
        weights["w"] = floats(4, 5 if turned else 3, 3)
    model = net(nodes, weights, ["n", 3, 5])
    made = scales_drawn_in(model)
    assert not {"Mul", "Div"} & set(kinds(made))
    close(model, made, {"x": floats(2, 3, 5)})


_SCALED = helper.make_node("Mul", ["x", "s"], ["a"])


@pytest.mark.parametrize(
    "nodes",
    [
        [_SCALED, helper.make_node("Abs", ["a"], ["z"]), helper.make_node("Gemm", ["a", "w"], ["y"])],
        [_SCALED, helper.make_node("Gemm", ["a", "w"], ["y"])],
        [_SCALED, helper.make_node("Relu", ["a"], ["r"]), helper.make_node("Gemm", ["r", "w"], ["y"])],
        [helper.make_node("Mul", ["x", "each"], ["a"]), helper.make_node("Gemm", ["a", "w"], ["y"])],
        [_SCALED, helper.make_node("MatMul", ["w", "a"], ["y"])],
        [
            helper.make_node("Div", ["x", "root"], ["d"]), helper.make_node("Erf", ["d"], ["e"]),
            helper.make_node("Add", ["e", "one"], ["f"]), helper.make_node("Mul", ["x", "f"], ["g"]),
            helper.make_node("Mul", ["g", "half"], ["h"]), helper.make_node("Gemm", ["h", "w"], ["y"]),
        ],
    ],
    ids=["read twice", "given too", "relu between", "not one number", "the other side of a product", "the end of a gelu"],
)  # fmt: skip
def test_a_scale_that_cannot_go_stays(nodes: list[onnx.NodeProto]) -> None:
    weights = {
        "s": np.array([2], np.float32), "each": floats(3), "w": floats(3, 3), "root": np.array(2**0.5, np.float32),
        "one": np.array(1, np.float32), "half": np.array(0.5, np.float32),
    }  # fmt: skip
    outputs = ["y", "z"] if len(nodes) == 3 and nodes[1].output[0] == "z" else ["y"]
    outputs = ["y", "a"] if len(nodes) == 2 and nodes[0] is _SCALED and nodes[1].input[0] == "a" else outputs
    model = net(nodes, weights, [3, 3], outputs)
    assert scales_drawn_in(model) is model


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("biased", [True, False])
def test_a_normalisation_goes_into_the_dense_layer_behind(transposed: int, biased: bool) -> None:
    weights = {
        "scale": floats(6), "bias": floats(6), "mean": floats(6), "var": np.abs(floats(6)) + 0.1, "b": floats(4),
        "w": floats(4, 6) if transposed else floats(6, 4),
    }  # fmt: skip
    nodes = [
        helper.make_node("BatchNormalization", ["x", "scale", "bias", "mean", "var"], ["a"], epsilon=1e-3),
        helper.make_node("Gemm", ["a", "w", *(["b"] if biased else [])], ["y"], transB=transposed),
    ]
    model = net(nodes, weights, ["n", 6])
    made = scales_drawn_in(model)
    assert kinds(made) == {"Gemm": 1}
    close(model, made, {"x": floats(3, 6)})


def masked(
    compared: int = 0,
    *,
    table_read_twice: bool = False,
    axis: int = 0,
    spread: int = 1,
    weighing: tuple[int, ...] = (5, 5),
) -> ModelProto:
    nodes = [
        helper.make_node("Cast", ["x"], ["ids"], to=TensorProto.INT64),
        helper.make_node("Equal", ["ids", "nothing"], ["padded"]), helper.make_node("Not", ["padded"], ["there"]),
        helper.make_node("Cast", ["there"], ["present"], to=F), helper.make_node("Mul", ["weights", "present"], ["m"]),
        helper.make_node("Unsqueeze", ["m", "one"], ["spread"]), helper.make_node("Gather", ["table", "ids"], ["rows"], axis=axis),
        helper.make_node("MatMul", ["spread", "rows"], ["y"]),
    ]  # fmt: skip
    if table_read_twice:
        nodes.append(helper.make_node("Gather", ["table", "ids"], ["z"]))
    weights = {
        "nothing": np.array(compared), "one": np.array([spread]), "table": floats(9, 9), "weights": np.abs(floats(*weighing)),
    }  # fmt: skip
    return net(nodes, weights, [5, 5], ["y", "z"] if table_read_twice else ["y"])


def test_a_mask_falls_away_where_a_row_of_zeros_does_the_same() -> None:
    model, fed = masked(), {"x": CHANCE.integers(0, 9, (5, 5)).astype(np.float32) * (CHANCE.random((5, 5)) > 0.4)}
    made = masks_left_out(model)
    assert not {"Equal", "Not", "Mul"} & set(kinds(made))
    close(model, made, fed)


@pytest.mark.parametrize(
    "model",
    [
        masked(3),
        masked(table_read_twice=True),
        masked(axis=1),
        masked(spread=0),
        masked(weighing=(5,)),
        masked(weighing=(5, 1)),
    ],
    ids=[
        "another id",
        "table read twice",
        "columns",
        "weights across the batch",
        "weights of no batch",
        "one weight a row",
    ],
)
def test_a_mask_stays_where_its_zeros_are_not_those_of_the_row(model: ModelProto) -> None:
    assert masks_left_out(model) is model


@settings(max_examples=30, deadline=None)
@given(
    stride=st.sampled_from([1, 2]), kernel=st.sampled_from([1, 3, 4]), groups=st.sampled_from([1, 4]),
    pool=st.sampled_from(["", "MaxPool", "AveragePool"]),
    added=st.booleans(), ends=st.sampled_from(["pool", "values"]),
)  # fmt: skip
def test_layers_over_time_run_in_planes(
    stride: int, kernel: int, groups: int, pool: str, added: bool, ends: str
) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], kernel_shape=[kernel], pads=[1, 0], strides=[stride]),
        helper.make_node("LeakyRelu", ["a"], ["r"]),
    ]
    weights = {"w1": floats(4, 3, kernel), "b1": floats(4), "w2": floats(4, 4 // groups, 3), "each": floats(4, 1)}
    value = "r"
    if pool:
        nodes.append(helper.make_node(pool, [value], ["p"], kernel_shape=[2], strides=[2], ceil_mode=1))
        value = "p"
    nodes.append(
        helper.make_node("Conv", [value, "w2"], ["c"], kernel_shape=[3], pads=[2, 2], dilations=[2], group=groups)
    )
    if added:
        nodes += [helper.make_node("Add", ["c", value], ["d"]), helper.make_node("Mul", ["d", "each"], ["e"])]
    last = "e" if added else "c"
    if ends == "pool":
        nodes += [helper.make_node("GlobalAveragePool", [last], ["g"]), helper.make_node("Flatten", ["g"], ["y"])]
    else:
        nodes.append(helper.make_node("Transpose", [last], ["y"], perm=[0, 2, 1]))
    model = net(nodes, weights, ["n", 3, 20])
    made = in_planes(model)
    found = kinds(made)
    assert (found["Unsqueeze"], found["Squeeze"]) == (1, 0 if ends == "pool" else 1)
    assert all(len(array.dims) == 4 for array in made.graph.initializer if array.name.startswith(("w1", "w2")))
    close(model, made, {"x": floats(2, 3, 20)})


def test_a_plane_that_the_graph_gives_is_given_by_its_name() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], kernel_shape=[3]), helper.make_node("Unsqueeze", ["a", "two"], ["y"]),
    ]  # fmt: skip
    model = net(nodes, {"w": floats(4, 3, 3), "two": np.array([2])}, ["n", 3, 9])
    close(model, in_planes(model), {"x": floats(2, 3, 9)})


def conv(read: str, made: str, weight: str = "w") -> onnx.NodeProto:
    return helper.make_node("Conv", [read, weight], [made], kernel_shape=[3], pads=[1, 1])


_THREE: dict[str, Array] = {"w": floats(3, 3, 3), "two": np.array([2]), "each": floats(3), "flat": np.array([0, -1])}


@pytest.mark.parametrize(
    ("nodes", "left"),
    [
        ([conv("x", "c"), helper.make_node("GlobalMaxPool", ["c"], ["g"]), helper.make_node("Squeeze", ["g", "two"], ["s"]),
          helper.make_node("Mul", ["s", "each"], ["y"])], {"Unsqueeze": 1, "Squeeze": 1}),
        ([conv("x", "c"), helper.make_node("Reshape", ["c", "flat"], ["y"])], {"Unsqueeze": 1}),
        ([conv("x", "c"), helper.make_node("Add", ["c", "x"], ["y"])], {"Unsqueeze": 1, "Squeeze": 1}),
        ([conv("x", "c"), helper.make_node("Unsqueeze", ["c", "two"], ["u"]), helper.make_node("Relu", ["u"], ["y"])],
         {"Unsqueeze": 1}),
        ([conv("x", "c"), helper.make_node("Unsqueeze", ["c", "two"], ["y"])], {"Unsqueeze": 2, "Squeeze": 1}),
        ([helper.make_node("Abs", ["x"], ["a"]), conv("a", "c"), helper.make_node("Add", ["c", "a"], ["d"]), conv("d", "e"),
          helper.make_node("Add", ["e", "d"], ["f"]), helper.make_node("Concat", ["f", "a"], ["y"], axis=1)],
         {"Unsqueeze": 1, "Squeeze": 1}),
    ],
    ids=["a squeeze of its own", "reshaped", "past the layer", "an unsqueeze of its own", "an output raised", "residual"],
)  # fmt: skip
def test_around_planes_only_what_is_needed_is_turned(nodes: list[onnx.NodeProto], left: dict[str, int]) -> None:
    model = net(nodes, _THREE, ["n", 3, 20])
    made = in_planes(model)
    found = kinds(made)
    assert {name: found[name] for name in ("Unsqueeze", "Squeeze") if found[name]} == left
    close(model, made, {"x": floats(2, 3, 20)})


@pytest.mark.parametrize("rule", [in_planes, masks_left_out])
def test_what_nested_graphs_read_stays(rule: Callable[[ModelProto], ModelProto]) -> None:
    def branch(name: str, operator: str) -> onnx.GraphProto:
        given = [helper.make_tensor_value_info(name, F, None)]
        return helper.make_graph([helper.make_node(operator, ["u"], [name])], name, [], given)

    raised = [conv("x", "c"), helper.make_node("Unsqueeze", ["c", "two"], ["u"])]
    kept = [*masked().graph.node, helper.make_node("Abs", ["x"], ["u"])]
    choice = helper.make_node("If", ["yes"], ["z"], then_branch=branch("t", "Relu"), else_branch=branch("e", "Neg"))
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in masked().graph.initializer}
    model = net(
        [*(raised if rule is in_planes else kept), choice], {**_THREE, **stored, "yes": np.array(True)},
        [2, 3, 5] if rule is in_planes else [5, 5], ["z"] if rule is in_planes else ["y", "z"],
    )  # fmt: skip
    made = rule(model)
    assert made is not model
    close(model, made, {"x": np.abs(floats(2, 3, 5)) if rule is in_planes else np.eye(5, dtype=np.float32)})


@pytest.mark.parametrize("name", CASES)
def test_no_rule_takes_a_fused_operator_from_the_runtime(name: str, tmp_path: Path) -> None:
    """Planes aside, whose reordering nodes are the price of kernels in blocks."""
    network, config, _ = CASES[name]
    model = simplified(build(network, config, 3))
    made = flattened_once(scales_drawn_in(masks_left_out(model)))
    assert run_by(made, tmp_path) <= run_by(model, tmp_path)


def run_by(model: ModelProto, folder: Path) -> int:
    """Nodes that onnxruntime runs in the end."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return len(onnx.load(folder / "optimized.onnx").graph.node)


def test_a_model_that_the_rules_cannot_open_is_simplified(shared_data: Path) -> None:
    model = onnx.load(shared_data / "model_vad_silero" / "silero_vad.onnx")
    assert streamlined(model) == simplified(model)


def test_pools_are_laid_side_by_side_once() -> None:
    nodes = [
        helper.make_node("GlobalMaxPool", ["x"], ["a"]), helper.make_node("Flatten", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["x"], ["c"]), helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Concat", ["d", "b"], ["y"], axis=1),
    ]  # fmt: skip
    model = net(nodes, {}, ["n", 3, 4, 5])
    made = flattened_once(model)
    assert kinds(made)["Flatten"] == 1
    close(model, made, {"x": floats(2, 3, 4, 5)})
    wide = net(
        [helper.make_node("Flatten", ["x"], ["a"]), helper.make_node("Concat", ["a", "a"], ["y"], axis=1)],
        {},
        ["n", 3, 4, 5],
    )
    assert flattened_once(wide) is wide
    whole = [helper.make_node("Flatten", ["x"], ["a"]), helper.make_node("Neg", ["x"], ["b"]),
             helper.make_node("Flatten", ["b"], ["c"]), helper.make_node("Concat", ["a", "c"], ["y"], axis=1)]  # fmt: skip
    apart = net(whole, {}, ["n", 3, 4, 5])
    assert flattened_once(apart) is apart


def test_without_scales_weights_stay_as_they_learn_best() -> None:
    model = build("cnn1d", Cnn1dConfig(SequenceInput(64, 3, "int16", scale=1e-3)), 3)
    samples = Samples(Dataset(np.zeros((1, 64, 3), np.int16), np.zeros(1, np.int64)), "classification", "x", "logits")
    layers: dict[bool, list[Array]] = {}
    for scales in (True, False):
        made = Streamline(scales=scales).apply(model, samples)
        assert kinds(made)["Mul"] == (0 if scales else 1)
        close(model, made, feeds(model, 3))
        stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
        layers[scales] = [stored[node.input[1]] for node in made.graph.node if node.op_type == "Conv"]
    np.testing.assert_allclose(layers[True][0], layers[False][0] * np.float32(1e-3), rtol=1e-6)
    assert Streamline(scales=False).name != Streamline().name


def test_quantization_works_on_what_comes_out() -> None:
    network, config, _ = CASES["cnn1d"]
    model = build(network, config, 3)
    fed = feeds(model, 64)
    ((name, x),) = fed.items()
    samples = Samples(Dataset(x, np.arange(64) % 3), "classification", name, "logits")
    made = Static(count=64).apply(Streamline().apply(model, samples), samples)
    assert kinds(made)["DequantizeLinear"] > 4
    wanted, given = run(model, fed)[0], run(made, fed)[0]
    assert np.square(wanted - given).mean() < 0.01 * np.square(wanted).mean()
