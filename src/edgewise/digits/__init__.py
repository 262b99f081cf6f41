"""Handwritten digits, small enough to ship: 1,797 images of 8x8 in three splits, and a classifier in fp32 and int8.

The images are the UCI set of E. Alpaydin and C. Kaynak (1998), CC BY 4.0; ORIGIN.txt has the source and every digest.
"""

from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import NotFoundError

__all__ = ["MODELS", "SPLITS", "load_split", "model_bytes"]

SPLITS = ("train", "calibration", "eval")  # 1,000, 300 and 497 images, no image in two of them
MODELS = ("fp32", "int8")


def load_split(name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, 8, 8), uint8 of 0 (paper) to 16 (ink), and their digits (N,).

    Raises NotFoundError for a name that is not in SPLITS.
    """
    if name not in SPLITS:
        raise NotFoundError(f"the digits have no split {name!r}", remedy=f"Use one of {', '.join(SPLITS)}.", name=name)
    with files(__name__).joinpath("digits.npz").open("rb") as file:
        arrays: Any = np.load(file, allow_pickle=False)
        return arrays[f"{name}_x"], arrays[f"{name}_y"].astype(np.int64)


def model_bytes(name: str) -> bytes:
    """The ONNX file of ``fp32`` or ``int8``: pixels float32 (batch, 1, 8, 8) of 0..1 to logits float32 (batch, 10).

    int8 is static QDQ: activations uint8, weights int8 per channel. Raises NotFoundError for a name not in MODELS.
    """
    if name not in MODELS:
        raise NotFoundError(f"there is no digits model {name!r}", remedy=f"Use one of {', '.join(MODELS)}.", name=name)
    return files(__name__).joinpath(f"digits-{name}.onnx").read_bytes()
