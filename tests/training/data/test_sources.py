"""Data from anywhere: what is read is what was saved, and what is wrong is said with the item that is wrong, all at once."""

import json
import wave
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgewise.bundle.limits import Limits
from edgewise.errors import DataError, MissingExtraError, NotFoundError
from edgewise.training.data import tables
from edgewise.training.data.columns import Columns, dataset_of_columns
from edgewise.training.data.sources import collect, read_split, read_training_data


def _images(folder: Path, sizes: dict[str, list[tuple[int, int]]]) -> None:
    Image = pytest.importorskip("PIL.Image")
    for at, (name, shapes) in enumerate(sizes.items()):
        (folder / name).mkdir(parents=True)
        for number, (height, width) in enumerate(shapes):
            pixels = np.full((height, width, 3), 40 * at, np.uint8)
            pixels[:, : width // 2] += 10
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def _wav(path: Path, samples: int, rate: int = 8000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.full(samples, 1000, np.int16).tobytes())


def test_npz_keeps_groups_and_class_names(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "d.npz",
        x=np.zeros((3, 2)),
        y=np.array([0, 1, 1]),
        group=np.array(["a", "b", "b"]),
        class_names=["no", "yes"],
    )
    data = read_training_data(tmp_path / "d.npz")
    assert data.labels == ("no", "yes")
    assert data.group is not None
    assert data.group.tolist() == ["a", "b", "b"]


def test_values_that_are_not_finite_are_named_with_file_and_row(tmp_path: Path) -> None:
    x = np.zeros((40, 2))
    x[[3, 17]] = np.nan, np.inf
    np.savez(tmp_path / "d.npz", x=x, y=np.zeros(40))
    with pytest.raises(DataError, match=r"d\.npz: x has values that are not finite .* in rows 3 and 17"):
        read_training_data(tmp_path / "d.npz")
    np.savez(tmp_path / "d.npz", x=np.full((40, 2), np.nan), y=np.zeros(40))
    with pytest.raises(DataError, match=r"rows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 30 more"):
        read_training_data(tmp_path / "d.npz")


def test_pictures_of_many_sizes_are_brought_to_one(tmp_path: Path) -> None:
    _images(tmp_path / "d", {"cat": [(20, 30), (64, 40)], "dog": [(12, 12)]})
    data = read_training_data(tmp_path / "d", size=(16, 24))
    assert (data.x.shape, str(data.x.dtype), data.labels) == ((3, 16, 24, 3), "uint8", ("cat", "dog"))
    assert data.y.tolist() == [0, 0, 1]
    assert data.x[2, 8, 3].tolist() == [50] * 3
    assert data.x[2, 8, 20].tolist() == [40] * 3
    assert read_training_data(tmp_path / "d", size=(16, 24), channels=1).x.shape == (3, 16, 24, 1)


@given(st.tuples(*[st.integers(1, 97)] * 4))
@example((32, 47, 16, 24))
def test_a_picture_of_any_size_is_brought_to_any_other(sizes: tuple[int, int, int, int]) -> None:
    with TemporaryDirectory() as folder:
        _images(Path(folder) / "d", {"cat": [sizes[:2]], "dog": [sizes[:2]]})
        data = read_training_data(Path(folder) / "d", size=sizes[2:])
    assert data.x.shape == (2, *sizes[2:], 3)


def test_every_file_at_fault_is_named_at_once(tmp_path: Path) -> None:
    _images(tmp_path / "d", {"cat": [(20, 20)] * 3, "dog": [(20, 20), (12, 12)], "empty": []})
    (tmp_path / "d/cat/9.png").write_bytes(b"nothing")
    (tmp_path / "d/dog/8.jpg").write_bytes(b"")
    with pytest.raises(DataError) as raised:
        read_training_data(tmp_path / "d")
    for said in ("empty: the class folder is empty", "cat/9.png", "dog/8.jpg", "dog/1.png has the shape (12, 12, 3)"):
        assert said in raised.value.what
    assert "a size brings" in raised.value.remedy


def test_clips_of_many_lengths_are_brought_to_one(tmp_path: Path) -> None:
    _wav(tmp_path / "d/yes/a.wav", 10)
    _wav(tmp_path / "d/no/a.wav", 4)
    with pytest.raises(DataError, match="has the shape"):
        read_training_data(tmp_path / "d")
    data = read_training_data(tmp_path / "d", length=6)
    assert (data.x != 0).tolist() == [[False, True, True, True, True, False], [True] * 6]
    assert data.labels == ("no", "yes")
    _wav(tmp_path / "d/no/b.wav", 4, rate=16000)
    with pytest.raises(DataError, match=r"sample rates differ: no/a\.wav 8000, no/b\.wav 16000"):
        read_training_data(tmp_path / "d", length=6)


def test_a_folder_is_bounded(tmp_path: Path) -> None:
    _wav(tmp_path / "d/yes/a.wav", 1000)
    with pytest.raises(DataError, match="more than the 100 bytes"):
        read_training_data(tmp_path / "d", limits=Limits(array_bytes=100))


BAD_LINES = b'{"text": "a", "label": 1}\n{"text": \n[1]\n{"text": "b"}\n'
TABLE: dict[str, Any] = {
    "text": ["turn it on", "off", "on, please"],
    "label": ["on", "off", "on"],
    "group": ["a", "a", "b"],
}


def _write(path: Path, table: dict[str, Any]) -> Path:
    names, rows = list(table), list(zip(*table.values(), strict=True))
    if path.suffix == ".parquet":
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.table(table), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in rows) + "\n", "utf-8")
    else:
        comma = "\t" if path.suffix == ".tsv" else ","
        lines = [comma.join(f'"{value}"' for value in row) for row in (names, *rows)]
        path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@pytest.mark.parametrize("form", tables.TABLES)
def test_tables_of_text_are_the_same_in_every_form(tmp_path: Path, form: str) -> None:
    data = read_training_data(_write(tmp_path / f"d{form}", TABLE))
    assert data.x.tolist() == TABLE["text"]
    assert (data.labels, data.y.tolist()) == (("off", "on"), [1, 0, 1])
    assert data.group is not None
    assert data.group.tolist() == ["a", "a", "b"]
    assert data.digest.startswith("sha256:")


@pytest.mark.parametrize("form", tables.TABLES)
def test_tables_of_numbers_are_the_same_in_every_form(tmp_path: Path, form: str) -> None:
    table = {"a": [1, 2, 3], "b": [0.5, 0.25, 0.0], "grade": [2, 0, 1]}
    data = read_training_data(_write(tmp_path / f"d{form}", table), columns=Columns(label="grade"))
    assert data.x.tolist() == [[1, 0.5], [2, 0.25], [3, 0]]
    assert (data.y.tolist(), str(data.y.dtype), str(data.x.dtype)) == ([2, 0, 1], "int64", "float32")


@pytest.mark.parametrize("form", [".parquet", ".jsonl"])
def test_lists_become_arrays(tmp_path: Path, form: str) -> None:
    data = read_training_data(_write(tmp_path / f"d{form}", {"x": [[[1.0, 2.0]], [[3.0, 4.0]]], "y": [0.5, 1.5]}))
    assert (data.x.shape, data.y.tolist(), str(data.y.dtype)) == ((2, 1, 2), [0.5, 1.5], "float32")


def test_every_row_at_fault_is_named_at_once() -> None:
    table = {"a": ["1", "x", "nan", "4"], "b": ["1", "", "3", "4"], "label": ["u", "", "v", "w"]}
    with pytest.raises(DataError) as raised:
        dataset_of_columns(table, "d.csv")
    assert raised.value.details["problems"] == [
        "label is missing in row 1", "a is no finite number in rows 1 and 2", "b is no finite number in row 1",
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"x is no list of numbers of the shape \(2,\) in rows 1 and 3"):
        dataset_of_columns({"x": [[1, 2], [1], [3, 4], None], "y": [0, 0, 1, 1]}, "d")
    with pytest.raises(DataError, match="x is not finite in row 0"):
        dataset_of_columns({"x": [[1, np.inf], [3, 4]], "y": [0, 1]}, "d")
    with pytest.raises(DataError, match="text has no text in rows 1 and 2"):
        dataset_of_columns({"text": ["a", " ", None], "y": [0, 1, 1]}, "d")
    with pytest.raises(DataError, match="not in row 1"):
        dataset_of_columns({"text": ["a", "b"], "y": ["u", 1]}, "d")
    with pytest.raises(DataError, match="no column of labels"):
        dataset_of_columns({"text": ["a"]}, "d")
    with pytest.raises(DataError, match="no column grade; it has text, y"):
        dataset_of_columns({"text": ["a"], "y": [1]}, "d", Columns(label="grade"))
    with pytest.raises(DataError, match="nothing to tell them by"):
        dataset_of_columns({"y": [1]}, "d")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("d.csv", b"text,label\na,b\nc\nd,e,f\n", "line 3 has 1 values, the heading 2; line 4 has 3"),
        ("d.csv", b"text,text\na,b\n", "each one once"),
        ("d.csv", b"text,label\n\xff,b\n", "UTF-8"),
        ("d.csv", b"text,label\n", "no rows"),
        ("d.jsonl", BAD_LINES, "line 2 is no JSON.*line 3 is no object; line 4 has the fields text"),
        ("d.jsonl", b'{"a": NaN, "label": 1}\n', "NaN is not JSON"),
        ("d.jsonl", b"", "no rows"),
        ("d.parquet", b"PAR1nonsense", "cannot be read as Parquet"),
        ("d.txt", b"", "is no data set"),
        ("d.npz", b"nothing", r"d\.npz"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_read_say_where(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_training_data(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for name in ("d.npz", "d.csv", "d"):
        with pytest.raises(NotFoundError):
            read_training_data(tmp_path / name)


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError) as raised:
        read_training_data(tmp_path / "d.parquet")
    assert "edgewise[parquet]" in raised.value.remedy


def test_an_iterator_of_samples_or_of_batches_is_the_same_data() -> None:
    x, y = np.arange(12.0).reshape(6, 2), np.arange(6)
    samples = collect((sample, label) for sample, label in zip(x, y, strict=True))
    batches = collect({"x": x[at : at + 4], "y": y[at : at + 4], "group": y[at : at + 4]} for at in (0, 4))
    assert samples.x.tolist() == batches.x.tolist() == x.tolist()
    assert samples.y.tolist() == batches.y.tolist() == y.tolist()
    assert batches.group is not None
    assert batches.group.tolist() == y.tolist()
    assert collect([("some text", 0), ("more", 1)]).x.tolist() == ["some text", "more"]


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([], "gives nothing"),
        ([np.zeros(2)], "item 0 is neither"),
        ([{"x": np.zeros(2)}], "item 0 has no x and y; it has x"),
        (
            [(np.zeros(2), 0), (np.zeros(3), 0), (np.zeros(2), 0), (np.zeros((2, 1)), 0)],
            r"in rows 1 and 3; .* x float64 \(3,\)",
        ),
    ],
)
def test_items_that_do_not_fit_are_named(items: list[Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        collect(items)
    with pytest.raises(DataError, match="more than the 10 bytes"):
        collect([(np.zeros(2), 0)], limits=Limits(array_bytes=10))


def test_evaluation_data_counts_its_classes_as_the_training_data_does(tmp_path: Path) -> None:
    train = _write(tmp_path / "t.csv", {"text": list("abcdef"), "label": ["on", "off", "dim"] * 2})
    other = _write(tmp_path / "e.csv", {"text": ["g", "h"], "label": ["on", "dim"]})
    halves, warnings = read_split(train, other)
    assert halves.evaluation.y.tolist() == [2, 0]
    assert warnings == ()
    strange = _write(tmp_path / "s.csv", {"text": ["g"], "label": ["blink"]})
    with pytest.raises(DataError, match="classes that the model lacks: blink"):
        read_split(train, strange)


def test_one_file_is_split(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", x=rng.random((40, 2)), y=np.arange(40) % 2, group=np.arange(40) // 4)
    halves, warnings = read_split(tmp_path / "d.npz", share=0.25)
    assert (len(halves.train), len(halves.evaluation)) == (30, 10)
    assert "groups are in the training and in the evaluation data" in warnings[0]
    halves, warnings = read_split(tmp_path / "d.npz", share=0.25, by_group=True)
    assert warnings == ()


def test_a_number_that_is_no_class_is_named_by_row(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"text,label\none,0\ntwo,{10**30}\n")
    with pytest.raises(DataError, match="label is beyond any class number in row 1"):
        read_training_data(tmp_path / "t.csv")
