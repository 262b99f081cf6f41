"""Images and wav files: read as a viewer shows them and as a recorder wrote them, or refused by name."""

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewise.bundle.limits import DEFAULT_LIMITS
from edgewise.errors import DataError
from edgewise.measure.media import read_image, read_media, read_wav

WHITE = [255, 255, 255]


@pytest.fixture(scope="module")
def pillow() -> Any:
    return pytest.importorskip("PIL.Image")


# ----------------------------------------------------------------------------------------------------- images


@pytest.mark.parametrize("name", ["a.png", "a.pgm"])
def test_sixteen_bits_are_scaled_to_eight_and_rounded(tmp_path: Path, pillow: Any, name: str) -> None:
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    pillow.fromarray(deep).save(tmp_path / name)
    found = read_image(tmp_path / name)
    assert (found.shape, found.dtype) == ((256, 256, 1), np.uint8)
    assert np.array_equal(found[:, :, 0], np.rint(deep / 257))
    assert np.array_equal(read_image(tmp_path / name, 3), np.repeat(found, 3, axis=2))


def test_floats_in_zero_to_one_are_scaled_and_others_have_no_known_range(tmp_path: Path, pillow: Any) -> None:
    for name, top in (("good", 1.0), ("bad", 255.0), ("nan", np.nan)):
        (tmp_path / f"{name}.pgm").write_bytes(b"Pf\n3 1\n-1.0\n" + np.array([0, 0.5, top], "<f4").tobytes())
    assert read_image(tmp_path / "good.pgm").ravel().tolist() == [0, 128, 255]
    for name in ("bad", "nan"):
        with pytest.raises(DataError, match="its floats are not in"):
            read_image(tmp_path / f"{name}.pgm")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "I;16"])
def test_what_is_transparent_is_white(tmp_path: Path, pillow: Any, mode: str, channels: int) -> None:
    if mode == "RGBA":
        image, more = pillow.fromarray(np.array([[[0, 0, 0, 0], [10, 10, 10, 255]]], np.uint8)), {}
    elif mode == "LA":
        image, more = pillow.fromarray(np.array([[[0, 0], [10, 255]]], np.uint8), "LA"), {}
    elif mode == "P":
        image, more = pillow.new("P", (2, 1)), {"transparency": 0}
        image.putpalette([0, 0, 0, 10, 10, 10])
        image.putpixel((1, 0), 1)
    else:
        dtype, scale = (np.uint8, 1) if mode == "L" else (np.uint16, 257)
        image, more = pillow.fromarray(np.array([[0, 10 * scale]], dtype)), {"transparency": 0}
    image.save(tmp_path / "a.png", **more)
    with pillow.open(tmp_path / "a.png") as opened:
        assert opened.mode == mode
    assert read_image(tmp_path / "a.png", channels).tolist() == [[WHITE[:channels], [10] * channels]]


def test_what_is_half_transparent_is_mixed_with_white(tmp_path: Path, pillow: Any) -> None:
    pillow.fromarray(np.array([[[100, 0, 200, 51]]], np.uint8)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[224, 204, 244]]]  # a fifth of it, four fifths of 255


def test_grey_files_have_one_channel_also_with_transparency(tmp_path: Path, pillow: Any) -> None:
    pillow.fromarray(np.array([[[7, 255]]], np.uint8), "LA").save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (1, 1, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_upright(tmp_path: Path, pillow: Any, orientation: int) -> None:
    upright = np.array([[10, 20, 30], [40, 50, 60]], np.uint8)
    # How the camera stored it, by EXIF 2.32 section 4.6.4: where row 0 and column 0 of the stored picture lie.
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.T, 6: upright.T[::-1], 7: upright.T[::-1, ::-1], 8: upright.T[:, ::-1],
    }[orientation]  # fmt: skip
    exif = pillow.Exif()
    exif[0x0112] = orientation
    pillow.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    assert read_image(tmp_path / "a.png")[:, :, 0].tolist() == upright.tolist()


def test_a_photo_is_turned_and_read_although_its_exif_block_is_damaged_elsewhere(tmp_path: Path, pillow: Any) -> None:
    exif = pillow.Exif()
    exif[0x0112], exif[0x011A] = 3, 72.0
    pillow.fromarray(np.array([[0] * 8 + [255] * 8] * 16, np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    data = (tmp_path / "a.jpg").read_bytes()
    # A fraction where the tag 0x0100 has a whole number: read without a word, and impossible to write.
    (tmp_path / "a.jpg").write_bytes(data.replace(b"\x01\x1a\x00\x05", b"\x01\x00\x00\x05"))
    found = read_image(tmp_path / "a.jpg")
    assert found[0, 0, 0] > 200
    assert found[0, -1, 0] < 50


def test_a_file_is_named_as_it_was_given(tmp_path: Path, pillow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, read in (("a.png", read_image), ("a.wav", read_wav)):
        Path(name).write_bytes(b"")
        for path in (Path(name), tmp_path / name):
            with pytest.raises(DataError) as raised:
                read(path)
            assert raised.value.what.startswith(f"{path} cannot be read as a")
            assert not raised.value.what.endswith((": ", ":"))


def test_an_image_of_too_many_pixels_is_refused_unread_and_without_a_warning(tmp_path: Path, pillow: Any) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 10000 10000 255\n")
    with pytest.raises(DataError, match="10000 x 10000 pixels") as raised:
        read_image(tmp_path / "a.pgm")
    assert raised.value.details["rule"] == "dataset-size"


def test_a_folder_that_is_no_data_set_comes_with_what_one_looks_like(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no class folders") as raised:
        read_media(tmp_path, DEFAULT_LIMITS)
    assert "x (N, ...) and y (N,)" in raised.value.remedy


# ------------------------------------------------------------------------------------------------------ sound


def save_wav(path: Path, samples: bytes, width: int = 2, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, 8000, 0, "NONE", "not compressed"))
        file.writeframes(samples)
    return path


def test_a_folder_of_grey_pictures_can_be_read_in_colour(tmp_path: Path, pillow: Any) -> None:
    (tmp_path / "a").mkdir()
    pillow.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(tmp_path / "a" / "1.png")
    assert read_media(tmp_path, DEFAULT_LIMITS).x.shape == (1, 3, 4, 1)
    coloured = read_media(tmp_path, DEFAULT_LIMITS, channels=3).x
    assert coloured.shape == (1, 3, 4, 3)
    assert (coloured == np.arange(12).reshape(3, 4, 1)).all()


def test_every_sixteen_bit_sample_is_exact(tmp_path: Path) -> None:
    samples = np.arange(-(2**15), 2**15, dtype="<i2")
    path = save_wav(tmp_path / "a.wav", samples.tobytes())
    whole, rate = read_wav(path, "int16")
    assert (rate, whole.dtype) == (8000, np.int16)
    assert np.array_equal(whole, samples)
    assert np.array_equal(read_wav(path)[0], samples / np.float32(2**15))


@pytest.mark.parametrize(
    ("width", "raw", "found"),
    [
        (1, bytes([0, 128, 255]), [-32768, 0, 32512]),
        (3, b"\x00\x00\x80\x81\x00\x00\xff\xff\x7f", [-32768, 1, 32767]),
        (4, np.array([-(2**31), 40000, 2**31 - 1], "<i4").tobytes(), [-32768, 1, 32767]),
    ],
)
def test_other_widths_are_scaled_to_sixteen_bits_and_never_wrap(
    tmp_path: Path, width: int, raw: bytes, found: list[int]
) -> None:
    assert read_wav(save_wav(tmp_path / "a.wav", raw, width), "int16")[0].tolist() == found


def test_channels_are_averaged_before_they_are_rounded(tmp_path: Path) -> None:
    path = save_wav(tmp_path / "a.wav", np.array([1, 2, -32768, -32768], "<i2").tobytes(), 2, 2)
    assert read_wav(path, "int16")[0].tolist() == [2, -32768]


def test_a_wav_file_without_samples_or_cut_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no samples"):
        read_wav(save_wav(tmp_path / "a.wav", b""))
    data = save_wav(tmp_path / "b.wav", bytes(200)).read_bytes()
    for cut in (2, 10, 150):
        (tmp_path / "b.wav").write_bytes(data[:-cut])
        with pytest.raises(DataError, match="shorter than it says"):
            read_wav(tmp_path / "b.wav")
    for length in range(0, 44, 3):
        (tmp_path / "b.wav").write_bytes(data[:length])
        with pytest.raises(DataError, match=r"cannot be read as a wav file: [a-z]"):
            read_wav(tmp_path / "b.wav")


def test_files_of_different_rates_are_not_one_data_set(tmp_path: Path) -> None:
    for name, rate in (("a", 8000), ("b", 16_000)):
        (tmp_path / "word").mkdir(exist_ok=True)
        with wave.open(str(tmp_path / "word" / f"{name}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(bytes(200))
    with pytest.raises(DataError, match=r"16000 samples a second, a\.wav has 8000"):
        read_media(tmp_path, DEFAULT_LIMITS)
