"""Preprocessing is read exactly or left to the application with the reason; a guess would be a wrong answer later."""

from typing import Any

import pytest

from edgewise.importing.hub_preprocessing import ImageSteps, read_image_steps

VIT = {
    "image_processor_type": "ViTImageProcessor", "do_resize": True, "do_rescale": True, "do_normalize": True,
    "rescale_factor": 0.00392156862745098, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    "resample": 2, "size": {"height": 224, "width": 224},
}  # fmt: skip
CLIP = {
    "image_processor_type": "CLIPImageProcessor", "do_resize": True, "size": {"shortest_edge": 224}, "resample": 3,
    "do_center_crop": True, "crop_size": {"height": 224, "width": 224}, "do_rescale": True, "rescale_factor": 1 / 255,
    "do_normalize": True, "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
}  # fmt: skip


def steps(config: dict[str, Any]) -> ImageSteps:
    found, notes = read_image_steps(config)
    assert found is not None, notes
    return found


def test_a_square_resize_with_normalisation() -> None:
    assert steps(VIT) == ImageSteps((224, 224), None, None, "linear", pytest.approx(1 / 255), (0.5,) * 3, (0.5,) * 3)


def test_shortest_edge_and_centre_crop() -> None:
    found = steps(CLIP)
    assert (found.resize, found.shortest, found.crop, found.resample) == (None, 224, (224, 224), "cubic")
    assert found.size == (224, 224)


def test_convnext_has_a_rule_of_its_own_for_the_crop() -> None:
    config = {
        **VIT,
        "image_processor_type": "ConvNextImageProcessor",
        "size": {"shortest_edge": 224},
        "crop_pct": 0.875,
    }
    assert (steps(config).shortest, steps(config).crop) == (256, (224, 224))
    large = {**config, "size": {"shortest_edge": 384}}
    assert (steps(large).resize, steps(large).shortest, steps(large).crop) == ((384, 384), None, None)


def test_a_plain_number_means_what_its_class_says_and_nothing_where_the_class_is_unknown() -> None:
    assert steps(
        {**VIT, "image_processor_type": None, "feature_extractor_type": "ViTFeatureExtractor", "size": 224}
    ).resize == (224, 224)
    assert steps({**CLIP, "size": 224}).shortest == 224
    found, notes = read_image_steps({**VIT, "image_processor_type": "NewImageProcessor", "size": 224})
    assert found is None
    assert "two ways" in notes[0]


def test_steps_that_are_switched_off_are_left_out() -> None:
    found = steps({**VIT, "do_rescale": False, "do_normalize": False, "do_resize": False})
    assert (found.resize, found.scale, found.mean, found.std) == (None, 1.0, (0.0,) * 3, (1.0,) * 3)


@pytest.mark.parametrize(
    "change",
    [
        {"do_flip_channel_order": True}, {"do_pad": True}, {"resample": 17}, {"resample": 1}, {"resample": [3]},
        {"image_std": [0.5, 0.0, 0.5]},
        {"image_mean": [0.5, 0.5]}, {"size": {"longest_edge": 800}}, {"size": {"shortest_edge": 224}}, {"rescale_factor": -1},
        {"do_center_crop": True, "crop_size": 256}, {"size": {"height": 0, "width": 224}}, {"size": {"height": True, "width": 9}},
    ],
)  # fmt: skip
def test_what_cannot_be_stated_exactly_is_left_to_the_application_with_the_reason(change: dict[str, Any]) -> None:
    found, notes = read_image_steps({**VIT, **change})
    assert found is None
    assert all(note.startswith("preprocessing is left to the application: ") for note in notes)


def test_audio_and_text_processors_are_not_about_images() -> None:
    found, notes = read_image_steps({"feature_extractor_type": "WhisperFeatureExtractor", "sampling_rate": 16000})
    assert found is None
    assert "not about images" in notes[0]
