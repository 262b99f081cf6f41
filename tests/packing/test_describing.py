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
from edgewise.packing.describing import check_labels, describe, narrowed


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


@pytest.mark.parametrize("kind", ["inputs", "outputs"])
@pytest.mark.parametrize("change", ["more", "name", "dtype", "rank", "size"])
def test_variants_take_and_give_the_same_in_every_respect(kind: str, change: str) -> None:
    model = identity("batch", 3)
    (spec,) = getattr(model, kind)
    other = {
        "more": (spec, replace(spec, name="more")), "name": (replace(spec, name="z"),),
        "dtype": (replace(spec, dtype="float16"),), "rank": (replace(spec, shape=("batch", 3, 1)),),
        "size": (replace(spec, shape=("batch", 4)),),
    }[change]  # fmt: skip
    changed: dict[str, Any] = {kind: other}
    with pytest.raises(ModelError, match=f"the variant b has other {kind} than the first one"):
        describe(document(model), {"a": model, "b": replace(model, **changed)}, {})


def test_the_labels_are_those_of_the_output_that_decides() -> None:
    model = identity("batch", 3)
    outputs = (TensorSpec("features", "float32", ("batch", 5)), TensorSpec("y", "float32", ("batch", 3)))
    for name, labels, fits in (("y", 3, True), ("y", 5, False), ("", 5, True), ("", 3, False), ("features", 3, False)):
        wanted = document(model, outputs=outputs, decision=name, labels=tuple("abcde"[:labels]))
        if fits:
            check_labels(wanted)
        else:
            with pytest.raises(InputError, match=f"there are {labels} labels"):
                check_labels(wanted)


@pytest.mark.parametrize("dtype", ["int64", "int32", "str"])
def test_an_output_that_names_the_class_itself_does_not_say_how_many_there_are(dtype: str) -> None:
    outputs = (TensorSpec("y", dtype, ("batch", 3)),)
    check_labels(document(identity("batch", 3), outputs=outputs, labels=tuple("abcdefg")))


def test_one_score_is_one_label_of_several_or_one_of_two_classes() -> None:
    one = document(identity("batch", 1))
    check_labels(replace(one, task="multilabel", labels=("fire",)))
    check_labels(replace(one, task="classification", labels=("calm", "fire")))
    check_labels(replace(one, task="regression", labels=("a", "b", "c")))
    for task, labels in (("multilabel", ("calm", "fire")), ("classification", ("fire",))):
        with pytest.raises(InputError, match=f"there are {len(labels)} labels"):
            check_labels(replace(one, task=task, labels=labels))


def test_two_states_never_come_from_one_output() -> None:
    model = identity("batch", 3)
    more = (TensorSpec("s", "float32", ("batch", 3)), TensorSpec("t", "float32", ("batch", 3)))
    other = replace(model, inputs=(*model.inputs, *more))
    with pytest.raises(InputError, match="y is named by two states"):
        describe(document(other, states=(StateSpec("s", "y"), StateSpec("t", "y"))), {"a": other}, {})


def test_what_the_document_says_of_itself_is_kept() -> None:
    model = identity("batch", 3)
    said: dict[str, Any] = {"description": "A model.", "licence": "MIT", "decision": "y", "labels": ("a", "b", "c")}
    made = describe(document(model, **said), {"a": model}, {})[0]
    assert {name: getattr(made, name) for name in said} == said
    assert (made.name, made.version, made.task) == ("m", "1", "classification")
