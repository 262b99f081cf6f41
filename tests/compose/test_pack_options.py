"""Options in words: what does not mean anything is refused, what means something is taken at its word."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgewise.bundle.tensors import TensorSpec
from edgewise.compose.pack_options import (
    check_target,
    read_labels,
    read_states,
    with_constants,
    with_range,
    with_sample_rate,
)
from edgewise.errors import InputError
from edgewise.importing.check import open_imported
from edgewise.importing.imported import ImportedModel
from edgewise.importing.onnx_file import onnx_from_bytes

PIXELS = TensorSpec("x", "uint8", ("batch", 4))
SOUND = TensorSpec("x", "float32", ("batch", "samples"))


def chooser(kind: int = TensorProto.BOOL) -> ImportedModel:
    """x where c, else zeros; or x times c for numbers."""
    nodes = (
        [helper.make_node("Sub", ["x", "x"], ["zero"]), helper.make_node("Where", ["c", "x", "zero"], ["y"])]
        if kind == TensorProto.BOOL
        else [helper.make_node("Cast", ["c"], ["f"], to=TensorProto.FLOAT), helper.make_node("Mul", ["x", "f"], ["y"])]
    )
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2]), helper.make_tensor_value_info("c", kind, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return onnx_from_bytes("m.onnx", model.SerializeToString())


@pytest.mark.parametrize(("word", "factor"), [("true", 1), ("1", 1), ("false", 0), ("0", 0), ("no", 0)])
def test_a_truth_is_what_it_says(word: str, factor: int) -> None:
    session = open_imported(with_constants(chooser(), [f"c={word}"]))
    x = np.array([[1, 2]], np.float32)
    assert session.run({"x": x})["y"].tolist() == (x * factor).tolist()
    session.close()


@pytest.mark.parametrize(
    ("kind", "setting", "words"),
    [
        (TensorProto.BOOL, "c=perhaps", "true or false"),
        (TensorProto.INT8, "c=300", "not int8"),
        (TensorProto.INT8, "c=1.5", "not int8"),
        (TensorProto.FLOAT, "d=1", "its inputs are x, c"),
    ],
)
def test_a_constant_that_does_not_fit_is_refused(kind: int, setting: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        with_constants(chooser(kind), [setting])


@pytest.mark.parametrize(
    ("spec", "text", "words"),
    [
        (SOUND, "nan,1", "finite"),
        (SOUND, "0,inf", "finite"),
        (SOUND, "1,0", "the lower first"),
        (SOUND, "1", "two numbers"),
        (PIXELS, "0.5,0.7", "whole numbers from 0 to 255"),
        (PIXELS, "0,256", "whole numbers from 0 to 255"),
        (TensorSpec("t", "str", ("batch",)), "0,1", "has no range"),
    ],
)
def test_a_range_that_no_value_could_have_is_refused(spec: TensorSpec, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        with_range((spec,), text)


def test_a_range_is_the_first_inputs_and_none_changes_nothing() -> None:
    assert with_range((SOUND, PIXELS), "-1,1")[0].range == (-1, 1)
    assert with_range((SOUND, PIXELS), "") == (SOUND, PIXELS)


def test_a_sample_rate_makes_the_input_audio() -> None:
    (spec,) = with_sample_rate((SOUND,), 16000)
    assert (spec.content, spec.extra["sampleRate"]) == ("audio", 16000)
    assert with_sample_rate((SOUND,), 0) == (SOUND,)
    with pytest.raises(InputError, match="not audio"):
        with_sample_rate((PIXELS,), 8000)


def test_a_state_names_an_input_and_an_output() -> None:
    (state,) = read_states(["c=y"], chooser(TensorProto.FLOAT))
    assert (state.input, state.output) == ("c", "y")
    with pytest.raises(InputError, match="inputs are x, c; outputs are y"):
        read_states(["y=c"], chooser(TensorProto.FLOAT))


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"a\n\nb\n", "blank line at 2"), (b"", "no labels"), (b"\n\n", "no labels"), (b"\xff\xfe", "not UTF-8")],
)
def test_a_label_file_that_would_shift_or_lose_labels_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "l.txt").write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_labels(tmp_path / "l.txt")


def test_labels_are_lines_without_byte_order_mark_and_trailing_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_bytes(b"\xef\xbb\xbfno\r\n yes \n\n\n")
    assert read_labels(tmp_path / "l.txt") == ("no", "yes")
    assert read_labels(None) == ()


def test_a_target_that_cannot_be_written_is_told_before_the_work(tmp_path: Path, monkeypatch: Any) -> None:
    check_target(tmp_path / "new" / "m.bundle")
    monkeypatch.chdir(tmp_path)
    check_target(Path("m.bundle"))
    with pytest.raises(InputError, match="is a folder"):
        check_target(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be written"):
        check_target(tmp_path / "file" / "m.bundle")
