"""Every reference network, small, in plain and in odd forms; and batches of noise for them."""

from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from edgewise.networks.compact import CnnConfig
from edgewise.networks.inputs import ImageInput, SequenceInput, TokenInput
from edgewise.networks.recommender import TwoTowerConfig
from edgewise.networks.recurrent import GruConfig
from edgewise.networks.registry import NETWORKS, Config
from edgewise.networks.residual import ResNetConfig
from edgewise.networks.separable import DsCnnConfig, MobileNetConfig
from edgewise.networks.signal import Cnn1dConfig
from edgewise.networks.text_bag import TextBagConfig
from edgewise.networks.transformer import EncoderConfig
from edgewise.networks.unet import UnetConfig

#: name -> network, config, shape of each output without the batch
CASES: dict[str, tuple[str, Config, dict[str, tuple[int, ...]]]] = {
    "cnn": ("cnn", CnnConfig(classes=7), {"logits": (7,)}),
    "cnn of everything": (
        "cnn",
        CnnConfig(
            ImageInput(20, 30, 3, "uint8", "nhwc", 1 / 255, (0.5, 0.4, 0.3), (0.2,), standardised=True),
            5, (8, 12), 2, (3, 5), (5, 5), "stride", separable=True, pooling="mean+max", hidden=(16,), dropout=0.3,
        ),
        {"logits": (5,)},
    ),
    "cnn of strides": ("cnn", CnnConfig(ImageInput(5, 7), 3, (4, 6, 6, 8), strides=(2, 1, 2, 2)), {"logits": (3,)}),
    "ds-cnn": ("ds-cnn", DsCnnConfig(), {"logits": (12,)}),
    "ds-cnn of spoken digits": (
        "ds-cnn",
        DsCnnConfig(
            ImageInput(40, 61, layout="nhw", standardised=True), 10, 48, first_kernel=(5, 5), strides=(1, 2, 1, 1),
            dropout=(0.0, 0.0, 0.2),
        ),
        {"logits": (10,)},
    ),
    "mobilenet": ("mobilenet", MobileNetConfig(), {"logits": (2,)}),
    "resnet8": ("resnet8", ResNetConfig(), {"logits": (10,)}),
    "resnet20": ("resnet8", ResNetConfig(blocks=3, dropout=0.1), {"logits": (10,)}),
    "cnn of digits": (
        "cnn",
        CnnConfig(
            ImageInput(40, 49, layout="nhw"), 10, (16, 16, 32, 32, 48), strides=(2, 1, 2, 1, 2), pooling="mean+max", dropout=0.2
        ),
        {"logits": (10,)},
    ),
    "cnn1d": ("cnn1d", Cnn1dConfig(classes=3), {"logits": (3,)}),
    "cnn1d of an open length": (
        "cnn1d",
        Cnn1dConfig(
            SequenceInput(None, 3, "int16", scale=1e-3, derived=("magnitude", "centred"), rest=1.0), 3, (8, 8), (4,), (2,),
            separable=True, pooling="mean", hidden=(8,), dropout=0.3,
        ),
        {"logits": (3,)},
    ),
    "gru": ("gru", GruConfig(), {"logits": (10,)}),
    "gru of tokens": (
        "gru", GruConfig(TokenInput(40, 11), 4, 8, 2, both_ways=True, pooling="mean+max", dense=(6,), dropout=0.2), {"logits": (4,)}
    ),
    "encoder": ("encoder", EncoderConfig(), {"logits": (10,)}),
    "encoder of tokens": ("encoder", EncoderConfig(TokenInput(40, 11), 4, pooling="mean+max"), {"logits": (4,)}),
    "text-bag": ("text-bag", TextBagConfig(vocabulary=200), {"logits": (10,)}),
    "text-bag of everything": (
        "text-bag",
        TextBagConfig(200, 3, 17, weighted=True, width=8, pooling="sqrtn", norm="layer", hidden=(6, 5), activation="gelu",
                      word_dropout=0.1, dropout=0.2),
        {"logits": (3,)},
    ),
    "text-bag of n-grams": (
        "text-bag", TextBagConfig(200, 3, weighted=True, pooling="sum", norm="batch", dropout=0.4), {"logits": (3,)}
    ),
    "two-tower": ("two-tower", TwoTowerConfig(items=50), {"logits": (51,)}),
    "two-tower of everything": (
        "two-tower",
        TwoTowerConfig(50, 9, weighted=True, width=8, pooling="mean", shared=False, hidden=(6,), activation="tanh", biased=False,
                       history_dropout=0.1, dropout=0.1),
        {"logits": (51,)},
    ),
    "autoencoder": ("autoencoder", NETWORKS["autoencoder"].config(), {"score": (), "reconstruction": (1, 64, 64)}),
    "unet": ("unet", UnetConfig(separable=True), {"logits": (2, 64, 64)}),
    "ssd": ("ssd", NETWORKS["ssd"].config(scores=True), {"logits": (1080, 2), "boxes": (1080, 4), "scores": (1080, 1)}),
}  # fmt: skip


def feeds(model: ModelProto, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    random, found = np.random.default_rng(seed), {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        shape = [batch, *(d.dim_value or 23 for d in tensor.shape.dim[1:])]
        dtype: Any = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        found[value.name] = (random.integers(0, 40, shape) if dtype.kind in "iu" else random.normal(size=shape)).astype(
            dtype
        )
    return found
