"""What the demo starts from: the digits as images, and the networks that ship with them, each from image to probabilities."""

import numpy as np

from edgewise.digits import MODELS, load_split, model_bytes
from edgewise.graph.answer import softmax
from edgewise.graph.image import image_pipeline
from edgewise.graph.inspect import read_model
from edgewise.graph.join import append, prepend
from edgewise.importing.imported import ImportedModel
from edgewise.importing.onnx_file import onnx_from_bytes
from edgewise.measure.dataset import Dataset

__all__ = ["digits_data", "digits_model", "digits_models"]

_FULL_SCALE = 255 / 16  # the set's values go to 16, an image's to 255


def digits_model(name: str) -> ImportedModel:
    """``fp32`` or ``int8``, from raw image (uint8, any size, light or dark paper) to probabilities in one graph."""
    front = image_pipeline(size=(8, 8), channels=1, bright_ink=True, input_name="image")
    graph = append(prepend(front, read_model(model_bytes(name))), softmax("logits", "probabilities"))
    return onnx_from_bytes(f"digits-{name}.onnx", graph.SerializeToString())


def digits_models() -> dict[str, ImportedModel]:
    """All of them."""
    return {name: digits_model(name) for name in MODELS}


def digits_data(split: str) -> Dataset:
    """One split of the UCI digits as images: x (N, 8, 8, 1) uint8 0..255."""
    x, y = load_split(split)
    images = np.round(x[..., None] * _FULL_SCALE).astype(np.uint8)
    return Dataset(images, y, None, tuple(map(str, range(10))), f"uci-digits-{split}")
