"""A config follows from the form of the data, or the message says why it cannot."""

import pytest

from edgewise.errors import InputError, NotFoundError
from edgewise.networks.compact import CnnConfig
from edgewise.networks.fitting import fit_config
from edgewise.networks.inputs import ImageInput, SequenceInput, TokenInput
from edgewise.networks.recurrent import GruConfig
from edgewise.networks.registry import NETWORKS, build
from edgewise.networks.text_bag import TextBagConfig


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((64, 64), "uint8", ImageInput(64, 64, 1, "uint8", "nhw", 1 / 255)),
        ((64, 48, 3), "uint8", ImageInput(64, 48, 3, "uint8", "nhwc", 1 / 255)),
        ((3, 64, 48), "float64", ImageInput(64, 48, 3, "float32", "nchw")),
        ((49, 10), "float32", ImageInput(49, 10, 1, "float32", "nhw")),
    ],
)
def test_images_are_told_by_their_shape(shape: tuple[int, ...], dtype: str, expected: ImageInput) -> None:
    config = fit_config("cnn", shape, dtype, classes=7)
    assert config == CnnConfig(expected, classes=7)


def test_sequences_and_tokens_are_told_by_shape_and_type() -> None:
    assert fit_config("gru", (64, 3), "int16", settings={"scale": 1e-3}) == GruConfig(
        SequenceInput(64, 3, "int16", scale=1e-3)
    )
    assert fit_config("gru", (800,), "float32") == GruConfig(SequenceInput(800, 1, "float32", "nt"))
    assert fit_config("gru", (20,), "int64", settings={"vocabulary": 99}) == GruConfig(TokenInput(99, 20))


def test_lists_count_as_tuples_and_settings_reach_their_fields() -> None:
    config = fit_config(
        "cnn", (64, 64), "float32", settings={"widths": [8, 8], "mean": [0.5], "std": [0.1], "dropout": 0.2}
    )
    assert config == CnnConfig(ImageInput(64, 64, layout="nhw", mean=(0.5,), std=(0.1,)), widths=(8, 8), dropout=0.2)
    config = fit_config("text-bag", (30,), "int64", classes=150, settings={"vocabulary": 500, "hidden": []})
    assert config == TextBagConfig(500, 150, 30, hidden=())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_can_be_fitted_to_data_of_its_kind(name: str) -> None:
    shape, dtype = {"image": ((32, 32, 3), "uint8"), "sequence": ((40, 6), "float32")}.get(
        NETWORKS[name].input, ((9,), "int64")
    )
    assert build(name, fit_config(name, shape, dtype, classes=4)).graph.node


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "settings", "message"),
    [
        ("cnn", (5, 64, 64), "float32", {}, "takes images"),
        ("cnn", (64, 64), "int64", {}, "not int64"),
        ("gru", (2, 3, 4), "float32", {}, "takes sequences"),
        ("gru", (20,), "int64", {}, "tokens"),
        ("two-tower", (20,), "float32", {}, "takes ids"),
        ("cnn", (64, 64), "uint8", {"wdiths": [3]}, "no setting wdiths"),
        ("cnn", (64, 64), "uint8", {"widths": 3}, "wrong type"),
        ("cnn", (64, 64), "uint8", {"rest": 1.0}, "input of cnn"),
        ("cnn", (64, 64), "uint8", {"reduce": "min"}, "reduce is max, mean, stride, not 'min'"),
        ("cnn", (64, 64), "uint8", {"dropout": 1.0}, "dropout must be"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(
    name: str, shape: tuple[int, ...], dtype: str, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        fit_config(name, shape, dtype, settings=settings)


def test_an_unknown_network_is_named_with_those_there_are() -> None:
    with pytest.raises(NotFoundError) as caught:
        fit_config("vgg", (3, 3), "uint8")
    assert "resnet8" in caught.value.remedy
