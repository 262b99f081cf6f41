"""A head in the graph: one more output, everything else as it was, to the bit, for every form that a variant can have."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.routing.head.forms import FORMS, behind, form, noisy, run

from edgewise.compress.quantize.half import Half
from edgewise.digits import model_bytes
from edgewise.errors import InputError, MismatchError, ModelError, UnsupportedError
from edgewise.graph.inspect import describe, read_model
from edgewise.graph.walk import is_default_domain
from edgewise.routing.head.head import SCORE, Head, Layer, feature_count
from edgewise.routing.head.join import join_head, without_head
from edgewise.routing.head.proof import prove_joined
from edgewise.routing.head.reading import read_samples

HIDDEN = 128
NO_HIDDEN = ("half compute", "half out", "half softmax")


def some_head(name: str = "", hidden: int = 0, classes: int = 10, units: int = 0, seed: int = 0) -> Head:
    draw = np.random.default_rng(seed)
    width = feature_count(classes) + hidden
    entering, leaving = (draw.normal(0, 0.1, shape).astype(np.float32) for shape in ((width, units), units))
    layer = Layer(entering, np.full(units, 0.1, np.float32), leaving) if units else None
    kind = "probabilities" if name == "half softmax" else "logits"
    return Head("logits", kind, classes, draw.normal(0, 0.1, width).astype(np.float32), 0.3, layer, hidden)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FORMS)
def test_other_outputs_keep_their_bits_and_the_score_is_the_heads(name: str) -> None:
    model, x = form(name), noisy()[0]
    head = some_head(name, 0 if name in NO_HIDDEN else HIDDEN, units=16)
    joined = join_head(model, head)
    apart = prove_joined(model, joined, head, [{"pixels": x[:count]} for count in (1, 2, 7, 256)])
    assert apart < (5e-3 if name.startswith("half ") and name != "half compute" else 1e-5)
    score = run(joined, x[:5])[SCORE]
    assert (score.shape, score.dtype) == ((5, 1), np.float32)


@pytest.mark.parametrize("name", FORMS)
def test_a_variant_keeps_its_opset_its_operators_and_its_precision(name: str) -> None:
    model = form(name)
    joined = join_head(model, some_head(name, 0 if name in NO_HIDDEN else HIDDEN))
    before, after = (describe(read_model(each)) for each in (model, joined))
    assert (before.opsets, before.precision) == (after.opsets, after.precision)
    assert all(after.operators[kind] >= count for kind, count in before.operators.items())
    ours = [node for node in onnx.load_from_string(joined).graph.node if node.name.startswith("deferral/")]
    assert all(is_default_domain(node.domain) for node in ours)
    assert len(onnx.load_from_string(model).graph.node) + len(ours) + 1 == len(onnx.load_from_string(joined).graph.node)


@pytest.mark.parametrize("name", FORMS)
def test_the_last_layers_input_is_found_behind_every_form(name: str) -> None:
    seen = read_samples(form(name), {"pixels": noisy()[0][:40]}, "logits")
    assert (None if seen.hidden is None else seen.hidden.shape) == (None if name in NO_HIDDEN else (40, HIDDEN))
    assert seen.form == ("probabilities" if name == "half softmax" else "logits")
    if seen.hidden is not None:
        reference = read_samples(form("fp32"), {"pixels": noisy()[0][:40]}, "logits").hidden
        assert reference is not None
        assert np.corrcoef(seen.hidden.ravel(), reference.ravel())[0, 1] > (0.9 if name == "int4 storage" else 0.99)


def test_a_graph_that_is_put_together_by_hand_gives_the_same_score() -> None:
    # Independent of the features' code: log odds of two classes are their distance.
    line = np.zeros(feature_count(2), np.float32)
    line[-1] = -1
    values = np.float32([[3.0, 1.0], [-2.0, 5.5], [0.0, 0.0]])
    joined = join_head(identity(2), Head("logits", "logits", 2, line, 0.25))
    np.testing.assert_allclose(run(joined, values)[SCORE][:, 0], [2.25, 7.75, 0.25], atol=1e-6)


@pytest.mark.parametrize("gap", [120.0, 5000.0])
def test_a_winner_by_far_has_a_finite_score(gap: float) -> None:
    head = some_head(classes=3)
    values = np.float32([[gap, 0, -gap], [0, 0, 0], [-gap, -gap, -gap]])
    joined = join_head(identity(3), head)
    assert prove_joined(identity(3), joined, head, [{"x": values}]) < 1e-5
    assert np.isfinite(run(joined, values)[SCORE]).all()


@pytest.mark.parametrize(("squeeze", "shape"), [(True, ["n", 1]), (False, ["n", 1]), (False, ["n"])])
def test_one_score_is_read_as_two_classes(squeeze: bool, shape: list[str | int]) -> None:
    model = onnx.load_from_string(identity(1, shape))
    if squeeze:
        behind(model, "Sigmoid")
    kind = "logit" if squeeze else "probability"
    head = Head("logits", kind, 2, some_head(classes=2).line, 0.0)  # type: ignore[arg-type]
    values = np.float32([0.1, 0.5, 0.93]).reshape(-1, *([1] if len(shape) > 1 else []))
    before = model.SerializeToString()
    assert prove_joined(before, join_head(before, head), head, [{"x": values}]) < 1e-5
    assert read_samples(before, {"x": values}, "logits").form == kind


def test_a_former_head_is_replaced_and_can_be_taken_out() -> None:
    model, x = form("int8"), noisy()[0][:9]
    once = join_head(model, some_head(hidden=HIDDEN, units=8))
    twice = join_head(once, some_head(seed=5))
    assert twice == join_head(without_head(onnx.load_from_string(once)).SerializeToString(), some_head(seed=5))
    np.testing.assert_array_equal(run(twice, x)[SCORE], run(join_head(model, some_head(seed=5)), x)[SCORE])
    bare = without_head(onnx.load_from_string(twice))
    assert [value.name for value in bare.graph.output] == ["logits"]
    assert not [node.name for node in bare.graph.node if node.name.startswith("deferral/")]
    assert run(bare.SerializeToString(), x)["logits"].tobytes() == run(model, x)["logits"].tobytes()
    assert without_head(bare) is bare


def test_names_that_the_model_has_too_are_kept_apart() -> None:
    model = onnx.load_from_string(form("fp32"))
    for node, name in zip(
        model.graph.node, ("TopK", "deferral/TopK", "constant", SCORE, "deferral/constant"), strict=False
    ):
        rename_value(model, node.output[0], name)
    before, head = model.SerializeToString(), some_head(hidden=HIDDEN)
    assert prove_joined(before, join_head(before, head), head, [{"pixels": noisy()[0][:3]}]) < 1e-5


def test_an_output_that_has_the_name_already_is_the_models_own() -> None:
    model = onnx.load_from_string(form("fp32"))
    rename_value(model, "logits", SCORE)
    with pytest.raises(InputError, match="of its own"):
        join_head(model.SerializeToString(), Head(SCORE, "logits", 10, some_head().line, 0.0))


def test_a_head_of_another_model_is_refused() -> None:
    with pytest.raises(InputError, match="no output"):
        join_head(form("fp32"), Head("other", "logits", 10, some_head().line, 0.0))
    with pytest.raises(InputError, match="7 hidden values"):
        join_head(form("fp32"), some_head(hidden=7))
    with pytest.raises(InputError, match="3 classes"):
        join_head(form("fp32"), some_head(classes=3))
    with pytest.raises(InputError, match="before that"):
        join_head(form("softmax"), some_head("half softmax"))


@pytest.mark.parametrize(
    ("shape", "dtype", "said"), [(["n", 3, 4], TensorProto.FLOAT, "N, classes"), ([3], TensorProto.FLOAT, "N, classes"),
                                 (["n", 3], TensorProto.INT64, "int64")],
)  # fmt: skip
def test_what_is_no_classifiers_scores_is_refused(shape: list[str | int], dtype: int, said: str) -> None:
    with pytest.raises(UnsupportedError, match=said):
        join_head(identity(3, shape, dtype), some_head(classes=3))


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ModelError):
        join_head(b"not a model", some_head())
    with pytest.raises(ModelError, match="did not come with it"):
        join_head(with_external_weights()[0], some_head())


def test_data_beside_the_model_comes_inside() -> None:
    model, data = with_external_weights()
    head, x = some_head(hidden=HIDDEN), noisy()[0][:4]
    joined = join_head(model, head, {"weights.bin": data})
    assert run(joined, x)["logits"].tobytes() == run(form("fp32"), x)["logits"].tobytes()


def test_a_head_that_changes_another_output_is_found_out() -> None:
    head, x = some_head(), noisy()[0][:4]
    model = onnx.load_from_string(join_head(form("fp32"), head))
    (bias,) = (tensor for tensor in model.graph.initializer if tensor.name == list(model.graph.node)[11].input[2])
    moved = numpy_helper.to_array(bias).copy()
    moved[3] += 1e-5
    bias.CopyFrom(numpy_helper.from_array(moved, bias.name))
    with pytest.raises(MismatchError, match="logits comes out otherwise"):
        prove_joined(form("fp32"), model.SerializeToString(), head, [{"pixels": x}])


def test_a_score_that_is_not_the_heads_is_found_out() -> None:
    head = some_head()
    other = Head("logits", "logits", 10, head.line, head.bias + 1e-4)
    with pytest.raises(MismatchError, match="differs by"):
        prove_joined(form("fp32"), join_head(form("fp32"), head), other, [{"pixels": noisy()[0][:4]}])


def test_one_bad_batch_among_good_ones_is_enough() -> None:
    head = some_head(classes=3)
    other = Head("logits", "logits", 3, head.line + np.float32([0.01, *[0] * (len(head.line) - 1)]), head.bias)
    feeds = [{"x": np.float32([[5, 1, 0]])}, {"x": np.zeros((1, 3), np.float32)}]  # the weight is of the largest score
    with pytest.raises(MismatchError, match="differs by"):
        prove_joined(identity(3), join_head(identity(3), head), other, feeds)


@pytest.mark.parametrize("name", ["int8", "int8 softmax", "static s8", "qoperator", "integers out"])
def test_what_stands_between_two_conversions_is_read_before_them(name: str) -> None:
    graph = onnx.load_from_string(join_head(form(name), some_head(hidden=HIDDEN))).graph
    makers = {output: node.op_type for node in graph.node for output in node.output}
    ours = [node for node in graph.node if node.name.startswith("deferral/")]
    entering = {name for node in ours for name in node.input if name in makers and not name.startswith("deferral/")}
    assert len(entering) == 2
    assert not [name for name in entering if makers[name] == "DequantizeLinear"]


def test_an_opset_that_is_too_old_is_raised() -> None:
    model = onnx.load_from_string(identity(3))
    model.opset_import[0].version = 11
    head = some_head(classes=3)
    joined = join_head(model.SerializeToString(), head)
    assert onnx.load_from_string(joined).opset_import[0].version == 13
    assert prove_joined(model.SerializeToString(), joined, head, [{"x": np.float32([[1, 2, 3]])}]) < 1e-5


def test_halves_are_stored_without_being_in_the_way() -> None:
    # Stored as halves, computed in floats: what the last layer is given is read as in the original.
    model = Half().apply(onnx.load_from_string(model_bytes("fp32")), None).SerializeToString()  # type: ignore[arg-type]
    head = some_head(hidden=HIDDEN)
    assert prove_joined(model, join_head(model, head), head, [{"pixels": noisy()[0][:8]}]) < 1e-5


def identity(classes: int, shape: list[str | int] | None = None, dtype: int = TensorProto.FLOAT) -> bytes:
    infos = [helper.make_tensor_value_info(name, dtype, shape or ["n", classes]) for name in ("x", "logits")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["logits"])], "g", infos[:1], infos[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def rename_value(model: onnx.ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for value in (*model.graph.output, *model.graph.value_info):
        value.name = new if value.name == old else value.name


def with_external_weights() -> tuple[bytes, bytes]:
    model, data = onnx.load_from_string(form("fp32")), b""
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > 1000:
            entries = {"location": "weights.bin", "offset": len(data), "length": len(tensor.raw_data)}
            data += tensor.raw_data
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.extend(onnx.StringStringEntryProto(key=k, value=str(v)) for k, v in entries.items())
    assert data
    return model.SerializeToString(), data
