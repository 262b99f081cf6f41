"""A model reads nothing outside its folder and no more than its tensors need, whatever its external data says."""

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgewise.errors import ModelError, UnsupportedError
from edgewise.graph.external import external_locations, is_safe_location
from edgewise.graph.inspect import ModelLimits, read_model

VALUE = np.arange(8, dtype=np.float32).reshape(4, 2)
FILE = b"\xff" * 64 + VALUE.tobytes()


def tensor(location: str = "weights.bin", **entries: str) -> TensorProto:
    made = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=VALUE.shape, data_location=TensorProto.EXTERNAL)
    for key, text in {"location": location, "offset": "64", "length": "32", **entries}.items():
        made.external_data.add(key=key, value=text)
    return made


def model(weights: TensorProto, *, inside_branch: bool = False, in_attribute: bool = False) -> bytes:
    def info(name: str) -> object:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2])

    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    initializers = [] if in_attribute else [weights]
    nodes = [helper.make_node("Constant", [], ["w"], value=weights), node] if in_attribute else [node]
    if inside_branch:
        branch = helper.make_graph(nodes, "b", [], [info("y")], initializers)
        condition = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True)))
        nodes = [condition, helper.make_node("If", ["c"], ["out"], then_branch=branch, else_branch=branch)]
        graph = helper.make_graph(nodes, "g", [x], [info("out")])
    else:
        graph = helper.make_graph(nodes, "g", [x], [info("y")], initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(made.SerializeToString())


def files(location: str) -> bytes:
    return {"weights.bin": FILE}[location]


@pytest.mark.parametrize("where", [{}, {"inside_branch": True}, {"in_attribute": True}])
def test_external_data_is_inline_afterwards_wherever_the_tensor_is(where: dict[str, bool]) -> None:
    data = model(tensor(), **where)
    read = read_model(data, external=files)
    assert external_locations(ModelProto.FromString(data)) == ("weights.bin",)
    assert external_locations(read) == ()
    assert VALUE.tobytes() in read.SerializeToString()


def test_without_offset_and_length_the_shape_decides() -> None:
    weights = tensor()
    del weights.external_data[1:]
    read = read_model(model(weights), external=lambda location: VALUE.tobytes())
    np.testing.assert_array_equal(numpy_helper.to_array(read.graph.initializer[0]), VALUE)


@pytest.mark.parametrize(
    "location",
    [
        "",
        "/etc/passwd",
        "../weights.bin",
        "a/../../b",
        "a/..",
        "C:\\weights",
        "c:weights",
        "a\\..\\b",
        "\\\\host\\share",
        "a\0b",
        "a\nb",
        "*/_ORT_MEM_ADDR_/*",
    ],
)
def test_a_location_outside_the_folder_is_refused_before_anything_is_read(location: str) -> None:
    asked: list[str] = []
    with pytest.raises(ModelError, match="outside"):
        read_model(model(tensor(location)), external=lambda name: (asked.append(name), FILE)[1])
    assert asked == []
    assert not is_safe_location(location)


@pytest.mark.parametrize("location", ["weights.bin", "a/b.data", "model.onnx.data", "..weights", "a..b/c"])
def test_plain_relative_paths_are_safe(location: str) -> None:
    assert is_safe_location(location)


@pytest.mark.parametrize(
    "entries",
    [
        {"offset": "65"},
        {"offset": "-64"},
        {"offset": "1e2"},
        {"offset": "99999999999999999999"},
        {"length": "31"},
        {"length": "33"},
        {"offset": "9223372036854775807"},
        {"length": "٣٢"},
    ],
)
def test_offsets_and_lengths_outside_the_file_are_refused(entries: dict[str, str]) -> None:
    with pytest.raises(ModelError, match="'w'"):
        read_model(model(tensor(**entries)), external=files)


def test_text_and_unknown_types_have_no_external_data() -> None:
    for kind in (TensorProto.STRING, 99):
        weights = tensor()
        weights.data_type = kind
        with pytest.raises(ModelError, match="cannot have external data"):
            read_model(model(weights), external=files)


def test_the_bound_counts_files_and_counts_shared_regions_each_time() -> None:
    with pytest.raises(UnsupportedError, match="at most 95"):
        read_model(model(tensor()), external=files, limits=ModelLimits(external_bytes=95))
    many = ModelProto.FromString(model(tensor()))
    for number in range(4):
        copy = many.graph.initializer.add()
        copy.CopyFrom(tensor())
        copy.name = f"copy{number}"
    with pytest.raises(UnsupportedError, match="at most 100"):
        read_model(many.SerializeToString(), external=files, limits=ModelLimits(external_bytes=100))


def test_missing_external_data_is_named() -> None:
    with pytest.raises(ModelError, match=r"weights\.bin"):
        read_model(model(tensor()))
