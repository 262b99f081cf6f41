"""Augmentation: shapes and types stay, chance comes from the generator alone, and what a step promises holds."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.errors import DataError, InputError
from edgewise.training.augment import audio, image, sensor
from edgewise.training.augment.registry import AUGMENTATIONS, PRESETS, parse_augmentations
from edgewise.training.augment.step import LabelMixing, Sometimes, Step, apply_steps, like, without_chance
from edgewise.training.augment.text import TokenDropout, TokenSwap
from edgewise.training.augment.time import Crop, Middle, resampled
from edgewise.training.data.chance import chance
from edgewise.training.data.conversion import ChannelsFirst, ToFloat, WithAxis

FORMS = {
    "image": [((12, 12), "uint8"), ((12, 12, 3), "float32"), ((3, 12, 12), "uint8"), ((12, 12, 1), "float64")],
    "audio": [((64,), "int16"), ((64,), "float32"), ((65,), "float64")],
    "spectrogram": [((20, 8), "float32"), ((1, 20, 8), "float64")],
    "sensor": [((16, 3), "float32"), ((16, 6), "int16"), ((17, 3), "float64")],
    "text": [((9,), "int64"), ((9,), "int32")],
}


def _data(shape: tuple[int, ...], dtype: str, n: int = 7) -> Any:
    rng = np.random.default_rng(5)
    if np.dtype(dtype).kind == "f":
        return rng.standard_normal((n, *shape)).astype(dtype)
    high = {"uint8": 256, "int16": 3000}.get(dtype, 50)
    return rng.integers(0 if dtype != "int16" else -3000, high, (n, *shape)).astype(dtype)


def _made(make: Callable[..., Step]) -> Step:
    return Crop(5) if make is Crop else make()


CASES = [
    pytest.param(kind, word, shape, dtype, id=f"{kind}-{word}-{dtype}-{len(shape)}d")
    for kind, forms in FORMS.items()
    for word in AUGMENTATIONS[kind]
    for shape, dtype in forms
]


@pytest.mark.parametrize(("kind", "word", "shape", "dtype"), CASES)
def test_every_step_keeps_type_and_shape_and_draws_from_its_generator_alone(
    kind: str, word: str, shape: tuple[int, ...], dtype: str
) -> None:
    step, x = _made(AUGMENTATIONS[kind][word]), _data(shape, dtype)
    if word == "slide":
        x[:, :20] = x[:, 50:] = 0
    before = x.copy()
    first, second, other = (step(x, chance(seed)) for seed in (1, 1, 2))
    assert first.dtype == x.dtype
    assert first.shape == ((7, 5, *shape[1:]) if word == "crop" and kind in ("audio", "sensor") else x.shape)
    assert first.tobytes() == second.tobytes()
    assert first.tobytes() != other.tobytes() or word == "mixup"
    assert (x == before).all(), "what comes in is not written to"
    if x.dtype.kind == "f":
        assert np.isfinite(first).all()


@pytest.mark.parametrize("kind", FORMS)
def test_no_step_mixes_one_sample_with_another_unless_it_says_so(kind: str) -> None:
    shape, dtype = FORMS[kind][0]
    x = _data(shape, dtype)
    changed = x.copy()
    changed[3] = np.roll(x[3], 1, axis=0)
    for word, make in AUGMENTATIONS[kind].items():
        step = _made(make)
        if not isinstance(step, LabelMixing) and word != "slide":
            others = np.arange(7) != 3
            assert (step(x, chance(0))[others] == step(changed, chance(0))[others]).all(), word


@pytest.mark.parametrize(
    ("step", "x"),
    [
        (image.Shift(0), _data((8, 8), "uint8")),
        (image.Flip(0), _data((8, 8, 3), "uint8")),
        (image.Affine(0, 0), _data((8, 9), "float32")),
        (image.CropResize(1.0), _data((1, 8), "uint8")),
        (image.Light(0, 0), _data((8, 8), "uint8")),
        (image.Noise(0), _data((8, 8), "uint8")),
        (image.Cutout(0), _data((8, 8), "uint8")),
        (audio.Shift(0), _data((50,), "int16")),
        (audio.Gain(0), _data((50,), "int16")),
        (audio.Speed(0), _data((50,), "int16")),
        (audio.BandStop(0), _data((50,), "int16")),
        (audio.Slide(), np.ones((3, 20), np.float32)),
        (sensor.Jitter(0), _data((8, 3), "int16")),
        (sensor.Scale(0), _data((8, 3), "float32")),
        (sensor.Rotate(0), _data((8, 3), "int16")),
        (sensor.TimeWarp(0), _data((8, 3), "int16")),
        (sensor.Speed(0), _data((8, 3), "float32")),
        (sensor.ChannelDropout(0), _data((8, 3), "float32")),
        (TokenDropout(0), _data((8,), "int64")),
        (TokenSwap(0), _data((8,), "int64")),
    ],
)
def test_a_step_of_nothing_changes_nothing(step: Step, x: Any) -> None:
    if isinstance(step, image.CropResize):
        x = np.repeat(np.repeat(x, 8, axis=1), 1, axis=2)  # only the aspect is left to chance: rows alike
        assert (np.ptp(step(x, chance(0)).astype(int), axis=1) == 0).all()
        return
    assert np.allclose(step(x, chance(0)), x, atol=1e-6)


@given(st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_flips_and_turns_only_rearrange_pixels(seed: int) -> None:
    x = _data((6, 6, 3), "uint8")
    for step in (image.Flip(), image.VerticalFlip(), image.Turn()):
        out = step(x, chance(seed))
        assert (np.sort(out.reshape(7, -1, 3), axis=1) == np.sort(x.reshape(7, -1, 3), axis=1)).all()


def test_the_layout_of_channels_does_not_change_what_happens() -> None:
    x = _data((12, 12, 3), "float32")
    for make in (image.Shift, image.Flip, image.Turn, image.Affine, image.CropResize, image.Cutout):
        last, first = make()(x, chance(4)), make()(np.moveaxis(x, -1, 1), chance(4))
        assert np.allclose(np.moveaxis(first, 1, -1), last, atol=1e-6)


def test_channels_stay_last_where_the_height_looks_like_channels_too() -> None:
    x = _data((4, 12, 3), "float32")
    np.testing.assert_array_equal(image.Flip(1.0)(x, chance(0)), x[:, :, ::-1])


def test_a_shift_repeats_the_border() -> None:
    x = np.arange(36, dtype=np.uint8).reshape(1, 6, 6)
    moves = [image.Shift(2)(x, chance(seed))[0] for seed in range(30)]
    padded = np.pad(x[0], 2, mode="edge")
    wanted = {padded[r : r + 6, c : c + 6].tobytes() for r in range(5) for c in range(5)}
    assert {move.tobytes() for move in moves} <= wanted
    assert len({move.tobytes() for move in moves}) > 10


@given(st.integers(0, 99), st.floats(1, 180))
@settings(max_examples=20, deadline=None)
def test_a_rotation_keeps_lengths_and_angles(seed: int, degrees: float) -> None:
    x = _data((10, 6), "float64")
    out = sensor.Rotate(degrees)(x, chance(seed))
    before, after = x.reshape(7, -1, 3), out.reshape(7, -1, 3)
    assert np.allclose(before @ before.transpose(0, 2, 1), after @ after.transpose(0, 2, 1))


@given(st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_a_slide_loses_nothing_of_the_clip(seed: int) -> None:
    x = np.zeros((4, 30), np.float32)
    for row, (start, length) in enumerate([(0, 30), (10, 5), (0, 12), (29, 1)]):
        x[row, start : start + length] = np.arange(length) + 1
    out = audio.Slide()(x, chance(seed))
    for before, after in zip(x, out, strict=True):
        assert (after[after != 0] == before[before != 0]).all()


def test_noise_has_the_ratio_that_was_asked_for() -> None:
    x = np.sin(np.arange(20_000) * 0.1, dtype=np.float64)[None].repeat(4, axis=0)
    noise = audio.Noise(20, 20)(x, chance(0)) - x
    assert np.allclose(10 * np.log10((x**2).mean(axis=1) / (noise**2).mean(axis=1)), 20, atol=0.2)
    quiet = audio.Hiss(-40, -40)(np.zeros((2, 20_000), np.int16), chance(0))
    assert np.allclose(20 * np.log10(quiet.astype(float).std(axis=1) / 2**15), -40, atol=0.3)


def test_outside_of_a_recording_is_silence_or_its_border() -> None:
    x, at = np.array([[3.0, 5.0, 7.0]]), np.array([[-0.5, 0.0, 1.5, 2.0, 2.5]])
    assert resampled(x, at, "zero").tolist() == [[0, 3, 6, 7, 0]]
    assert resampled(x, at, "edge").tolist() == [[3, 3, 6, 7, 7]]


def test_a_faster_clip_has_a_higher_pitch() -> None:
    tone = np.sin(np.arange(4096) * 2 * np.pi * 0.05)[None].repeat(64, axis=0).astype(np.float32)
    peaks = np.abs(np.fft.rfft(audio.Speed(0.1)(tone, chance(0)) * np.hanning(4096), axis=1)).argmax(axis=1) / 4096
    assert 0.045 < peaks.min() < 0.047
    assert 0.053 < peaks.max() < 0.0555


@pytest.mark.parametrize("axis", [-2, -1])
def test_a_mask_hides_one_range_and_nothing_else(axis: int) -> None:
    x = _data((20, 8), "float32")
    out = (audio.TimeMask(0.5) if axis == -2 else audio.BandMask(0.5))(x, chance(0))
    hidden = (out != x).any(axis=1 if axis == -1 else 2)
    for before, after, rows in zip(x, out, hidden, strict=True):
        places = np.flatnonzero(rows)
        assert not len(places) or places[-1] - places[0] + 1 == len(places) <= x.shape[axis] // 2
        assert np.allclose(after.take(places, axis=axis), before.mean(), atol=1e-6)


def test_a_band_stop_takes_energy_out_of_one_band() -> None:
    x = _data((4096,), "float64")
    lost = np.abs(np.fft.rfft(audio.BandStop(0.3)(x, chance(1)), axis=1)) < 1e-6 * np.abs(np.fft.rfft(x, axis=1)).max()
    widths = lost.sum(axis=1)
    assert (widths <= 0.3 * 2049 + 1).all()
    assert widths.max() > 100
    for row in lost:
        places = np.flatnonzero(row)
        assert not len(places) or places[-1] - places[0] + 1 == len(places)


def test_time_warp_keeps_the_ends_and_the_order_of_time() -> None:
    ramp = np.arange(50, dtype=np.float64)[None, :, None].repeat(8, axis=0)
    out = sensor.TimeWarp(0.5, 5)(ramp, chance(0))[:, :, 0]
    assert np.allclose(out[:, 0], 0)
    assert np.allclose(out[:, -1], 49, atol=1e-4)
    assert (np.diff(out, axis=1) > 0).all()
    assert np.abs(out - ramp[:, :, 0]).max() > 1


@given(st.integers(0, 99), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_texts_keep_something_and_their_padding(seed: int, rate: float) -> None:
    x = np.array([[5, 6, 7, 8, 0, 0], [9, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    dropped, swapped = TokenDropout(rate)(x, chance(seed)), TokenSwap(rate)(x, chance(seed))
    assert (dropped[:2] != 0).any(axis=1).all()
    assert ((dropped == x) | (dropped == 0)).all()
    assert (np.sort(swapped, axis=1) == np.sort(x, axis=1)).all()
    assert ((swapped == 0) == (x == 0)).all()


def test_channels_are_never_all_lost() -> None:
    out = sensor.ChannelDropout(1.0)(np.ones((20, 4, 3), np.float32), chance(0))
    assert (out.any(axis=1).sum(axis=1) == 1).all()


def test_a_crop_is_a_stretch_and_the_middle_in_evaluation() -> None:
    x = np.arange(20)[None, :, None].repeat(400, axis=0)
    out = Crop(8)(x, chance(0))[:, :, 0]
    assert (np.diff(out, axis=1) == 1).all()
    assert set(out[:, 0]) == set(range(13))
    assert Middle(8)(x, chance(0))[0, :, 0].tolist() == list(range(6, 14))
    with pytest.raises(DataError, match="windows of 21 steps"):
        Crop(21)(x, chance(0))


def test_evaluation_keeps_conversions_and_drops_chance() -> None:
    steps = (*parse_augmentations("flip,noise", "image"), WithAxis(1), ToFloat(1 / 255), Crop(4), ChannelsFirst())
    assert without_chance(steps) == (WithAxis(1), ToFloat(1 / 255), Middle(4), ChannelsFirst())
    x, _ = apply_steps(
        (ToFloat(1 / 255, (0.5,), (0.5,)), ChannelsFirst()), np.full((2, 4, 5, 3), 255, np.uint8), None, chance(0)
    )
    assert x.shape == (2, 3, 4, 5)
    assert np.allclose(x, 1)


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_what_leaves_the_range_of_integers_stays_at_its_end(dtype: str) -> None:
    """A bright spot that grew brighter must not turn black."""
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    given = np.array([low - 300.0, low - 0.6, low + 0.6, high - 0.6, high + 0.6, high + 300.0])
    assert like(given, np.dtype(dtype)).tolist() == [low, low, low + 1, high - 1, high, high]


def test_a_step_for_some_leaves_the_others_alone() -> None:
    x = _data((8, 3), "float32", 400)
    changed = (Sometimes(sensor.Scale(), 0.25)(x, chance(0)) != x).any(axis=(1, 2))
    assert 60 < changed.sum() < 140
    assert parse_augmentations("hiss=-70:-25:yes@0.5", "audio") == (Sometimes(audio.Hiss(-70, -25, True), 0.5),)
    with pytest.raises(InputError, match="Crop is for all"):
        parse_augmentations("crop=3@0.5", "sensor")
    with pytest.raises(InputError, match="not 2"):
        parse_augmentations("scale@2", "sensor")


def test_words_become_steps_in_their_order() -> None:
    assert parse_augmentations("flip, shift=4,noise=0.02", "image") == (image.Flip(), image.Shift(4), image.Noise(0.02))
    assert parse_augmentations("noise=5:30,slide", "audio") == (audio.Noise(5, 30), audio.Slide())
    assert parse_augmentations("jitter=20:no,crop=64", "sensor") == (sensor.Jitter(20, False), Crop(64))
    assert parse_augmentations("none", "text") == parse_augmentations("", "text") == ()


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_every_preset_is_words_that_exist_and_can_be_added_to(kind: str) -> None:
    steps = parse_augmentations(kind, kind)
    assert steps == parse_augmentations(PRESETS[kind], kind) != ()
    assert parse_augmentations(f"{kind},{next(iter(AUGMENTATIONS[kind]))}", kind)[: len(steps)] == steps


def test_every_word_at_fault_is_named_beside_what_there_is() -> None:
    with pytest.raises(InputError) as raised:
        parse_augmentations("flp,shift=-1,noise=much,rot90=3,audio,cutout=1:2", "image")
    for said in ("'flp' is unknown", "not -1", "'much' is not a number", "at most 0 values", "audio data", "at most 1"):
        assert said in raised.value.what
    assert "flip=0.5" in raised.value.remedy
    assert "affine=10:0.1" in raised.value.remedy
    with pytest.raises(InputError, match="crop needs a value: crop=LENGTH"):
        parse_augmentations("crop", "sensor")
    with pytest.raises(InputError, match="no kind of data 'video'"):
        parse_augmentations("flip", "video")
    with pytest.raises(InputError, match="finite"):
        parse_augmentations("noise=nan", "image")


@pytest.mark.parametrize(
    ("step", "x", "said"),
    [
        (image.Flip(), np.zeros((2, 4)), "images are"),
        (image.Turn(), np.zeros((2, 4, 5)), "4 x 5 cannot be turned"),
        (audio.Gain(), np.zeros((2, 4, 5)), "waveforms are"),
        (audio.TimeMask(), np.zeros((2, 4)), "spectrogram"),
        (sensor.Scale(), np.zeros((2, 4)), "sensor windows"),
        (sensor.Rotate(), np.zeros((2, 4, 4)), "4 channels"),
        (TokenSwap(), np.zeros((2, 4)), "text ids"),
    ],
)
def test_data_of_another_kind_is_refused(step: Step, x: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        step(x, chance(0))
