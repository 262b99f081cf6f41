"""What stands between the samples and the part that learns."""

import numpy as np
import pytest

from edgewise.errors import InputError
from edgewise.networks.fitting import fit_config
from edgewise.networks.registry import build
from edgewise.training.augment.audio import BandMask, Speed, TimeMask
from edgewise.training.augment.step import apply_steps
from edgewise.training.recipes.front import build_front
from edgewise.training.recipes.recipe import Recipe

RNG = np.random.default_rng(0)
PLAIN = Recipe(augment="none")


def test_sound_becomes_bands_on_both_sides_of_which_it_is_augmented() -> None:
    x = RNG.normal(0, 0.1, (3, 8000)).astype(np.float32)
    front = build_front("audio", Recipe(augment="timemask=4,speed=0.1,bandmask=3"), x, rate=8000)
    assert [type(step) for step in front.before] == [Speed]
    assert [type(step) for step in front.after] == [TimeMask, BandMask]
    assert front.network_form(x) == ((49, 40), "float32")
    made, _ = apply_steps(front.steps, x, None, RNG)
    assert made.shape == (3, 49, 40)


def test_loudness_and_type_of_the_samples_do_not_matter() -> None:
    """In the floor of the logarithm, and in the rounding to sixteen bits."""
    x = (np.sin(np.arange(8000) * 0.3) * 0.4).astype(np.float32)[None]
    whole = (x * 32768).astype(np.int16)
    loud, soft, counted = (
        build_front("audio", PLAIN, each, rate=8000).still(each, "x")["x"] for each in (x, x / 10, whole)
    )
    np.testing.assert_allclose(loud, soft, atol=0.05)
    np.testing.assert_allclose(loud, counted, atol=0.05)


def test_the_front_is_part_of_the_file() -> None:
    x = RNG.normal(0, 0.1, (2, 4000)).astype(np.float32)
    front = build_front("audio", PLAIN, x, rate=4000)
    shape, dtype = front.network_form(x)
    model = front.joined(build("cnn", fit_config("cnn", shape, dtype, classes=2)))
    assert [value.name for value in model.graph.input] == ["waveform"]


def test_frames_of_sound_are_a_power_of_two_long() -> None:
    """25 ms are 200 samples here, and frames of 256 fit in once."""
    x = np.zeros((1, 256 + 159), np.float32)
    assert build_front("audio", PLAIN, x, rate=8000).network_form(x) == ((1, 40), "float32")


def test_sound_without_a_rate_is_refused() -> None:
    with pytest.raises(InputError, match="sample rate"):
        build_front("audio", PLAIN, np.zeros((2, 4000), np.float32))


def test_words_are_dropped_in_training_alone() -> None:
    texts = np.array(["turn the lamp on in the hall"] * 8, object)
    front = build_front("text", Recipe(augment="drop=0.5", text={"buckets": 64, "length": 16, "chars": ()}), texts)
    assert front.encoder is not None
    still = front.still(texts, "x")
    assert (still["ids"] == still["ids"][0]).all()
    assert not (front.encoder(texts, RNG)["ids"] == still["ids"]).all()


@pytest.mark.parametrize(
    ("kind", "words"), [("text", "swap"), ("history", "flip"), ("image", "jitter"), ("audio", "flip")]
)
def test_augmentation_of_another_kind_is_refused(kind: str, words: str) -> None:
    with pytest.raises(InputError):
        build_front(kind, Recipe(augment=words), np.zeros((2, 4000), np.float32), rate=4000)  # type: ignore[arg-type]


def test_mixing_asks_for_soft_labels() -> None:
    x = np.zeros((2, 8, 8, 1), np.uint8)
    assert build_front("image", Recipe(augment="flip,mixup"), x).mixes_labels
    assert not build_front("image", Recipe(augment="flip"), x).mixes_labels
