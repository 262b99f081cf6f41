"""A check names node, operator and reason; profiles are read and name their sources."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, defs, helper, numpy_helper
from tests.compress.targets.node_models import opens

from edgewise.compress.targets.check import check_target_fit
from edgewise.compress.targets.needs import look
from edgewise.compress.targets.profile import Entry, Form, find_profile, profiles
from edgewise.compress.targets.view import View
from edgewise.digits import model_bytes
from edgewise.errors import NotFoundError
from edgewise.graph.inspect import read_model
from edgewise.graph.walk import DTYPES


def model_of(
    nodes: list[NodeProto], x: list[int | str] | None, element: int = TensorProto.FLOAT, opset: int = 18,
    stored: dict[str, object] | None = None,
) -> ModelProto:  # fmt: skip
    """From x to the first output of the last node."""
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", element, x)],
        [helper.make_empty_tensor_value_info(nodes[-1].output[0])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (stored or {}).items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def conv(spatial: int, *, stored: bool = True) -> ModelProto:
    weight = {"w": np.ones((2, 2, *[3] * spatial), np.float32)}
    nodes = [helper.make_node("Conv", ["x", "w" if stored else "x"], ["y"], "c")]
    return model_of(nodes, [1, 2, *[5] * spatial], stored=weight)


def told(model: ModelProto, target: str) -> list[tuple[str, str]]:
    return [(node.state, node.why) for node in check_target_fit(model, find_profile(target)).nodes]


@pytest.mark.parametrize("name", profiles())
def test_every_profile_is_read_and_names_its_sources(name: str) -> None:
    profile = find_profile(name)
    assert profile.sources
    assert profile.unknown
    assert profile.otherwise == "fails" or profile.otherwise.startswith("falls back to")
    assert (profile.fallback is None) == (profile.otherwise == "fails")
    for operator in ("Conv", "Relu", "Softmax", "Gemm"):
        assert operator in profile.operators


@pytest.mark.parametrize("name", profiles())
def test_every_need_of_every_profile_can_be_followed(name: str) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    view = View(model_of([node], [1, 2, 3, 4]))
    needs = {need for entry in find_profile(name).operators.values() for need in entry.needs}
    for need in needs:
        look((need,), node, view, None)


def test_there_is_a_profile_of_each_promised_runtime() -> None:
    promised = {
        "onnxruntime-cpu", "ort-web-wasm", "ort-web-webgpu", "ort-web-webnn", "openvino-cpu", "coreml", "qnn", "directml",
        "tensorrt", "tensorrt-8.4", "litert-cpu", "litert-xnnpack", "litert-gpu", "litert-coreml", "litert-hexagon",
    }  # fmt: skip
    assert set(profiles()) == promised


def test_a_kernel_is_not_for_versions_that_it_did_not_know() -> None:
    form = Form(((7, 12), (13, None)))
    assert [form.has(version) for version in (6, 7, 9, 12, 13, 14)] == [False, True, True, True, True, False]
    assert Form().has(99)


def test_types_hold_for_the_versions_that_they_were_given_for() -> None:
    entry = Entry((Form(((7, None),), ("float32",)), Form(((11, None),), ("float32", "int32"), ((1, ("int64",)),))))
    assert entry.lacks(7, {0: "float32"}) == ""
    assert entry.lacks(7, {0: "int32"}) == "not for int32, but for float32"
    assert entry.lacks(11, {0: "int32", 1: "int64"}) == ""
    assert entry.lacks(11, {0: "int32", 1: "bool"}) == "not for these types together: int32, bool"
    assert entry.lacks(9, {0: "float32"}) == "not in the form that it has since opset 9"
    assert entry.lacks(None, {0: ""}) == ""


def test_what_nobody_tried_is_told_and_neither_fails_nor_runs() -> None:
    entry = Entry((Form((), ("float32",)),), refuses=("int8",))
    assert entry.lacks(13, {0: "int8"}) == "not for int8, but for float32"
    assert entry.lacks(13, {0: "int32"}) == ""
    assert entry.untried("int32")
    assert not entry.untried("int8")
    relu = model_of([helper.make_node("Relu", ["x"], ["y"])], [1, 3], TensorProto.INT32)
    assert told(relu, "litert-cpu") == [("limited", "not tried for int32")]


def test_directml_takes_integers_in_equal_since_11_and_relu_since_14() -> None:
    equal = helper.make_node("Equal", ["x", "x"], ["y"])
    assert told(model_of([equal], [2], TensorProto.INT32, opset=11), "directml") == [("runs", "")]
    assert told(model_of([equal], [2], TensorProto.INT32, opset=9), "directml") == [
        ("missing", "not for int32, but for float16, float32")
    ]
    old = model_of([helper.make_node("Conv", ["x", "x"], ["y"])], [1, 1, 3, 3], opset=22)
    assert told(old, "directml") == [("missing", "not in the form that it has since opset 22")]


@pytest.mark.parametrize(
    ("target", "good", "bad"),
    [
        ("tensorrt-8.4", (2, 3), (1,)), ("litert-xnnpack", (1, 2), (3,)), ("coreml", (1, 2), (3,)),
        ("litert-cpu", (1, 2, 3), ()), ("openvino-cpu", (1, 2, 3), ()),
    ],
)  # fmt: skip
def test_convolutions_are_known_by_their_dimensions(target: str, good: tuple[int, ...], bad: tuple[int, ...]) -> None:
    assert [told(conv(spatial), target)[0][0] for spatial in good] == ["runs"] * len(good)
    for spatial in bad:
        state, why = told(conv(spatial), target)[0]
        assert state == "missing"
        assert why.endswith(f"only, and this is {spatial}-D")


def test_weights_that_are_computed_from_stored_values_count_as_stored() -> None:
    assert told(conv(2, stored=False), "tensorrt-8.4")[0] == ("missing", "x has to be stored in the model")
    model = read_model(model_bytes("int8"))
    fit = check_target_fit(model, find_profile("litert-cpu"))
    assert fit.runs
    assert not fit.missing
    view = View(model)
    weights = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    assert weights
    assert all(view.stored(name) for name in weights)
    assert not view.stored(model.graph.input[0].name)


@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        ({}, ""), ({"ceil_mode": 1}, "ceil_mode has to be 0, not 1"),
        ({"auto_pad": "SAME_LOWER"}, "auto_pad has to be NOTSET or SAME_UPPER, not SAME_LOWER"),
        ({"count_include_pad": 1}, "count_include_pad has to be 0, not 1"),
    ],
)  # fmt: skip
def test_attributes_are_held_against_what_the_target_takes(attributes: dict[str, object], why: str) -> None:
    node = helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2], **attributes)
    state, told_why = told(model_of([node], [1, 2, 5, 5]), "litert-xnnpack")[0]
    assert (state == "missing") == bool(why)
    assert told_why == why or not why
    dilated = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], dilations=[2, 2])
    assert told(model_of([dilated], [1, 2, 9, 9]), "tensorrt") == [("missing", "dilations has to be 1, not 2, 2")]


def test_needs_are_met_broken_or_open() -> None:
    graph_of = helper.make_node("Odd", ["x", "one", "zero", ""], ["y", "z"], mode=b"linear", axes=[1, 2])
    stored = {"one": np.float32(1), "zero": np.int8(0)}
    view = View(model_of([graph_of], ["n", 2, 3, 4], stored=stored))
    met = (
        "rank=3,4", "rank<=4", "rank>=4", "spatial=2", "ranked", "stored=1,2", "stored=1+", "absent=3", "inputs<=3", "outputs=2",
        "zero=2", "zero=3", "@mode=nearest,linear", "@axes=1,2", "@absent=1", "without=other",
    )  # fmt: skip
    assert look(met, graph_of, view, None).broken == ()
    assert look(met, graph_of, view, None).open == ()
    broken = (
        "rank=3", "rank<=3", "rank>=5", "spatial=1,3", "fixed", "stored=0", "absent=1", "inputs<=2", "outputs=1", "zero=1",
        "@mode=cubic", "@axes=1", "without=axes",
    )  # fmt: skip
    assert len(look(broken, graph_of, view, None).broken) == len(broken)
    assert look(("output=int8", "zero=0"), graph_of, view, None).open == ("gives int8 only", "x has to be zero")
    unknown = View(model_of([graph_of], None, stored=stored))
    assert len(look(("rank=4", "spatial=2", "fixed"), graph_of, unknown, None).open) == 3
    with pytest.raises(KeyError):
        look(("sorted",), graph_of, view, None)


def test_what_is_missing_is_named_with_its_reason() -> None:
    nodes = [helper.make_node("Mish", ["x"], ["a"], "odd"), helper.make_node("Det", ["a"], ["y"], "rare")]
    model = model_of(nodes, ["n", 3, 3])
    fit = check_target_fit(model, find_profile("qnn"))
    assert [(node.node, node.operator) for node in fit.missing] == [("rare", "Det")]
    assert "no such operator" in fit.missing[0].why
    assert "taken apart" in fit.nodes[0].why
    assert [str(problem) for problem in fit.problems] == ["dimensions that vary: x (n, 3, 3)"]
    assert not fit.runs
    assert check_target_fit(model, find_profile("coreml")).runs, "what is missing falls back"
    with pytest.raises(NotFoundError, match="there is no target"):
        find_profile("abacus")


def test_what_the_cpu_behind_lacks_as_well_fails() -> None:
    """A node that falls back has to run where it falls back to."""
    odd = model_of([helper.make_node("Sinh", ["x"], ["y"], "s")], [2], opset=9)
    fit = check_target_fit(odd, find_profile("qnn"))
    assert [(node.state, node.otherwise) for node in fit.nodes] == [("missing", "falls back to the CPU")]
    assert fit.runs
    odd = model_of([helper.make_node("Mod", ["x", "x"], ["y"], "s", fmod=1)], [2], TensorProto.BFLOAT16, opset=13)
    fit = check_target_fit(odd, find_profile("directml"))
    assert [node.otherwise for node in fit.nodes] == ["fails"]
    assert "nor has the CPU" in fit.nodes[0].why
    assert not fit.runs


def test_shapes_that_vary_or_are_unknown_do_not_fit_where_they_have_to_be_fixed() -> None:
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    qnn = find_profile("qnn")
    assert check_target_fit(model_of(relu, [1, 3]), qnn).runs
    assert not check_target_fit(model_of(relu, ["n", 3]), qnn).runs
    assert "even their number" in str(check_target_fit(model_of(relu, None), qnn).problems[0])
    litert = check_target_fit(model_of(relu, ["n", 3]), find_profile("litert-xnnpack"))
    assert litert.runs
    assert "tried with fixed ones alone" in litert.remarks[0]
    assert not check_target_fit(model_of(relu, [1, 3]), find_profile("litert-xnnpack")).remarks


def test_opset_and_size_are_held_against_the_target() -> None:
    model = read_model(model_bytes("fp32"))
    model.opset_import[0].version = 17
    problem = check_target_fit(model, find_profile("tensorrt-8.4")).problems[0]
    assert "opset 13 at most" in problem.text
    assert problem.kind == "opset"
    for target in ("onnxruntime-cpu", "tensorrt", "directml"):
        assert check_target_fit(model, find_profile(target)).runs
    assert check_target_fit(model, find_profile("ort-web-webgpu")).missing == ()
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    old = check_target_fit(model_of(relu, [1], opset=8), find_profile("tensorrt"))
    assert str(old.problems[0]) == "the model is of opset 8; the target knows opset 9 at least"
    new = check_target_fit(model_of(relu, [1], opset=29), find_profile("coreml"))
    assert "opset 28 at most" in str(new.problems[0]), "onnxruntime opens it first"


def test_nested_graphs_and_functions_of_the_model_are_looked_into() -> None:
    then, other = (
        helper.make_graph(
            [helper.make_node("Det", ["m"], [name], name)], name, [], [helper.make_empty_tensor_value_info(name)]
        )
        for name in ("then", "other")
    )
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["m"]),
        helper.make_node("If", ["yes"], ["y"], then_branch=then, else_branch=other),
    ]
    model = model_of(nodes, [4], stored={"shape": np.array([2, 2]), "yes": np.bool_(True)})
    assert {node.node for node in check_target_fit(model, find_profile("qnn")).missing} == {"y", "then", "other"}
    own = helper.make_function(
        "mine", "Twice", ["a"], ["c"], [helper.make_node("Det", ["a"], ["c"], "inner")], [helper.make_opsetid("", 18)]
    )
    model = model_of([helper.make_node("Twice", ["x"], ["y"], "outer", domain="mine")], [2, 2])
    model.functions.append(own)
    model.opset_import.append(helper.make_opsetid("mine", 1))
    fit = check_target_fit(model, find_profile("onnxruntime-cpu"))
    assert [(node.node, node.state) for node in fit.nodes] == [("inner", "runs")]


def test_types_and_weights_of_nested_graphs_are_known() -> None:
    """What a branch computes has a type there, and what it stores is stored."""
    branches = []
    for name in ("then", "other"):
        nodes = [
            helper.make_node("Conv", ["m", f"{name}_w"], [f"{name}_c"], f"{name}_conv"),
            helper.make_node("Cast", [f"{name}_c"], [f"{name}_d"], to=TensorProto.DOUBLE),
            helper.make_node("Sinh", [f"{name}_d"], [name], name),
        ]
        weight = numpy_helper.from_array(np.ones((1, 1, 2, 2), np.float32), f"{name}_w")
        branches.append(helper.make_graph(nodes, name, [], [helper.make_empty_tensor_value_info(name)], [weight]))
    nodes = [
        helper.make_node("Relu", ["x"], ["m"]),
        helper.make_node("If", ["yes"], ["y"], then_branch=branches[0], else_branch=branches[1]),
    ]
    model = model_of(nodes, [1, 1, 3, 3], stored={"yes": np.bool_(True)})
    missing = check_target_fit(model, find_profile("onnxruntime-cpu")).missing
    assert {(node.node, node.why) for node in missing} == {
        ("then", "not for float64, but for float32"),
        ("other", "not for float64, but for float32"),
    }
    convolutions = [
        node for node in check_target_fit(model, find_profile("tensorrt-8.4")).nodes if node.operator == "Conv"
    ]
    assert [node.state for node in convolutions] == ["runs", "runs"]
    view = View(model)
    assert view.shape("then_d") == (1, 1, 2, 2)
    assert view.dtype("then_d") == "float64"


def test_random_numbers_are_not_stored() -> None:
    nodes = [
        helper.make_node("RandomUniform", [], ["r"], shape=[2]), helper.make_node("Neg", ["one"], ["minus"]),
        helper.make_node("Add", ["r", "minus"], ["y"]),
    ]  # fmt: skip
    view = View(model_of(nodes, [2], stored={"one": np.float32(1)}))
    assert [view.stored(name) for name in ("r", "y", "minus", "one", "x", "nowhere")] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]


def test_an_attribute_that_is_not_given_has_the_default_of_onnx() -> None:
    node = helper.make_node("Softmax", ["x"], ["y"])
    view, schema = View(model_of([node], [2, 3])), defs.get_schema("Softmax", 13, "")
    assert look(("@axis=-1",), node, view, schema).broken == ()
    assert look(("@axis=1",), node, view, schema).broken == ("axis has to be 1, not -1",)


def test_a_definition_counts_only_while_the_operators_in_it_are_the_same() -> None:
    """Elu of opset 22 is defined in the operators of opset 18, some of which are others by then; LeakyRelu's are not."""
    for operator, opset, state in (("Elu", 22, "missing"), ("LeakyRelu", 16, "limited")):
        model = model_of([helper.make_node(operator, ["x"], ["y"])], [3], TensorProto.DOUBLE, opset)
        assert told(model, "onnxruntime-cpu")[0][0] == state
        assert opens(model) == (state != "missing")


def test_a_model_larger_than_the_target_takes_does_not_fit() -> None:
    model = read_model(model_bytes("fp32"))
    size = model.ByteSize()
    for most, fits in ((size, True), (size - 1, False)):
        fit = check_target_fit(model, replace(find_profile("ort-web-wasm"), limits={"modelBytes": most}))
        assert fit.runs == fits
        assert [problem.kind for problem in fit.problems] == ([] if fits else ["bytes"])


def test_a_target_of_integers_takes_what_lies_between_quantize_and_dequantize() -> None:
    hexagon = find_profile("litert-hexagon")
    fp32, int8 = (check_target_fit(read_model(model_bytes(kind)), hexagon) for kind in ("fp32", "int8"))
    assert len(fp32.missing) == len(fp32.nodes)
    assert fp32.missing[0].why == "not for float32, but for int8, uint8"
    assert int8.missing == ()


#: Model -> target -> how many nodes it lacks, None where the model does not open there; looked at one by one.
REAL: dict[str, dict[str, int | None]] = {
    "model_kws_dscnn/kws_ds_cnn_fp32.onnx": {
        "onnxruntime-cpu": 0, "openvino-cpu": 0, "directml": 0, "tensorrt": 0, "tensorrt-8.4": None, "qnn": None, "litert-cpu": 0,
        "litert-xnnpack": 0, "litert-coreml": 1, "litert-hexagon": 24,
    },
    "model_vision_mobilenet/vww_96_fp32.onnx": {
        "onnxruntime-cpu": 0, "openvino-cpu": 0, "directml": 0, "tensorrt": 0, "coreml": 0, "litert-gpu": 0, "litert-coreml": 2,
    },
    "model_vad_silero/silero_vad_16k_op15.onnx": {
        "onnxruntime-cpu": 0, "openvino-cpu": None, "ort-web-wasm": 0, "ort-web-webgpu": 20, "directml": 0, "litert-cpu": None,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_models_fit_where_they_were_seen_to(name: str, shared_data: Path) -> None:
    model = read_model((shared_data / name).read_bytes())
    for target, lacks in REAL[name].items():
        fit = check_target_fit(model, find_profile(target))
        assert fit.runs == (lacks is not None), target
        if lacks is not None:
            assert len(fit.missing) == lacks, target


@pytest.mark.parametrize("name", ["directml", "tensorrt", "tensorrt-8.4", "coreml", "qnn"])
def test_tables_that_were_typed_name_operators_types_and_versions_that_onnx_has(name: str) -> None:
    history: dict[str, set[int]] = {}
    for schema in defs.get_all_schemas_with_history():
        if not schema.domain:
            history.setdefault(schema.name, set()).add(schema.since_version)
    # The table has these as onnxruntime registers them: its own LayerNormalization, and an If of a version that ONNX has not.
    odd = {"LayerNormalization": {1}, "If": {7}}
    types = set(DTYPES.values()) | {"float4_e2m1"}
    wrong = []
    for operator, entry in find_profile(name).operators.items():
        known = {dtype for form in entry.forms for dtype in form.types} <= types
        since = {low for form in entry.forms for low, _ in form.since} - odd.get(operator, set())
        if not known or (":" not in operator and not since <= history.get(operator, set())):
            wrong.append((operator, sorted(since)))
    assert wrong == []
