"""Made-up inputs fit the interface: one example, within its range, both ends of it included, and the same every time."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgewise.bundle.build import build_bundle
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.document import Document, Variant
from edgewise.bundle.tensors import StateSpec, TensorSpec
from edgewise.measure.samples import fitting_inputs, synthetic
from edgewise.runtime.device import read_device
from edgewise.runtime.opening import Candidate, open_candidate
from edgewise.runtime.session import Session
from edgewise.store.home import Home
from edgewise.testing.sample_bundles import sample_file


@pytest.mark.parametrize(
    ("shape", "made"),
    [(("batch", 3), (1, 3)), (("batch", "n", 2), (1, 7, 2)), ((4, "n"), (4, 7)), ((), ()), (("batch",), (1,))],
)
@pytest.mark.parametrize("dtype", ["float32", "uint8", "int64", "bool", "str"])
def test_a_batch_is_one_and_what_varies_has_the_size_that_is_tried(
    shape: tuple[int | str, ...], made: tuple[int, ...], dtype: str
) -> None:
    array = synthetic(TensorSpec("x", dtype, shape), free=7)
    assert (array.shape, array.dtype) == (made, np.dtype(object if dtype == "str" else dtype))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64"])
def test_whole_numbers_reach_both_ends_of_their_range(dtype: str) -> None:
    array = synthetic(TensorSpec("x", dtype, (1, 1000), (3, 5)))
    assert set(array.ravel().tolist()) == {3, 4, 5}
    free = synthetic(TensorSpec("x", dtype, (1, 5000)), top=4)
    assert set(free.ravel().tolist()) == {0, 1, 2, 3, 4}
    assert synthetic(TensorSpec("x", dtype, (1, 5000)), top=255).max() == (127 if dtype == "int8" else 255)


def test_numbers_spread_over_their_range_or_around_zero() -> None:
    stated = synthetic(TensorSpec("x", "float32", (1, 1000), (10.0, 20.0)))
    assert (10 <= stated.min() < 11, 19 < stated.max() <= 20) == (True, True)
    free = synthetic(TensorSpec("x", "float32", (1, 1000)))
    assert (-1 <= free.min() < -0.9, 0.9 < free.max() <= 1) == (True, True)


def test_the_same_seed_gives_the_same_input_and_another_seed_another() -> None:
    spec = TensorSpec("x", "float32", (1, 8))
    assert np.array_equal(synthetic(spec, 3), synthetic(spec, 3))
    assert not np.array_equal(synthetic(spec, 3), synthetic(spec, 4))


def summing(tmp_path: Path) -> tuple[Bundle, Session]:
    """A model with a state, which takes signals of at most 20 samples, and has no golden set."""
    nodes = [
        helper.make_node("ReduceSum", ["x", "axis"], ["sum"], keepdims=1),
        helper.make_node("Add", ["sum", "state"], ["total"]),
        helper.make_node("Shape", ["x"], ["dims"], start=1),
        helper.make_node("Sub", ["limit", "dims"], ["left"]),
        helper.make_node("Expand", ["total", "left"], ["spare"]),
    ]
    value = helper.make_tensor_value_info
    inputs = [value("x", TensorProto.FLOAT, ["batch", "n"]), value("state", TensorProto.FLOAT, [1, 1])]
    outputs = [value("total", TensorProto.FLOAT, ["batch", 1]), value("spare", TensorProto.FLOAT, None)]
    stored = [
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]), helper.make_tensor("limit", TensorProto.INT64, [1], [20])
    ]  # fmt: skip
    graph = helper.make_graph(nodes, "g", inputs, outputs, stored)
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    document = Document(
        "sum", "1", "tensor", (TensorSpec("x", "float32", ("batch", "n")), TensorSpec("state", "float32", (1, 1))),
        (TensorSpec("total", "float32", ("batch", 1)),), (Variant("fp32", "onnx", "fp32", (sample_file("m.onnx", data),)),),
        states=(StateSpec("state", "total"),),
    )  # fmt: skip
    bundle = build_bundle(document, [data])
    candidate = Candidate("fp32", "onnxruntime", "CPUExecutionProvider")
    return bundle, open_candidate(bundle, candidate, home=Home(tmp_path), device=read_device())


def test_sizes_are_tried_until_the_model_takes_one_and_states_are_its_own(tmp_path: Path) -> None:
    bundle, session = summing(tmp_path)
    with session:
        inputs = fitting_inputs(bundle, session)
        assert inputs is not None
        assert {name: array.shape for name, array in inputs.items()} == {"x": (1, 16)}
