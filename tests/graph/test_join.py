"""A joined model is the composition of its parts, and says of its interface what both parts say."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgewise.errors import InputError, ModelError, UnsupportedError
from edgewise.graph.answer import dequantize, softmax, top_k, transpose
from edgewise.graph.image import image_pipeline
from edgewise.graph.inspect import describe, read_model
from edgewise.graph.join import append, prepend
from edgewise.graph.sensor import sensor_pipeline

F = TensorProto.FLOAT
Value = tuple[str, list[int | str]]


def run(model: ModelProto, *arrays: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [item.name for item in describe(model).inputs]
    return list(session.run(None, dict(zip(names, arrays, strict=True))))


def build(
    nodes: list[Any],
    inputs: list[Value],
    outputs: list[Value],
    weights: dict[str, np.ndarray],
    opset: int = 18,
    **options: Any,
) -> ModelProto:
    def infos(values: list[Value]) -> list[Any]:
        return [helper.make_tensor_value_info(name, F, shape) for name, shape in values]

    stored = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", infos(inputs), infos(outputs), stored)
    domains = {"": opset, **options.pop("domains", {})}
    imports = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, **options)


def dense(
    sizes: list[int],
    names: str = "xhy",
    *,
    opset: int = 18,
    seed: int = 0,
    batch: int | str = "batch",
    last: str = "Relu",
) -> ModelProto:
    """x (batch, sizes[0]) to y (batch, sizes[1]), with value and weight names from ``names``."""
    x, h, y = names
    weights = {f"{h}_w": np.random.default_rng(seed).standard_normal((sizes[0], sizes[1])).astype(np.float32)}
    nodes = [helper.make_node("MatMul", [x, f"{h}_w"], [h], h), helper.make_node(last, [h], [y], y)]
    return build(nodes, [(x, [batch, sizes[0]])], [(y, [batch, sizes[1]])], weights, opset)


@given(
    st.permutations("abc"), st.permutations("abc"), st.integers(1, 5), st.sampled_from([7, 11, 13, 18, 20, 28]),
    st.sampled_from(["batch", "N", "None", ""]), st.sampled_from(["Relu", "Sigmoid", "Softmax"]),
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_joining_is_composition(
    front: list[str], back: list[str], rows: int, opset: int, batch: str, last: str
) -> None:
    """join(f, m)(x) == m(f(x)), whatever names clash, whatever the opset, for any batch; from both ends."""
    f, m = (
        dense([4, 3], "".join(front), seed=1),
        dense([3, 5], "".join(back), opset=opset, seed=2, batch=batch, last=last),
    )
    x = np.random.default_rng(rows).standard_normal((rows, 4)).astype(np.float32)
    expected = run(m, run(f, x)[0])[0]
    before = (f.SerializeToString(), m.SerializeToString())
    for joined in (prepend(f, m), append(f, m)):
        np.testing.assert_array_equal(run(joined, x)[0], expected)
    assert (f.SerializeToString(), m.SerializeToString()) == before, "the arguments are not changed"


def test_three_in_a_row_from_raw_image_to_the_best_class() -> None:
    front = image_pipeline(size=(8, 8), channels=1, output_name="pixels")
    weights = {"w": np.random.default_rng(0).standard_normal((64, 5)).astype(np.float32)}
    nodes = [helper.make_node("Flatten", ["image"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["logits"])]
    model = build(nodes, [("image", ["N", 1, 8, 8])], [("logits", ["N", 5])], weights, opset=13)
    joined = append(append(prepend(front, model), softmax("logits", "probabilities")), top_k(2, shape=("batch", 5)))
    image = np.random.default_rng(1).integers(0, 256, (3, 20, 30, 1), np.uint8)
    logits = run(model, run(front, image)[0])[0]
    values, indices = run(joined, image)
    np.testing.assert_array_equal(indices, np.argsort(-logits, axis=1)[:, :2])
    assert np.all((values > 0) & (values <= 1))
    summary = describe(joined)
    # The model has a value called image, so the fragment's is prefixed; the batch is called what the model calls it.
    assert [(item.name, item.dtype, item.shape) for item in summary.inputs] == [
        ("pre_image", "uint8", ("N", "height", "width", 1))
    ]
    assert [(item.name, item.shape) for item in summary.outputs] == [("values", ("N", 2)), ("indices", ("N", 2))]
    assert summary.opsets == {"ai.onnx": 18}


def test_a_fixed_batch_of_the_model_holds_for_the_whole() -> None:
    joined = append(prepend(dense([4, 3], "abc"), dense([3, 5], "xyz", batch=2)), softmax("z", "p"))
    assert [item.shape for item in (*describe(joined).inputs, *describe(joined).outputs)] == [(2, 4), (2, 5)]


def test_a_size_that_the_fragment_fixes_holds_in_the_model() -> None:
    pool = [helper.make_node("GlobalAveragePool", ["x"], ["y"]), helper.make_node("Relu", ["x"], ["z"])]
    shape: list[int | str] = ["batch", 3, "h", "w"]
    model = build(pool, [("x", shape)], [("y", ["batch", 3, 1, 1]), ("z", shape)], {})
    joined = prepend(image_pipeline(size=(6, 7)), model)
    assert describe(joined).outputs[1].shape == ("batch", 3, 6, 7)


def test_dimensions_follow_where_no_shape_can_be_inferred() -> None:
    """onnx knows no shapes of com.microsoft's operators: there only the names say that two dimensions are equal."""
    shape: list[int | str] = ["n", 3, "h", "w"]
    node = helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")
    model = build([node], [("x", shape)], [("y", shape)], {}, domains={"com.microsoft": 1})
    assert describe(prepend(image_pipeline(size=(6, 7)), model)).outputs[0].shape == ("n", 3, 6, 7)


def test_dimensions_of_one_name_that_are_not_one_dimension_are_kept_apart() -> None:
    """The pipeline's height is that of the raw image, the model's that of its own input."""
    shape: list[int | str] = ["batch", 3, "height", "width"]
    model = build([helper.make_node("Relu", ["x"], ["y"])], [("x", shape)], [("y", shape)], {})
    crop = image_pipeline(shorter=9)
    summary = describe(prepend(crop, model))
    assert summary.inputs[0].shape == ("batch", "pre_height", "pre_width", 3)
    assert summary.outputs[0].shape == ("batch", 3, "height", "width")


def test_other_inputs_and_outputs_stay_in_their_place() -> None:
    nodes = [helper.make_node("Add", ["s", "x"], ["t"]), helper.make_node("Relu", ["x"], ["y"])]
    pair: list[int | str] = ["batch", 4]
    model = build(nodes, [("s", pair), ("x", pair)], [("y", pair), ("t", pair)], {})
    fragment = dequantize(0.5, 0, "int8", ("batch", 4), "q", "r")
    summary = describe(append(prepend(fragment, model, {"r": "x"}), softmax("y", "p", shape=pair)))
    assert [item.name for item in summary.inputs] == ["s", "q"]
    assert [item.name for item in summary.outputs] == ["p", "t"]


def test_a_fragment_can_feed_several_inputs() -> None:
    pair: list[int | str] = ["batch", 4]
    fragment = build(
        [helper.make_node("Relu", ["q"], ["a"]), helper.make_node("Neg", ["q"], ["b"])],
        [("q", pair)],
        [("a", pair), ("b", pair)],
        {},
    )
    model = build(
        [helper.make_node("Sum", ["a", "s", "b"], ["y"])], [("a", pair), ("s", pair), ("b", pair)], [("y", pair)], {}
    )
    joined = prepend(fragment, model)
    assert [item.name for item in describe(joined).inputs] == ["q", "s"]
    np.testing.assert_array_equal(
        run(joined, np.float32([[1, -2, 3, -4]]), np.zeros((1, 4), np.float32))[0], [[0, 2, 0, 4]]
    )


def test_equal_names_need_no_mapping_and_others_are_asked_for() -> None:
    pair: list[int | str] = ["batch", 4]
    nodes = [helper.make_node("Add", ["s", "x"], ["y"])]
    model = build(nodes, [("s", pair), ("x", pair)], [("y", pair)], {})
    named = dequantize(0.5, 0, "int8", ("batch", 4), "q", "x")
    got = run(prepend(named, model), np.ones((1, 4), np.float32), np.full((1, 4), 4, np.int8))
    np.testing.assert_array_equal(got[0], 3)
    with pytest.raises(InputError, match="not clear what feeds what"):
        prepend(dequantize(0.5, 0, "int8", ("batch", 4), "q", "r"), model)


@pytest.mark.parametrize("mapping", [{}, {"r": "nothing"}, {"nothing": "x"}])
def test_a_mapping_that_names_what_is_not_there_is_refused(mapping: dict[str, str]) -> None:
    with pytest.raises(InputError, match="mapping"):
        prepend(dequantize(0.5, 0, "int8", ("batch", 4), "q", "r"), dense([4, 3]), mapping)


def test_types_and_shapes_that_do_not_meet_are_named() -> None:
    with pytest.raises(ModelError, match=r"after is uint8.*x is float32"):
        prepend(transpose([0, 1], ("batch", 4), "uint8"), dense([4, 3]))
    with pytest.raises(ModelError, match=r"\(batch, 8, 3\).*\(batch, 4\)"):
        prepend(sensor_pipeline(time=8, channels=3), dense([4, 3]))
    with pytest.raises(ModelError, match=r"\(batch, 5\).*\(batch, 4\)"):
        prepend(dequantize(1.0, 0, "int8", shape=("batch", 5)), dense([4, 3]))


def test_names_inside_branches_are_part_of_the_model() -> None:
    """Bodies of If see the values around them: a fragment's names must clash with neither."""
    outer = helper.make_tensor_value_info("z", F, ["batch", 3])
    branches = {
        "then_branch": helper.make_graph([helper.make_node("Relu", ["c"], ["z"])], "t", [], [outer]),
        "else_branch": helper.make_graph([helper.make_node("Neg", ["c"], ["z"])], "e", [], [outer]),
    }
    nodes = [
        helper.make_node("Identity", ["x"], ["c"]),
        helper.make_node("ReduceSum", ["c"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], **branches),
    ]
    model = build(nodes, [("x", ["batch", 3])], [("y", ["batch", 3])], {"zero": np.float32(0)})
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    for clash in ("azc", "zac", "acz"):
        f = dense([4, 3], clash)
        for sign in (x, -x):
            np.testing.assert_array_equal(run(prepend(f, model), sign)[0], run(model, run(f, sign)[0])[0])
    g = dense([3, 2], "cz1")
    np.testing.assert_array_equal(run(append(model, g), x[:, :3])[0], run(g, run(model, x[:, :3])[0])[0])


def test_functions_and_operators_of_other_domains_come_along() -> None:
    function = helper.make_function(
        "own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 13)]
    )
    nodes = [
        helper.make_node("Twice", ["x"], ["h"], domain="own"),
        helper.make_node("Gelu", ["h"], ["y"], domain="com.microsoft"),
    ]
    pair: list[int | str] = ["batch", 4]
    model = build(
        nodes, [("x", pair)], [("y", pair)], {}, opset=13, domains={"own": 1, "com.microsoft": 1}, functions=[function]
    )
    fragment = dequantize(0.5, 0, "int8", shape=("batch", 4))
    joined = prepend(fragment, model)
    q = np.arange(4, dtype=np.int8)[None]
    np.testing.assert_array_equal(run(joined, q)[0], run(model, run(fragment, q)[0])[0])
    assert describe(joined).opsets == {"ai.onnx": 18, "com.microsoft": 1, "own": 1}
    twice = append(joined, model)
    np.testing.assert_allclose(run(twice, q)[0], run(model, run(joined, q)[0])[0], rtol=1e-6)
    other = ModelProto()
    other.CopyFrom(model)
    other.functions[0].node[0].op_type = "Mul"
    with pytest.raises(UnsupportedError, match="own::Twice"):
        append(joined, other)


def test_a_model_that_cannot_reach_the_fragments_opset_is_unsupported(shared_data: Path) -> None:
    model = read_model((shared_data / "model_vad_silero/silero_vad.onnx").read_bytes())
    with pytest.raises(UnsupportedError, match=r"opset 16 .* 18") as caught:
        append(model, softmax("output", "p", shape=("batch", 1)), {"output": "output"})
    assert caught.value.details["operators"] == ["ReduceMean"]


def test_real_models_join(shared_data: Path) -> None:
    model = read_model((shared_data / "model_vision_mobilenet/vww_96_fp32.onnx").read_bytes())
    front = image_pipeline(size=(96, 96), layout="nhwc")
    image = np.random.default_rng(0).integers(0, 256, (2, 120, 100, 3), np.uint8)
    np.testing.assert_allclose(run(prepend(front, model), image)[0], run(model, run(front, image)[0])[0], atol=1e-6)


def test_a_node_called_like_the_seam_does_not_meet_its_namesake() -> None:
    front = build([helper.make_node("Relu", ["x"], ["seam"], "seam")], [("x", ["n", 3])], [("seam", ["n", 3])], {})
    back = build(
        [helper.make_node("Neg", ["seam"], ["inner"], "seam"), helper.make_node("Abs", ["inner"], ["y"], "last")],
        [("seam", ["n", 3])], [("y", ["n", 3])], {},
    )  # fmt: skip
    joined = prepend(front, back, {"seam": "seam"})
    assert len({node.name for node in joined.graph.node}) == 3
    np.testing.assert_array_equal(run(joined, np.array([[-1, 2, -3]], np.float32))[0], [[0, 2, 0]])
