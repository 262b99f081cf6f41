"""`edgewise train MODEL.onnx`: how samples get into somebody else's model."""

from argparse import Namespace
from pathlib import Path

import numpy as np
from onnx import ModelProto

from edgewise.errors import InputError, UnsupportedError
from edgewise.graph.image import image_pipeline
from edgewise.graph.inspect import describe
from edgewise.measure.dataset import Dataset
from edgewise.measure.npz import Array
from edgewise.packing.fragments import before_fragment
from edgewise.store.files import read_bounded
from edgewise.training.data.text_hash import TextHash
from edgewise.training.recipes.front import Kind

__all__ = ["front_of_file", "hashing_of_file"]

_LIMIT = 1 << 20


def front_of_file(options: Namespace, model: ModelProto, data: Dataset, kind: Kind) -> ModelProto | None:
    """The preprocessing that brings ``data`` to the model's input: what ``--before`` says, else what pixels usually need.

    Raises UnsupportedError where data and input do not fit and nothing is known to bring them together.
    """
    spec = describe(model).inputs[0]
    shape, x = spec.shape or (), data.x
    if options.before:
        return before_fragment(options.before, shape)
    if kind in {"text", "tokens", "history"}:
        return None
    if kind == "image" and x.dtype == np.uint8 and spec.dtype == "float32" and len(shape) == 4:
        return _pixels(shape, x)
    if x.dtype.name != spec.dtype:
        raise InputError(
            f"the model takes {spec.dtype} {shape} at {spec.name}, and the data is {x.dtype} {x.shape}",
            remedy=f"Save the data as {spec.dtype}, or join what converts it in front: --before image:..., sensor:..., log-mel:...",
        )
    fits = len(shape) == x.ndim and all(
        isinstance(size, str) or size == own for size, own in zip(shape[1:], x.shape[1:], strict=True)
    )
    if not fits:
        raise InputError(
            f"the model takes {shape} at {spec.name}, and samples have the shape {x.shape[1:]}",
            remedy="Bring the samples to this shape (--size, --length), or join what does in front: --before.",
        )
    return None


def hashing_of_file(path: str, kind: Kind) -> TextHash | None:
    """How the texts of the model at ``path`` become ids: the .text.json beside it. Raises where texts come and there is none."""
    if kind != "text":
        return None
    beside = Path(path).with_suffix(".text.json")
    if not beside.is_file():
        raise UnsupportedError(
            f"the data is text, and {beside.name}, which says how texts become ids, is not beside the model",
            remedy="Put it there; `edgewise train` writes it with every model of texts.",
        )
    return TextHash.from_json(read_bounded(beside, _LIMIT, "the text hash"))


def _pixels(shape: tuple[int | str, ...], x: Array) -> ModelProto:
    """0..255 to 0..1, in the model's size, channels and order."""
    last = shape[3] in (1, 3) and shape[1] not in (1, 3)
    planes = shape[3] if last else shape[1]
    height, width = shape[1:3] if last else shape[2:4]
    if x.ndim != 4 or x.shape[3] not in (1, 3) or planes not in (1, 3) or (x.shape[3] == 1 and planes == 3):
        raise InputError(
            f"the model takes {shape}, and the images are {x.shape[1:]}",
            remedy="Bring the images to the model's channels, or join what does in front: --before.",
        )
    size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    if size == x.shape[1:3]:
        size = None  # nothing to do, and any other size still has an answer: none
    return image_pipeline(
        size=size, channels=x.shape[3], grey=x.shape[3] == 3 and planes == 1, layout="nhwc" if last else "nchw"
    )  # fmt: skip
