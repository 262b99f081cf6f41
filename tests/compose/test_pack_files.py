"""What the command line says of a model is what the bundle says; what is not said comes from the fragments and the data."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgewise.bundle.document import Document
from edgewise.bundle.tensors import StateSpec, TensorSpec
from edgewise.cli.main import build_parser
from edgewise.compose.importing import Imported
from edgewise.compose.keys import new_key
from edgewise.compose.pack_files import _inputs, _states, pack_files
from edgewise.errors import InputError, KeyFileError, MismatchError
from edgewise.importing.onnx_file import import_onnx
from edgewise.store.bundles import find_bundle, open_path
from edgewise.store.home import Home

X = np.array([[-1.0, 2.0], [3.0, 1.0], [0.5, -2.0], [1.0, 4.0]], np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """y is the input as it is, z its negative."""
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["z"])]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in "xyz"]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    return tmp_path / "m.onnx"


def packed(model: Path, *words: object, signed: bool = False, golden: bool = False) -> tuple[Document, tuple[str, ...]]:
    given = ["pack", model, "--name", "m", "--version", "1", "-o", model.with_suffix(".bundle"), *words]
    given += [] if signed else ["--unsigned"]
    given += [] if golden else ["--golden-count", "0"]
    options = build_parser("pack").parse_args([str(word) for word in given])
    made, notes = pack_files(options, lambda what, done, total: None)
    assert open_path(options.output).document == made.bundle.document
    return made.bundle.document, notes


def test_what_is_said_wins_over_what_a_fragment_says(model: Path) -> None:
    assert packed(model)[0].decision == ""
    assert packed(model, "--task", "classification")[0].decision == "y"
    assert packed(model, "--after", "sigmoid:of=z")[0].decision == "probabilities"
    assert packed(model, "--after", "sigmoid:of=z", "--decision", "y")[0].decision == "y"
    document, _ = packed(model, "--description", "Two numbers.", "--licence", "MIT", "--range", "-4,4")
    assert (document.description, document.licence, document.task) == ("Two numbers.", "MIT", "tensor")
    assert document.inputs[0].range == (-4.0, 4.0)


def test_a_fragment_in_front_changes_what_the_bundle_takes(model: Path) -> None:
    document, _ = packed(model, "--before", "dequantize:scale=0.5,zero_point=1,dtype=int8")
    assert (document.inputs[0].dtype, document.inputs[0].shape) == ("int8", ("batch", 2))


def test_labels_come_from_the_file_or_else_from_the_data(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=X, y=X.argmax(1), class_names=np.array(["low", "high"]))
    given = ("--task", "classification", "--decision", "y", "--eval", tmp_path / "d.npz")
    assert packed(model, *given)[0].labels == ("low", "high")
    (tmp_path / "labels.txt").write_text("low\nhigh\n")
    document, _ = packed(model, "--task", "classification", "--labels", tmp_path / "labels.txt")
    assert document.labels == ("low", "high")


def test_a_reference_is_held_to_the_tolerance_that_is_said(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", **{"in/x": X, "out/y": X + 0.125})
    for words in ((), ("--tolerance", "0.0625")):
        with pytest.raises(MismatchError):
            packed(model, "--reference", tmp_path / "r.npz", *words)
    _, notes = packed(model, "--reference", tmp_path / "r.npz", "--tolerance", "0.25")
    assert any("against r.npz: largest difference 0.125" in note for note in notes)


def test_a_golden_set_is_taken_from_what_is_named_for_it(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "g.npz", x=X)
    document, _ = packed(model, "--golden", tmp_path / "g.npz", "--golden-count", "3", "--decision", "y", golden=True)
    assert document.golden is not None
    assert document.golden.extra["source"] == "data"


def test_installing_again_says_that_something_is_replaced(model: Path) -> None:
    new_key(Home.default().default_key, Home.default(), "me")
    assert not any("is replaced" in note for note in packed(model, "--install", signed=True)[1])
    assert any(
        "m:1 was installed before and is replaced" in note for note in packed(model, "--install", signed=True)[1]
    )
    assert find_bundle("m", Home.default()).is_file()


def test_a_bundle_is_signed_with_the_key_that_is_named_or_ones_own(model: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="there is no signing key"):
        packed(model, signed=True)
    own = new_key(Home.default().default_key, Home.default(), "me")
    other = new_key(tmp_path / "other.key", Home.default(), "other")
    for words, key in (((), own), (("--key", tmp_path / "other.key"), other)):
        packed(model, *words, signed=True)
        (envelope,) = open_path(model.with_suffix(".bundle")).evidence().values()
        assert [key_id for key_id, _ in envelope.signatures] == [key.key_id]
    packed(model)
    assert not open_path(model.with_suffix(".bundle")).evidence()


def test_what_a_source_says_of_tensors_holds_only_for_those_that_are_still_there(model: Path) -> None:
    """Constants and fragments take inputs away and change them; ranges and states go with them."""
    now = import_onnx(model)
    known = TensorSpec("x", "float32", ("batch", 2), (0.0, 1.0), "sensor")
    states = (StateSpec("x", "y"), StateSpec("gone", "y"), StateSpec("x", "gone"))
    said = Imported({"fp32": now}, states=states, inputs=(TensorSpec("gone", "float32", (1,)), known))
    assert _inputs(now, said) == (known,)
    assert _states(now, said) == (states[0],)
    for other in (replace(known, dtype="uint8"), replace(known, shape=("batch", 2, 1)), replace(known, name="z")):
        assert _inputs(now, replace(said, inputs=(other,))) == now.inputs


def test_a_training_step_is_made_where_it_is_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("onnx_ad")
    weights = helper.make_tensor("w", TensorProto.FLOAT, [2, 2], [1.0, 0.0, 0.0, 1.0])
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "layer")
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in "xy"]
    made = helper.make_model(
        helper.make_graph([node], "g", infos[:1], infos[1:], [weights]),
        opset_imports=[helper.make_opsetid("", 18)], ir_version=9,
    )  # fmt: skip
    (tmp_path / "w.onnx").write_bytes(made.SerializeToString())
    given = ("--task", "classification", "--trainable", "w*", "--optimizer", "sgd", "--learning-rate", "0.5")
    document, notes = packed(tmp_path / "w.onnx", *given)
    (entry,) = document.training
    assert (entry.variant, entry.loss, entry.optimizer) == ("fp32", "cross-entropy", "sgd")
    assert any("can learn on the device: 4 weights" in note for note in notes)
    assert packed(tmp_path / "w.onnx")[0].training == ()
    with pytest.raises(InputError, match="are for a training step"):
        packed(tmp_path / "w.onnx", "--freeze", "w")
