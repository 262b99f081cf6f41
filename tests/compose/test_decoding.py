"""Files become inputs: values and rows are kept, or the file is refused with what the model takes."""

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewise.bundle.document import Document, File, Variant
from edgewise.bundle.tensors import StateSpec, TensorSpec
from edgewise.compose.decoding import decode_file
from edgewise.errors import DataError, NotFoundError
from edgewise.runtime.inputs import InputCheck

VARIANT = Variant("fp32", "onnx", "fp32", (File("model.onnx", "application/octet-stream", "sha256:" + "0" * 64, 1),))


def model(*inputs: TensorSpec, states: tuple[str, ...] = ()) -> Document:
    outputs = (
        TensorSpec("y", "float32", ("batch", 3)),
        *(TensorSpec(f"{name}_out", "float32", (1,)) for name in states),
    )
    carried = tuple(StateSpec(name, f"{name}_out") for name in states)
    return Document("test", "1", "tensor", inputs, outputs, (VARIANT,), states=carried)


def takes(*shape: int | str, dtype: str = "float32", **more: Any) -> Document:
    return model(TensorSpec("x", dtype, shape, **more))


def refused(path: Path, document: Document) -> DataError:
    with pytest.raises(DataError) as raised:
        decode_file(path, document)
    assert str(path) in raised.value.what
    return raised.value


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


# ------------------------------------------------------------------------------------------------------ paths


def test_a_folder_is_called_a_folder_and_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "d.png").mkdir()
    for folder in (tmp_path, tmp_path / "d.png"):
        assert "is a folder" in refused(folder, takes("batch", 3)).what
    for name in ("none.csv", "x" * 300 + ".csv", "none"):
        with pytest.raises(NotFoundError):
            decode_file(tmp_path / name, takes("batch", 3))


def test_a_file_of_no_known_kind_is_refused_with_what_the_model_takes(file: Any) -> None:
    error = refused(file("notes.txt", "hello"), takes("batch", 3))
    assert "no image, wav, csv" in error.what
    assert "x: float32 (batch, 3)" in error.remedy


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.png", b"no image"), ("a.wav", b""), ("a.npy", b""), ("a.npz", b"PK"), ("a.json", b"{"), ("a.csv", b"x,y\n")],
)
def test_a_damaged_file_is_refused_with_what_the_model_takes(file: Any, name: str, content: bytes) -> None:
    shapes = {"a.png": takes("batch", "h", "w", 3, dtype="uint8")}
    error = refused(file(name, content), shapes.get(name, takes("batch", 3)))
    assert "The model takes x: " in error.remedy
    assert "arrays x (N, ...) and y" not in error.remedy


def test_a_file_of_one_array_is_not_given_to_a_model_with_two_inputs(file: Any) -> None:
    both = model(TensorSpec("a", "float32", ("batch", 2)), TensorSpec("b", "float32", ("batch", 2)))
    for path in (file("t.csv", "1,2"), file("t.json", "[1, 2]")):
        error = refused(path, both)
        assert "2 inputs" in error.what
        assert ".npz or .json" in error.remedy
        assert "a: float32 (batch, 2); b: float32" in error.remedy


def test_a_model_whose_every_input_is_a_state_takes_no_file(file: Any) -> None:
    error = refused(file("t.csv", "1"), model(TensorSpec("s", "float32", (1,)), states=("s",)))
    assert "every input of it carries a state" in error.what


# -------------------------------------------------------------------------------------------------------- npz


def test_x_stands_in_for_the_only_input_and_never_for_one_of_several(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, x=np.ones((4, 2), np.float32), y=np.zeros(4))
    one, state = TensorSpec("a", "float32", ("batch", 2)), TensorSpec("s", "float32", (1, 2))
    assert decode_file(path, model(one))["a"].shape == (4, 2)
    assert set(decode_file(path, model(one, state, states=("s",)))) == {"a"}
    error = refused(path, model(one, TensorSpec("b", "float32", ("batch", 2))))
    assert "no array a or b; it has x, y" in error.what


def test_an_array_that_does_not_fit_is_refused_with_expected_and_got(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 5)))
    np.save(tmp_path / "d.npy", np.zeros((2, 5)))
    for path in (tmp_path / "d.npz", tmp_path / "d.npy"):
        error = refused(path, takes("batch", 3))
        assert error.what == f"{path}: x should be float32 (batch, 3); got dtype float64, shape (2, 5)"


def test_an_array_that_fits_is_read_as_it_was_saved(tmp_path: Path) -> None:
    x = np.arange(6, dtype=">f4").reshape(2, 3)
    np.save(tmp_path / "d.npy", x)
    found = decode_file(tmp_path / "d.npy", takes("batch", 3))["x"]
    assert (found.tolist(), found.dtype) == (x.tolist(), np.float32)


# ------------------------------------------------------------------------------------------------------- json


@pytest.mark.parametrize(
    ("dtype", "content", "words"),
    [
        ("float32", "[1, null, 3]", "type None"),
        ("float32", "[1, NaN, 3]", "NaN, which is not JSON"),
        ("float32", "[1, -Infinity, 3]", "which is not JSON"),
        ("float32", "[1, 1e400, 3]", "not finite"),
        ("float32", "[1, 1e39, 3]", "float32 cannot hold"),
        ("float32", '{"x": [1, 2, 3], "x": [4, 5, 6]}', "twice"),
        ("float32", '["1", 2, 3]', "type str"),
        ("float32", "[1, true, 3]", "type bool"),
        ("float32", "[[1, 2, 3], [4]]", "different lengths"),
        ("float32", "[]", "got shape (0,)"),
        ("float32", "[1, 2]", "got shape (2,)"),
        ("float32", "[" * 100 + "]" * 100, "nested deeper"),
        ("float32", "", "not JSON"),
        ("float32", "1", "got shape ()"),
        ("uint8", "[1.7, 300, -1]", "type float"),
        ("uint8", "[1, 300, -1]", "-1..300"),
        ("str", '["a", "b", 3]', "type int"),
        ("bool", "[true, false, 1]", "type int"),
    ],
)
def test_json_values_are_never_cast(file: Any, dtype: str, content: str, words: str) -> None:
    error = refused(file("d.json", content), takes("batch", 3, dtype=dtype))
    assert words in error.what
    assert "Get the bundle again" not in error.remedy


def test_json_names_inputs_or_holds_the_only_one(file: Any) -> None:
    assert decode_file(file("a.json", "[1, 2.5, 3]"), takes("batch", 3))["x"].tolist() == [1, 2.5, 3]
    both = model(TensorSpec("a", "uint8", ("batch", 2)), TensorSpec("b", "str", ("batch",)))
    found = decode_file(file("b.json", '{"a": [[1, 2]], "b": ["\u00e9"]}'), both)
    assert (found["a"].dtype, found["a"].tolist(), found["b"].tolist()) == (np.uint8, [[1, 2]], ["\u00e9"])
    assert "no 'b'; it has 'a'" in refused(file("c.json", '{"a": [1, 2]}'), both).what


def test_json_holds_more_values_than_a_bundle_document_may(file: Any) -> None:
    x = np.arange(300_000).reshape(100, 3000)
    found = decode_file(file("d.json", json.dumps(x.tolist())), takes("batch", 3000, dtype="int32"))["x"]
    assert np.array_equal(found, x)


# -------------------------------------------------------------------------------------------------------- csv


@pytest.mark.parametrize(
    ("dtype", "content", "words"),
    [
        ("uint8", "1,2,3\n1,1.7,3", "row 2, column 2 is 1.7"),
        ("uint8", "1,300,-1", "row 1, column 2 is 300"),
        ("int8", "1,2,-129", "row 1, column 3 is -129"),
        ("int64", "1,2,9007199254740993", "column 3 is 9007199254740993"),
        ("bool", "0,1,2", "column 3 is 2"),
        ("float32", "1,nan,3", "column 2 is nan"),
        ("float32", "1,2,1e400", "column 3 is 1e400"),
        ("float32", "1,2,1e39", "column 3 is 1e39"),
        ("float16", "# a note\n\n1,2,3\n1,2,70000", "row 2, column 3 is 70000"),
        ("float32", "1,2,3\n4,,6", "row 2, column 2 is ''"),
        ("float32", "1,2,3\n4,5", "row 2 has 2 values, row 1 has 3"),
        ("float32", "a,b,c\n1,2,3", "row 1, column 1 is 'a'"),
        ("float32", "1;2;3", "row 1, column 1 is '1;2;3'"),
        ("float32", "1,2,3#4", "row 1, column 3 is '3#4'"),
        ("float32", "", "is empty"),
        ("float32", "\n # nothing\n", "is empty"),
        ("str", "1,2,3", "the model takes texts"),
    ],
)
def test_csv_values_are_never_cast_and_the_first_bad_one_is_named(
    file: Any, dtype: str, content: str, words: str
) -> None:
    assert words in refused(file("d.csv", content), takes("batch", 3, dtype=dtype)).what


@pytest.mark.parametrize(
    ("dtype", "content", "kept"),
    [
        ("uint8", "0,255.0,1e1", [0, 255, 10]),
        ("int64", "-9007199254740991, 0 ,7", [1 - 2**53, 0, 7]),
        ("bool", "0,1,1", [False, True, True]),
        ("float32", "\ufeff0.5,-1e-3,3", [0.5, np.float32(-1e-3), 3]),
    ],
)
def test_csv_values_that_the_type_holds_are_kept(file: Any, dtype: str, content: str, kept: list[Any]) -> None:
    found = decode_file(file("d.csv", content), takes("batch", 3, dtype=dtype))["x"]
    assert (found.dtype, found.tolist()) == (np.dtype(dtype), kept)


ROWS = np.arange(1, 25, dtype=np.float32)


@pytest.mark.parametrize(
    ("shape", "table", "found"),
    [
        (("batch", 3), (4, 3), (4, 3)),
        (("batch", 3), (1, 3), (3,)),
        (("batch", 3), (3, 1), (3,)),
        (("batch", 3), (3, 3), (3, 3)),
        (("batch", 1), (4, 1), (4, 1)),
        (("batch", "features"), (4, 3), (4, 3)),
        (("batch", "samples"), (1, 8), (8,)),
        (("batch", "samples"), (8, 1), (8,)),
        ((1, 3), (1, 3), (3,)),
        ((1, 3), (2, 3), None),
        (("batch", 6), (2, 3), None),
        (("batch", 3), (2, 6), None),
        (("batch", 3), (1, 6), None),
        (("batch", 4, 3), (4, 3), (4, 3)),
        (("batch", 4, 3), (3, 4), None),
        (("batch", 4, 3), (8, 3), None),
        (("batch", 4, 3), (1, 12), (4, 3)),
        (("batch", 4, 3), (2, 12), (2, 4, 3)),
        (("batch", "time", 3), (5, 3), (5, 3)),
        (("batch", "time", 3), (1, 12), (4, 3)),
        (("batch", "time", 3), (4, 6), None),
        (("batch", "time", "channels"), (5, 2), (5, 2)),
        (("batch", 1, "samples"), (8, 1), (1, 8)),
        (("batch", 1, "samples"), (4, 3), None),
        (("batch", 1, 4, 3), (4, 3), (1, 4, 3)),
        (("batch", 4, 3, 1), (4, 3), (4, 3, 1)),
        (("batch", 1, 4, 3), (2, 12), (2, 1, 4, 3)),
        (("batch", 1, "time", 3), (5, 3), (1, 5, 3)),
        (("batch", 1, 1, "samples"), (4, 3), None),
        (("batch", "height", "width", 1), (4, 3), None),
        (("batch",), (4, 1), (4,)),
        (("batch",), (1, 4), (4,)),
        (("batch",), (2, 2), None),
        ((6,), (1, 6), (6,)),
        ((6,), (6, 1), (6,)),
        ((6,), (2, 3), None),
        ((4, 3), (4, 3), (4, 3)),
        ((4, 3), (3, 4), None),
        ((4, "n"), (4, 5), (4, 5)),
        ((), (1, 1), ()),
    ],
)
def test_a_table_is_a_batch_of_rows_or_one_example_and_its_rows_are_kept(
    file: Any, shape: tuple[int | str, ...], table: tuple[int, int], found: tuple[int, ...] | None
) -> None:
    values = ROWS[: table[0] * table[1]]
    path = file("t.csv", "\n".join(",".join(map(str, row)) for row in values.reshape(table)))
    if found is None:
        error = refused(path, takes(*shape))
        assert f"{table[0]} rows of {table[1]} numbers" in error.what
        assert f"float32 ({', '.join(map(str, shape))})" in error.what
        return
    array = decode_file(path, takes(*shape))["x"]
    assert array.shape == found
    assert array.ravel().tolist() == values.tolist()
    assert InputCheck(takes(*shape).inputs[0]).check(array)[0].ndim == len(shape)


# ------------------------------------------------------------------------------------------- images and sound


def test_an_image_of_another_size_than_the_model_takes_comes_with_both_ways_out(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.zeros((32, 40), np.uint8)).save(tmp_path / "a.png")
    error = refused(tmp_path / "a.png", takes("batch", 28, 20, 1, dtype="uint8"))
    assert "uint8 (batch, 28, 20, 1); got shape (32, 40, 1)" in error.what
    assert "28x20" in error.remedy
    assert "--before image:size=28x20" in error.remedy
    assert decode_file(tmp_path / "a.png", takes("batch", "h", "w", 3, dtype="uint8"))["x"].shape == (32, 40, 3)
    assert "not images" in refused(tmp_path / "a.png", takes("batch", 3, 32, 40)).what


def save_wav(path: Path, samples: list[int], rate: int = 8000) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", "not compressed"))
        file.writeframes(np.array(samples, "<i2").tobytes())
    return path


def test_sixteen_bit_sound_reaches_an_int16_input_as_it_is(tmp_path: Path) -> None:
    samples = [20001, -32768, 32767, 1, 0]
    path = save_wav(tmp_path / "a.wav", samples)
    assert decode_file(path, takes("batch", "samples", dtype="int16"))["x"].tolist() == samples
    assert decode_file(path, takes("samples", dtype="float32"))["x"].tolist() == [value / 32768 for value in samples]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (takes("batch", "time", 3), "not samples (N, samples)"),
        (takes("batch", 40, 40, 1, dtype="uint8"), "not samples (N, samples)"),
        (takes("batch", "samples", dtype="int64"), "not samples (N, samples)"),
        (takes("batch", "samples", extra={"sampleRate": 16000}), "8000 samples a second; the model takes 16000"),
        (takes("batch", 4), "got shape (5,)"),
    ],
)
def test_sound_is_refused_where_the_model_takes_something_else(tmp_path: Path, document: Document, words: str) -> None:
    error = refused(save_wav(tmp_path / "a.wav", [1, 2, 3, 4, 5]), document)
    assert words in error.what
    assert error.remedy


def test_a_wav_file_without_samples_is_refused(tmp_path: Path) -> None:
    assert "has no samples" in refused(save_wav(tmp_path / "a.wav", []), takes("batch", "samples")).what
