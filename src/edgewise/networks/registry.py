"""The networks by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from onnx import ModelProto

from edgewise.errors import InputError, NotFoundError
from edgewise.networks.autoencoder import AutoencoderConfig, build_autoencoder
from edgewise.networks.compact import CnnConfig, build_cnn
from edgewise.networks.detector import SsdConfig, build_ssd
from edgewise.networks.recommender import TwoTowerConfig, build_two_tower
from edgewise.networks.recurrent import GruConfig, build_gru
from edgewise.networks.residual import ResNetConfig, build_resnet
from edgewise.networks.separable import DsCnnConfig, MobileNetConfig, build_ds_cnn, build_mobilenet
from edgewise.networks.signal import Cnn1dConfig, build_cnn1d
from edgewise.networks.text_bag import TextBagConfig, build_text_bag
from edgewise.networks.transformer import EncoderConfig, build_encoder
from edgewise.networks.unet import UnetConfig, build_unet

__all__ = ["NETWORKS", "Config", "InputKind", "Network", "Task", "build"]

Config = (
    CnnConfig | DsCnnConfig | MobileNetConfig | ResNetConfig | Cnn1dConfig | GruConfig | EncoderConfig | TextBagConfig
    | TwoTowerConfig | AutoencoderConfig | UnetConfig | SsdConfig
)  # fmt: skip
#: What it answers: the outputs, and so the loss, go with it.
Task = Literal["classification", "recommendation", "anomaly", "segmentation", "detection"]
#: What it takes: the class of its config's ``input``, or a bag of ids. ``sequence`` networks but for cnn1d take tokens as well.
InputKind = Literal["image", "sequence", "bag", "history"]


@dataclass(frozen=True, slots=True)
class Network:
    """One reference network: its config, how it is built from one, and what it is for."""

    config: type[Config]
    build: Callable[[Any, int], ModelProto]  # takes an instance of ``config``; Callable cannot say so in a table
    task: Task
    input: InputKind


#: Name on the command line -> network.
NETWORKS: Mapping[str, Network] = {
    "cnn": Network(CnnConfig, build_cnn, "classification", "image"),
    "ds-cnn": Network(DsCnnConfig, build_ds_cnn, "classification", "image"),
    "mobilenet": Network(MobileNetConfig, build_mobilenet, "classification", "image"),
    "resnet8": Network(ResNetConfig, build_resnet, "classification", "image"),
    "cnn1d": Network(Cnn1dConfig, build_cnn1d, "classification", "sequence"),
    "gru": Network(GruConfig, build_gru, "classification", "sequence"),
    "encoder": Network(EncoderConfig, build_encoder, "classification", "sequence"),
    "text-bag": Network(TextBagConfig, build_text_bag, "classification", "bag"),
    "two-tower": Network(TwoTowerConfig, build_two_tower, "recommendation", "history"),
    "autoencoder": Network(AutoencoderConfig, build_autoencoder, "anomaly", "image"),
    "unet": Network(UnetConfig, build_unet, "segmentation", "image"),
    "ssd": Network(SsdConfig, build_ssd, "detection", "image"),
}


def build(name: str, config: Config | None = None, seed: int = 0) -> ModelProto:
    """The network ``name`` as ONNX, with starting values drawn from ``seed``: the same seed gives the same bytes.

    config: an instance of the network's own class; its defaults where none is given. Raises NotFoundError for a name that is
    not in NETWORKS, and InputError for the config of another network.
    """
    network = NETWORKS.get(name)
    if network is None:
        raise NotFoundError(f"there is no network {name!r}", remedy=f"Take one of {', '.join(NETWORKS)}.", name=name)
    chosen = network.config() if config is None else config
    if not isinstance(chosen, network.config):
        raise InputError(
            f"{name} is built from a {network.config.__name__}, not from a {type(chosen).__name__}", name=name
        )
    return network.build(chosen, seed)
