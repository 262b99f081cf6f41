"""Calibration samples from whatever a person has: labels are welcome and not needed, and what does not fit is told by its row."""

import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgewise.bundle.document import Document
from edgewise.bundle.tensors import TensorSpec
from edgewise.compose.calibrating_data import read_samples
from edgewise.errors import DataError, EdgewiseError, NotFoundError
from edgewise.testing.sample_bundles import sample_document
from edgewise.training.data.text_hash import TextHash


def document(*inputs: TensorSpec, labels: tuple[str, ...] = ()) -> Document:
    from dataclasses import replace

    return replace(sample_document(), inputs=inputs, labels=labels)


VECTOR = TensorSpec("x", "float32", ("batch", 4))
X = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_labels_are_welcome_and_not_needed(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X)
    np.savez(tmp_path / "b.npz", x=X, y=[2, 0, 1], group=["k", "k", "l"])
    bare = read_samples(tmp_path / "a.npz", document(VECTOR), tmp_path / "m.bundle")
    assert len(bare) == 3
    assert bare.y is None
    assert bare.group is None
    full = read_samples(tmp_path / "b.npz", document(VECTOR), tmp_path / "m.bundle")
    assert full.y is not None
    assert full.y.tolist() == [2, 0, 1]
    assert full.group is not None
    assert bare.inputs["x"].tolist() == full.inputs["x"].tolist() == X.tolist()
    assert bare.facts()["digest"] != full.facts()["digest"]


def test_classes_are_counted_as_the_model_counts_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=[0, 1, 2], class_names=["b", "c", "a"])
    found = read_samples(tmp_path / "a.npz", document(VECTOR, labels=("a", "b", "c")), tmp_path / "m.bundle")
    assert found.y is not None
    assert found.y.tolist() == [1, 2, 0]
    np.savez(tmp_path / "words.npz", x=X, y=["c", "a", "b"])
    words = read_samples(tmp_path / "words.npz", document(VECTOR, labels=("a", "b", "c")), tmp_path / "m.bundle")
    assert words.y is not None
    assert words.y.tolist() == [2, 0, 1]
    np.savez(tmp_path / "other.npz", x=X, y=[0, 1, 2], class_names=["b", "c", "d"])
    with pytest.raises(DataError, match="classes that the model lacks: d"):
        read_samples(tmp_path / "other.npz", document(VECTOR, labels=("a", "b", "c")), tmp_path / "m.bundle")


def test_class_numbers_may_be_floats_and_must_be_numbers_of_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "floats.npz", x=X, y=[2.0, 0.0, 1.0])
    found = read_samples(tmp_path / "floats.npz", document(VECTOR), tmp_path / "m.bundle")
    assert found.y is not None
    assert found.y.dtype == np.int64
    for wrong in ([0.5, 0.0, 1.0], [[1, 0], [0, 1], [1, 0]]):
        np.savez(tmp_path / "wrong.npz", x=X, y=wrong)
        with pytest.raises(DataError, match="a class number for each sample"):
            read_samples(tmp_path / "wrong.npz", document(VECTOR), tmp_path / "m.bundle")


def test_several_inputs_come_as_arrays_of_their_names(tmp_path: Path) -> None:
    mask = TensorSpec("mask", "int64", ("batch", 2))
    np.savez(tmp_path / "a.npz", x=X, mask=np.ones((3, 2), np.int64), y=[0, 1, 2])
    with pytest.raises(DataError, match="takes x, mask"):
        read_samples(tmp_path / "a.npz", document(VECTOR, mask), tmp_path / "m.bundle")
    values = TensorSpec("values", "float32", ("batch", 4))
    np.savez(tmp_path / "b.npz", values=X, mask=np.ones((3, 2), np.int64), y=[0, 1, 2])
    found = read_samples(tmp_path / "b.npz", document(values, mask), tmp_path / "m.bundle")
    assert {name: array.shape for name, array in found.inputs.items()} == {"values": (3, 4), "mask": (3, 2)}
    np.savez(tmp_path / "c.npz", values=X, mask=np.ones((2, 2), np.int64))
    with pytest.raises(DataError, match="different lengths: values 3, mask 2"):
        read_samples(tmp_path / "c.npz", document(values, mask), tmp_path / "m.bundle")


def test_texts_become_ids_by_the_file_beside_the_bundle(tmp_path: Path) -> None:
    ids, weights = (
        TensorSpec("ids", "int64", ("batch", "length")),
        TensorSpec("weights", "float32", ("batch", "length")),
    )
    np.savez(tmp_path / "a.npz", x=["pay my bill", "play a song"], y=["pay", "play"])
    with pytest.raises(NotFoundError, match=r"m\.text\.json"):
        read_samples(tmp_path / "a.npz", document(ids, weights, labels=("pay", "play")), tmp_path / "m.bundle")
    (tmp_path / "m.text.json").write_bytes(TextHash(buckets=64, length=16).to_json())
    found = read_samples(tmp_path / "a.npz", document(ids, weights, labels=("pay", "play")), tmp_path / "m.bundle")
    assert found.inputs["ids"].shape == found.inputs["weights"].shape == (2, 16)
    assert found.texts is not None
    assert found.y is not None
    assert found.y.tolist() == [0, 1]
    (tmp_path / "t.csv").write_text("text,label\npay my bill,pay\nplay a song,play\n")
    table = read_samples(tmp_path / "t.csv", document(ids, weights, labels=("pay", "play")), tmp_path / "m.bundle")
    assert table.inputs["ids"].tolist() == found.inputs["ids"].tolist()


def test_folders_with_and_without_classes(tmp_path: Path) -> None:
    image = TensorSpec("image", "uint8", ("batch", "height", "width", 1))
    rng = np.random.default_rng(0)
    for name in ("a/0.png", "b/1.png", "flat/0.png", "flat/1.png"):
        path = tmp_path / ("classes" if name[0] in "ab" else "") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (6, 5), np.uint8)).save(path)
    classes = read_samples(tmp_path / "classes", document(image, labels=("a", "b")), tmp_path / "m.bundle")
    assert classes.y is not None
    assert classes.y.tolist() == [0, 1]
    flat = read_samples(tmp_path / "flat", document(image), tmp_path / "m.bundle")
    assert flat.y is None
    assert flat.inputs["image"].shape == (2, 6, 5, 1)
    sound = tmp_path / "sound" / "one"
    sound.mkdir(parents=True)
    with wave.open(str(sound / "0.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(np.arange(50, dtype="<i2").tobytes())
    clip = read_samples(
        tmp_path / "sound", document(TensorSpec("clip", "float32", ("batch", 50))), tmp_path / "m.bundle"
    )
    assert clip.inputs["clip"].shape == (1, 50)


def test_what_does_not_fit_is_told_before_anything_runs(tmp_path: Path) -> None:
    bad = X.copy()
    bad[1, 2] = np.nan
    cases = {
        "nan": ({"x": bad}, "not finite .* row 1"), "shape": ({"x": X[:, :3]}, r"shape \(3, 3\)|\(1, 3\)"),
        "type": ({"x": X.astype(np.int32)}, "int32"), "none": ({"z": X}, "no array x"), "empty": ({"x": X[:0]}, "no samples"),
        "short": ({"x": X, "y": [0, 1]}, "x has 3 samples, y has 2"),
    }  # fmt: skip
    for name, (arrays, told) in cases.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
        with pytest.raises(DataError, match=told):
            read_samples(tmp_path / f"{name}.npz", document(VECTOR), tmp_path / "m.bundle")
    limited = TensorSpec("x", "float32", ("batch", 4), (0.0, 1.0))
    np.savez(tmp_path / "range.npz", x=X)
    with pytest.raises(DataError, match=r"range\.npz: .*0\.\.11"):
        read_samples(tmp_path / "range.npz", document(limited), tmp_path / "m.bundle")
    for missing in ("nowhere.npz", "nowhere"):
        with pytest.raises(NotFoundError):
            read_samples(tmp_path / missing, document(VECTOR), tmp_path / "m.bundle")
    (tmp_path / "odd.txt").write_text("?")
    with pytest.raises(EdgewiseError, match=r"odd\.txt"):
        read_samples(tmp_path / "odd.txt", document(VECTOR), tmp_path / "m.bundle")
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError):
        read_samples(tmp_path / "bare", document(VECTOR), tmp_path / "m.bundle")


def test_doubles_as_numpy_makes_them_are_taken_for_floats(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X.astype(np.float64))
    assert read_samples(tmp_path / "a.npz", document(VECTOR), tmp_path / "m.bundle").inputs["x"].dtype == np.float32
