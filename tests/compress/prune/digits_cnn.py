"""A network that has learnt the digits for a moment, with its preprocessing in front."""

from functools import cache

import numpy as np
from onnx import ModelProto

from edgewise.compress.samples import Samples
from edgewise.compress.tuning import Tuning, answers, fine_tune
from edgewise.digits import load_split
from edgewise.graph.image import image_pipeline
from edgewise.graph.join import prepend
from edgewise.measure.dataset import Dataset
from edgewise.networks.compact import CnnConfig
from edgewise.networks.inputs import ImageInput
from edgewise.networks.registry import build


def digits(split: str = "train", count: int = 1000) -> Samples:
    x, y = load_split(split)
    images = (x[:count, :, :, None] * 15).astype(np.uint8)
    return Samples(Dataset(images, y[:count]), "classification", "image", "logits")


@cache
def learnt() -> ModelProto:
    core = build("cnn", CnnConfig(ImageInput(8, 8), 10, (16, 24), strides=(1, 2)), 1)
    front = image_pipeline(size=(8, 8), channels=1, input_name="image", output_name="x")
    return fine_tune(prepend(front, core), digits(), Tuning(epochs=12, batch=32, learning_rate=0.02))


def accuracy(model: ModelProto) -> float:
    held = digits("eval")
    return float(np.mean(answers(model, held).argmax(1) == held.data.y))
