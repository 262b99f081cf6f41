"""Static int8 really runs in integers, from the first layer to the last, and says what the floats said."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper
from tests.compress.quantize.small import Operator, between_convolutions, case, decibels, fused, run, weight
from tests.networks.cases import CASES

from edgewise.compress.quantize.preparation import prepare
from edgewise.compress.quantize.static import Static
from edgewise.errors import UnsupportedError
from edgewise.graph.inspect import describe
from edgewise.graph.walk import is_default_domain, nodes

STATIC = Static(count=32)
#: Plain nets with one conversion in front and none behind: the last layer gives floats itself.
PLAIN = [
    "cnn", "cnn of everything", "cnn of strides", "ds-cnn", "ds-cnn of spoken digits", "mobilenet", "resnet8", "cnn of digits",
    "cnn1d", "cnn1d of an open length",
]  # fmt: skip
FED_ONE = [
    name for name in CASES if name not in {"text-bag of everything", "text-bag of n-grams", "two-tower of everything"}
]


def integer_weights(model: ModelProto) -> int:
    return sum(
        int(np.prod(t.dims))
        for t in model.graph.initializer
        if t.data_type in {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    )


@pytest.mark.parametrize("name", FED_ONE)
def test_answers_stay_close_in_standard_operators_and_the_argument_is_left_alone(name: str) -> None:
    model, samples, fed = case(name)
    before = model.SerializeToString()
    small = STATIC.apply(model, samples)
    assert model.SerializeToString() == before
    onnx.checker.check_model(small, full_check=True)
    assert all(is_default_domain(node.domain) for node in nodes(small))
    old, new = describe(model), describe(small)
    assert (old.inputs, [value.name for value in old.outputs]) == (new.inputs, [value.name for value in new.outputs])
    assert integer_weights(small) > 0
    assert decibels(run(model, fed, samples.output), run(small, fed, samples.output)) > 20  # 21 to 52 seen


@pytest.mark.parametrize("name", PLAIN)
def test_a_convolutional_net_is_one_path_of_integers(name: str) -> None:
    model, samples, _ = case(name)
    operators = fused(STATIC.apply(model, samples))
    assert (operators["QuantizeLinear"], operators["DequantizeLinear"]) == (1, 0)
    assert not {"Conv", "FusedConv", "Gemm", "MatMul", "Relu", "Clip", "GlobalMaxPool"} & set(operators)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


BETWEEN: dict[str, Sequence[Operator]] = {
    "leaky relu": [("LeakyRelu", ["a"], ["b"], {})],
    "relu6": [("Clip", ["a", np.float32(0), np.float32(6)], ["b"], {})],
    "silu": [("Sigmoid", ["a"], ["s"], {}), ("Mul", ["a", "s"], ["b"], {})],
    "hard swish": [("HardSwish", ["a"], ["b"], {})],
    "hard swish in parts": [
        ("Add", ["a", floats(3)], ["p"], {}), ("Clip", ["p", np.float32(0), np.float32(6)], ["q"], {}),
        ("Mul", ["a", "q"], ["r"], {}), ("Div", ["r", floats(6)], ["b"], {}),
    ],
    "hard sigmoid": [("HardSigmoid", ["a"], ["s"], {}), ("Mul", ["a", "s"], ["b"], {})],
    "squeeze and excite": [
        ("ReduceMean", ["a", ints(2, 3)], ["g"], {}), ("Conv", ["g", weight(4, 4, 1, 1)], ["h"], {}), ("Relu", ["h"], ["i"], {}),
        ("Conv", ["i", weight(4, 4, 1, 1)], ["j"], {}), ("Sigmoid", ["j"], ["s"], {}), ("Mul", ["a", "s"], ["b"], {}),
    ],
    "subtract": [("Sub", ["a", floats(1.5)], ["b"], {})],
    "max pool": [("MaxPool", ["a"], ["b"], {"kernel_shape": [2, 2]})],
    "average pool": [("AveragePool", ["a"], ["b"], {"kernel_shape": [2, 2]})],
    "global max pool": [("GlobalMaxPool", ["a"], ["b"], {})],
    "nearest": [("Resize", ["a", "", floats(1, 1, 2, 2)], ["b"], {"mode": "nearest"})],
    "pad": [("Pad", ["a", ints(0, 0, 1, 1, 0, 0, 1, 1)], ["b"], {})],
    "slice": [("Slice", ["a", ints(0), ints(4), ints(2)], ["b"], {})],
    "split and swap": [("Split", ["a"], ["l", "r"], {"axis": 1, "num_outputs": 2}), ("Concat", ["r", "l"], ["b"], {"axis": 1})],
    "shuffle": [
        ("Reshape", ["a", ints(0, 2, 2, 8, 8)], ["r"], {}), ("Transpose", ["r"], ["t"], {"perm": [0, 2, 1, 3, 4]}),
        ("Reshape", ["t", ints(0, 4, 8, 8)], ["b"], {}),
    ],
    "residual": [
        ("Relu", ["a"], ["z"], {}), ("Conv", ["z", weight(4, 4, 1, 1)], ["c"], {}), ("Add", ["c", "z"], ["d"], {}),
        ("Relu", ["d"], ["b"], {}),
    ],
    "residual of what comes before a relu": [
        ("Relu", ["a"], ["z"], {}), ("Conv", ["z", weight(4, 4, 1, 1)], ["c"], {}), ("Add", ["c", "a"], ["d"], {}),
        ("Relu", ["d"], ["b"], {}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", BETWEEN)
def test_what_lies_between_layers_is_no_island_of_floats(name: str) -> None:
    model, samples, fed = between_convolutions(list(BETWEEN[name]))
    small = STATIC.apply(model, samples)
    operators = fused(small)
    assert (operators["QuantizeLinear"], operators["DequantizeLinear"]) == (1, 1)
    assert decibels(run(model, fed), run(small, fed)) > 30
    signed = replace(STATIC, activations="s8").apply(model, samples)
    assert decibels(run(model, fed), run(signed, fed)) > 30


@pytest.mark.parametrize("operator", ["PRelu", "Tanh"])
def test_what_has_no_integer_form_stays_in_floats_and_right(operator: str) -> None:
    slope: list[str | np.ndarray] = [floats(0.1, 0.2, 0.3, 0.4).reshape(4, 1, 1)] if operator == "PRelu" else []
    model, samples, fed = between_convolutions([(operator, ["a", *slope], ["b"], {})])
    small = STATIC.apply(model, samples)
    assert fused(small)[operator] == 1
    assert decibels(run(model, fed), run(small, fed)) > 30


def test_a_layer_is_the_integer_arithmetic_of_the_paper() -> None:
    """A convolution of one position, by hand: int32 sums of (q_x - z_x) q_w + q_b, times the three scales (Jacob et al. 2018)."""
    model, samples, fed = between_convolutions([("Relu", ["a"], ["b"], {})])
    small = STATIC.apply(model, samples)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in small.graph.initializer}
    makers = {node.output[0]: node for node in small.graph.node}
    first, last = (node for node in small.graph.node if node.op_type == "Conv")

    def parts(name: str) -> list[np.ndarray]:
        return [stored[each] for each in makers[name].input if each in stored]

    (x_scale, x_zero), (w, w_scale), (b, b_scale) = (parts(name) for name in first.input)
    np.testing.assert_array_equal(b_scale, x_scale * w_scale)
    q = np.clip(np.round(fed["x"] / x_scale) + x_zero, 0, 255).astype(np.int64) - int(x_zero)
    sums = np.einsum("nchw,oc->nohw", q, w[:, :, 0, 0].astype(np.int64)) + b[:, None, None]
    y_scale, y_zero = parts(last.input[0])
    assert y_zero == 0  # the Relu is the grid's lowest integer
    assert "Relu" not in {node.op_type for node in small.graph.node}
    between = np.clip(np.round(sums * b_scale[:, None, None] / y_scale), 0, 255).astype(np.int64)
    w2, w2_scale = parts(last.input[1])
    sums = np.einsum("nchw,oc->nohw", between, w2[:, :, 0, 0].astype(np.int64))
    end = parts(makers[small.graph.output[0].name].output[0])
    wanted = (
        np.clip(np.round(sums * (y_scale * w2_scale)[:, None, None] / end[0]), -int(end[1]), 255 - int(end[1])) * end[0]
    )
    assert (
        np.mean(np.isclose(run(small, fed), wanted, atol=1e-5)) > 0.995
    )  # a half may be rounded either way in float32
    assert np.abs(run(small, fed) - wanted).max() < 4 * end[0]


@pytest.mark.parametrize("name", ["cnn", "ds-cnn"])
def test_signed_activations_and_float_biases_give_the_same_answers(name: str) -> None:
    model, samples, fed = case(name)
    answers = [
        run(replace(STATIC, **change).apply(model, samples), fed)
        for change in ({}, {"activations": "s8"}, {"bias": "float32"})
    ]
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_allclose(answers[0], answers[2], atol=1e-6)


def test_four_bits_run_in_the_same_integers_in_fewer_bytes() -> None:
    model, samples, fed = case("ds-cnn")
    small, plain = (replace(STATIC, weight_bits=bits).apply(model, samples) for bits in (4, 8))
    onnx.checker.check_model(small, full_check=True)
    assert fused(small) == fused(plain)
    assert small.ByteSize() < 0.75 * plain.ByteSize()
    assert decibels(run(model, fed), run(small, fed)) > 10


def test_preprocessing_in_front_stays_as_it_is() -> None:
    model, samples, _ = case("cnn of everything")
    small = STATIC.apply(model, samples)
    order = [node.op_type for node in small.graph.node]
    assert {"Cast", "ReduceMean", "Sqrt", "Div"} <= set(order[: order.index("QuantizeLinear")])


def test_a_model_of_one_sample_at_a_time_sees_all_samples() -> None:
    model, samples, fed = between_convolutions([("Relu", ["a"], ["b"], {})], 33)
    single = ModelProto()
    single.CopyFrom(model)
    single.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    small, alone = (replace(STATIC, count=33).apply(each, samples) for each in (model, single))
    one = {"x": fed["x"][:1]}
    np.testing.assert_array_equal(run(small, one), run(alone, one))
    assert describe(alone).inputs[0].shape[0] == 1


def test_large_samples_are_measured_a_few_at_a_time() -> None:
    model, samples, _ = case("mobilenet", 64)
    batches = [batch["x"] for batch in prepare(model).batches(samples, 64)()]
    assert max(batch.nbytes for batch in batches) <= 4 << 20
    np.testing.assert_array_equal(np.concatenate(batches), samples.data.x[samples.rows(64)])


def test_a_second_input_without_samples_is_refused_by_its_name() -> None:
    model, samples, _ = case("text-bag of everything")
    with pytest.raises(UnsupportedError, match=r"the model takes \w+ besides"):
        STATIC.apply(model, samples)


def test_layers_that_are_kept_stay_in_float_and_others_do_not() -> None:
    model, samples, _ = case("cnn")
    kept = [node.name for node in model.graph.node if node.op_type == "Conv"][1]
    operators = fused(replace(STATIC, keep=(kept,)).apply(model, samples))
    assert operators["FusedConv"] + operators["Conv"] == 1
    assert operators["QLinearConv"] == 2
    with pytest.raises(UnsupportedError, match="every layer"):
        replace(STATIC, keep=("*",)).apply(model, samples)


def test_a_table_that_is_a_layer_too_is_stored_once() -> None:
    model, samples, _ = case("two-tower")
    small = STATIC.apply(model, samples)
    table = max((tensor for tensor in model.graph.initializer), key=lambda tensor: int(np.prod(tensor.dims)))
    assert [tuple(t.dims) for t in small.graph.initializer].count(tuple(table.dims)) == 1


def test_a_model_without_layers_is_refused_by_what_it_has() -> None:
    model, samples, _ = case("cnn")
    small = STATIC.apply(model, samples)
    with pytest.raises(UnsupportedError, match="no Conv, Gemm, MatMul with stored float32 weights"):
        STATIC.apply(small, samples)


def test_the_name_says_every_setting() -> None:
    changed = [
        STATIC, replace(STATIC, activations="s8"), replace(STATIC, weights="tensor"), replace(STATIC, ranges="mse"),
        replace(STATIC, weight_ranges="mse"), replace(STATIC, weight_bits=7), replace(STATIC, bias="float32"),
        replace(STATIC, equalize=True), replace(STATIC, correct=True), replace(STATIC, keep=("a",)),
        replace(STATIC, rest=False), replace(STATIC, count=7),
    ]  # fmt: skip
    assert len({each.name for each in changed}) == len(changed)
    assert STATIC.name == "int8-static:u8s8,channel,minmax,n=32"
    assert (
        STATIC.describe() == "weights as int8 per channel, activations as uint8 over the whole range seen on 32 samples"
    )
