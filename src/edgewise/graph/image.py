"""Image fragments: from the pixels as a decoder gives them to what a vision model wants.

Between the steps an image batch is float32 (batch, channel, height, width) in 0..1. ``image_pipeline`` strings the steps
together and adds both ends; the single steps are there for what it does not foresee.

Sizes follow torchvision, filters follow Pillow: antialiased, half-pixel centres, cubic with a = -0.5. What differs from
Pillow is that nothing is rounded to 8 bits on the way, and 8-bit rounding is all that differs.
"""

from collections.abc import Sequence
from typing import Literal

from onnx import ModelProto

from edgewise.errors import InputError
from edgewise.graph.draft import Draft

__all__ = [
    "bright_ink", "centre_crop", "from_pixels", "greyscale", "image_pipeline", "normalize", "resize", "shorter_side",
    "swap_channels",
]  # fmt: skip

Fit = Literal["stretch", "cover", "contain"]
Method = Literal["linear", "cubic", "nearest"]
_CUBIC_A = -0.5  # Pillow's; ONNX's own default is -0.75
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's mode L
_PLANES = ("batch", "channels", "height", "width")


def image_pipeline(
    *,
    size: tuple[int, int] | None = None,
    channels: int = 3,
    shorter: int | None = None,
    crop: tuple[int, int] | None = None,
    fit: Fit = "stretch",
    method: Method = "linear",
    grey: bool = False,
    swap: bool = False,
    bright: bool = False,
    bright_ink: bool = False,
    scale: float = 1 / 255,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    layout: Literal["nchw", "nhwc"] = "nchw",
    input_name: str = "image",
    output_name: str = "pixels",
) -> ModelProto:
    """Raw pixels to model input in one fragment: uint8 (batch, height, width, channels) to float32, sizes free.

    In this order: grey or swap; resize (to ``size`` = (height, width) by ``fit``, or the shorter side to ``shorter``);
    centre ``crop``; times ``scale``; ``bright_ink``; minus ``mean``, through ``std`` (per channel, after scaling).
    Without a resize or crop the image's size goes through. Raises InputError where the steps contradict each other.
    """
