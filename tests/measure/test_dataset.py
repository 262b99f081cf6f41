"""Data sets: what is read is what was saved; what cannot be used is said in words. Bombs are in spec/attacks."""

import tracemalloc
import wave
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgewise.bundle.limits import Limits
from edgewise.errors import DataError, NotFoundError
from edgewise.measure.dataset import Dataset, load_npz, read_dataset
from edgewise.measure.npz import load_npy

DTYPES = ["bool", "int8", "uint16", "<i4", ">i8", "float16", "<f4", ">f8", "<U3", "S2"]
ARRAYS = hnp.arrays(
    st.sampled_from(DTYPES).map(np.dtype), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
)


@given(st.dictionaries(st.from_regex(r"\A[a-z]{1,5}\Z"), ARRAYS, max_size=3), st.booleans(), st.booleans())
def test_what_numpy_saved_is_what_is_loaded(arrays: dict[str, Any], compressed: bool, fortran: bool) -> None:
    arrays = {name: np.asfortranarray(array) if fortran and array.ndim else array for name, array in arrays.items()}
    target = BytesIO()
    (np.savez_compressed if compressed else np.savez)(target, **arrays)
    loaded = load_npz(target.getvalue())
    assert set(loaded) == set(arrays)
    for name, array in arrays.items():
        assert loaded[name].shape == array.shape
        assert loaded[name].dtype == array.dtype.newbyteorder("=")
        assert loaded[name].tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()


def test_a_large_array_is_loaded_from_a_path(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((3000, 100))
    np.savez_compressed(tmp_path / "d.npz", x=x, y=np.zeros(3000, int))
    assert np.array_equal(load_npz(tmp_path / "d.npz")["x"], x)


def test_limits_hold(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros(1000), y=np.zeros(1000))
    with pytest.raises(DataError, match="at most 9000") as raised:
        load_npz(tmp_path / "d.npz", Limits(array_bytes=9000))
    assert raised.value.details["rule"] == "npz-size"


@given(ARRAYS, st.booleans())
def test_what_numpy_saved_alone_is_what_is_loaded(array: Any, fortran: bool) -> None:
    array = np.asfortranarray(array) if fortran and array.ndim else array
    with TemporaryDirectory() as folder:
        np.save(Path(folder) / "a.npy", array)
        loaded = load_npy(Path(folder) / "a.npy")
    assert (loaded.shape, loaded.dtype) == (array.shape, array.dtype.newbyteorder("="))
    assert loaded.tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()


def npy(header: str, content: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header.encode() + b"\n" + content


def header(shape: str, descr: str = "<f4") -> str:
    return f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "malformed"),
        (b"1,2,3\n", "malformed"),
        (b"\x93NUMPY\x01\x00", "malformed"),
        (npy("hello"), "malformed"),
        (npy("[" * 1000), "malformed"),
        (npy(" " * 3000), "malformed"),
        (npy(header("(2,)"), bytes(7)), "malformed"),
        (npy(header("(2,)"), bytes(9)), "malformed"),
        (npy(header("(-2,)"), bytes(8)), "malformed"),
        (npy(header("(1000000000000,)"), bytes(8)), "malformed"),
        (npy(header("(0, 10000000000000000000000)")), "malformed"),
        (npy(header("(2,)", "|b1"), b"\x01\x02"), "malformed"),
        (npy(header("(1,)", "|O"), bytes(8)), "dtype"),
        (npy(header("(1,)", "<M8[s]"), bytes(8)), "dtype"),
        (npy(header("(2000,)"), bytes(8000)), "size"),
    ],
)
def test_what_is_no_array_is_refused_with_the_rule_and_takes_no_memory(tmp_path: Path, data: bytes, rule: str) -> None:
    (tmp_path / "a.npy").write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as raised:
            load_npy(tmp_path / "a.npy", Limits(array_bytes=8000))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert raised.value.details["rule"] == f"npy-{rule}"
    assert raised.value.what.startswith(str(tmp_path / "a.npy"))


def test_a_pickle_is_refused_unread(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(DataError, match="objects never"):
        load_npy(tmp_path / "a.npy")


def test_what_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.npy"):
        with pytest.raises(DataError) as raised:
            load_npy(path)
        assert raised.value.details["rule"] == "npy-unreadable"


def test_an_npz_becomes_a_data_set(tmp_path: Path) -> None:
    arrays = {"x": np.ones((4, 2), np.float32), "y": np.array([0, 1, 0, 1]), "group": np.array(["a", "a", "b", "b"])}
    np.savez(tmp_path / "d.npz", **arrays, class_names=np.array(["no", "yes"]))
    data = read_dataset(tmp_path / "d.npz")
    assert (len(data), data.labels, data.name) == (4, ("no", "yes"), "d")
    assert data.digest.startswith("sha256:")
    assert data.group is not None
    assert data.take(data.group == "b").y.tolist() == [0, 1]


def test_real_data_is_read(shared_data: Path) -> None:
    data = read_dataset(shared_data / "defects_pcb" / "deeppcb_patches64.npz")
    assert data.x.shape[1:] == (64, 64)
    assert len(data) == len(data.y) > 10_000


def test_values_that_are_not_finite_are_found_wherever_they_are() -> None:
    x = np.zeros((100, 20_000), np.float32)
    x[99, 19_999] = np.nan
    with pytest.raises(DataError, match="not finite"):
        Dataset(x, np.zeros(100))


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_dataset(tmp_path / "nothing.npz")
    (tmp_path / "d.csv").write_text("1,2")
    with pytest.raises(DataError, match=r"neither an \.npz nor a folder"):
        read_dataset(tmp_path / "d.csv")
    with pytest.raises(DataError, match="no class folders"):
        read_dataset(tmp_path)


# ----------------------------------------------------------------------------------------- class folders


def save_wav(path: Path, samples: Any, width: int = 2, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, 8000, 0, "NONE", "not compressed"))
        file.writeframes(samples)


@pytest.mark.parametrize(
    ("width", "raw"),
    [
        (1, bytes([0, 128, 192])), (2, np.array([-32768, 0, 16384], "<i2").tobytes()),
        (3, b"\x00\x00\x80\x00\x00\x00\x00\x00\x40"), (4, np.array([-(2**31), 0, 2**30], "<i4").tobytes()),
    ],
)  # fmt: skip
def test_wav_files_of_every_width_become_the_same_numbers(tmp_path: Path, width: int, raw: bytes) -> None:
    save_wav(tmp_path / "yes" / "a.wav", raw, width)
    save_wav(tmp_path / "no" / "b.WAV", raw, width)
    data = read_dataset(tmp_path)
    assert data.labels == ("no", "yes")
    assert data.y.tolist() == [0, 1]
    assert data.x.dtype == np.float32
    assert data.x.tolist() == [[-1.0, 0.0, 0.5]] * 2


def test_channels_are_averaged(tmp_path: Path) -> None:
    save_wav(tmp_path / "a" / "x.wav", np.array([0, 16384, 16384, 16384], "<i2").tobytes(), 2, 2)
    assert read_dataset(tmp_path).x.tolist() == [[0.25, 0.5]]


def test_wav_files_of_different_lengths_are_named(tmp_path: Path) -> None:
    save_wav(tmp_path / "a" / "long.wav", bytes(20))
    save_wav(tmp_path / "b" / "short.wav", bytes(10))
    with pytest.raises(DataError, match=r"b/short.wav has the shape \(5,\)"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("data", [b"", b"RIFF", b"hello" * 20, b"RIFF\xff\xff\xff\xffWAVEfmt \xff\xff\xff\xff"])
def test_a_broken_wav_file_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.wav").write_bytes(data)
    with pytest.raises(DataError, match=r"a/x.wav cannot be read"):
        read_dataset(tmp_path)


def test_a_wav_file_that_promises_gigabytes_is_refused(tmp_path: Path) -> None:
    save_wav(tmp_path / "a" / "x.wav", bytes(20))
    data = (tmp_path / "a" / "x.wav").read_bytes()
    at = data.index(b"data") + 4
    (tmp_path / "a" / "x.wav").write_bytes(data[:at] + b"\xfe\xff\xff\x7f" + data[at + 4 :])
    with pytest.raises(DataError):
        read_dataset(tmp_path)


def test_images_become_height_width_channels(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for name, value in (("b/1.png", 10), ("a/2.png", 20)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(tmp_path / name)
    (tmp_path / "a" / ".DS_Store").write_bytes(b"")
    (tmp_path / "a" / "notes.txt").write_bytes(b"")
    data = read_dataset(tmp_path)
    assert (data.x.shape, data.x.dtype) == ((2, 4, 6, 3), np.uint8)
    assert data.x[:, 0, 0, 0].tolist() == [20, 10]
    assert data.labels == ("a", "b")


def test_grey_images_have_one_channel(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "a").mkdir()
    image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(tmp_path / "a" / "x.bmp")
    assert read_dataset(tmp_path).x[0, :, :, 0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_a_broken_image_and_one_of_another_size_are_named(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "a").mkdir()
    image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a" / "1.png")
    image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "a" / "2.png")
    with pytest.raises(DataError, match=r"a/2.png has the shape"):
        read_dataset(tmp_path)
    (tmp_path / "a" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\xff" * 30)
    with pytest.raises(DataError, match=r"a/2.png cannot be read"):
        read_dataset(tmp_path)


def test_an_image_of_a_gigapixel_is_refused_unread(tmp_path: Path) -> None:
    pytest.importorskip("PIL.Image")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.ppm").write_bytes(b"P6 32768 32768 255\n")
    with pytest.raises(DataError):
        read_dataset(tmp_path)


def test_the_digest_of_a_folder_follows_content_and_names(tmp_path: Path) -> None:
    digests = set()
    for name, content in (("a/x.wav", bytes(20)), ("a/x.wav", bytes(18) + b"ab"), ("b/x.wav", bytes(20))):
        folder = tmp_path / str(len(digests))
        save_wav(folder / name, content)
        digests |= {read_dataset(folder).digest}
        assert read_dataset(folder).digest in digests
    assert len(digests) == 3


def test_images_and_wav_files_do_not_mix(tmp_path: Path) -> None:
    save_wav(tmp_path / "a" / "x.wav", bytes(20))
    (tmp_path / "a" / "x.png").write_bytes(b"")
    with pytest.raises(DataError, match="both images and wav"):
        read_dataset(tmp_path)
