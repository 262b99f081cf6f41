"""What contradicts itself is refused before anything runs: labels, states, variants that are not alike."""

from dataclasses import replace
from typing import Any

import pytest
from onnx import TensorProto, helper

from edgewise.bundle.document import Document
from edgewise.bundle.tensors import StateSpec, TensorSpec
from edgewise.errors import InputError, ModelError
from edgewise.importing.imported import ImportedModel
from edgewise.importing.onnx_file import onnx_from_bytes
from edgewise.packing.describing import describe, narrowed


def identity(*shape: Any, outputs: tuple[Any, ...] = ()) -> ImportedModel:
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(outputs or shape))],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return onnx_from_bytes("m.onnx", model.SerializeToString())


def document(model: ImportedModel, **changes: Any) -> Document:
    return replace(Document("m", "1", "classification", model.inputs, model.outputs, ()), **changes)


@pytest.mark.parametrize(
    ("shape", "labels", "fits"),
    [
        (("batch", 3), 3, True),
        (("batch", 3), 2, False),
        (("batch", 3), 4, False),
        (("batch", 3, 1, 1), 3, True),
        (("batch", 1), 2, True),
        (("batch", 1), 3, False),
        (("batch", "classes"), 7, True),
        (("batch", 2, 3), 5, True),
    ],
    ids=["fits", "few", "many", "map", "binary", "binary-three", "free", "not-known"],
)
def test_there_are_as_many_labels_as_classes_wherever_that_is_known(shape: Any, labels: int, fits: bool) -> None:
    model = identity(*shape)
    wanted = document(model, labels=tuple(map(str, range(labels))))
    if fits:
        assert describe(wanted, {"fp32": model}, {})[0].labels == wanted.labels
    else:
        with pytest.raises(InputError, match=f"there are {labels} labels"):
            describe(wanted, {"fp32": model}, {})


def test_variants_have_to_be_alike_up_to_what_is_free() -> None:
    with pytest.raises(ModelError, match="the variant b has other inputs"):
        describe(document(identity("batch", 3)), {"a": identity("batch", 3), "b": identity("batch", 5)}, {})
    models = {"a": identity("batch", 3), "b": identity(1, 3)}
    assert len(describe(document(models["a"]), models, {})[0].variants) == 2
    (note,) = narrowed(models)
    assert note.startswith("b takes only x: float32 (1, 3) where a takes x: float32 (batch, 3)")
    assert narrowed({"a": models["a"], "b": models["a"]}) == []


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ([("x", "z")], "there is no state x=z"),
        ([("x", "y")], "every input is a state"),
        ([("x", "y"), ("x", "y")], "named by two states"),
    ],
)
def test_states_that_cannot_be_are_refused(states: list[tuple[str, str]], words: str) -> None:
    model = identity("batch", 3)
    with pytest.raises(InputError, match=words):
        describe(document(model, states=tuple(StateSpec(*pair) for pair in states)), {"a": model}, {})


def test_a_state_has_the_form_of_what_feeds_it() -> None:
    model = identity("batch", 3)
    other = replace(model, inputs=(*model.inputs, TensorSpec("s", "float32", ("batch", 4))))
    with pytest.raises(InputError, match=r"the state s is s: float32 \(batch, 4\)"):
        describe(document(other, states=(StateSpec("s", "y"),)), {"a": other}, {})


def test_files_that_go_along_are_told_apart_by_who_reads_them() -> None:
    model = identity("batch", 3)
    made, blobs = describe(document(model), {"a": model}, {"tokenizer.json": b"{}", "LICENSE": b"MIT"})
    kinds = {file.path: file.media_type for file in made.files}
    assert "config" in kinds["tokenizer.json"]
    assert "doc" in kinds["LICENSE"]
    assert blobs[-2:] == [b"MIT", b"{}"]
