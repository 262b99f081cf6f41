"""Image fragments: from the pixels as a decoder gives them to what a vision model wants.

Between the steps an image batch is uint8 (batch, channels, height, width), as it was where the model was trained: a
quarter of the memory, and the same rounding. ``image_pipeline`` strings the steps together and adds both ends; the single
steps are there for what it does not foresee.

Sizes follow torchvision, filters follow Pillow: antialiased, half-pixel centres, cubic with a = -0.5, weights outside the
image left out. onnxruntime 1.32 then gives Pillow's pixels to within 1; only where one side grows while the other shrinks
does the order of the two passes show in cubic overshoot.
"""

from collections.abc import Callable, Sequence
from typing import Literal

from onnx import ModelProto, TensorProto

from edgewise.errors import InputError
from edgewise.graph.draft import Draft

__all__ = [
    "Fit",
    "Method",
    "bright_ink",
    "centre_crop",
    "from_pixels",
    "greyscale",
    "image_pipeline",
    "normalize",
    "resize",
    "resize_shorter",
    "swap_channels",
    "to_size",
]

Fit = Literal["stretch", "cover", "contain"]
Method = Literal["linear", "cubic"]
Dim = int | str
_CUBIC_A = -0.5  # Pillow's; ONNX's own default is -0.75
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's mode L
_HALF = 255 / 2


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
    bright_ink: bool = False,
    scale: float = 1 / 255,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    layout: Literal["nchw", "nhwc"] = "nchw",
    input_name: str = "image",
    output_name: str = "pixels",
) -> ModelProto:
    """Raw pixels to model input in one fragment: uint8 (batch, height, width, channels) to float32, sizes free.

    In this order: ``grey`` or ``swap``; ``bright_ink``; resize, to ``size`` = (height, width) by ``fit`` or with the shorter
    side to ``shorter``; centre ``crop`` (height, width); times ``scale``; minus ``mean``, through ``std`` (per channel, in
    scaled units). Without resize or crop the image keeps its size. Raises InputError where the steps contradict each other.
    """
    if channels not in {1, 3} or ((grey or swap) and channels != 3) or (grey and swap):
        raise InputError("an image has 1 or 3 channels, and either grey or swap applies to 3")
    if size and shorter:
        raise InputError("pass size or shorter, not both")
    draft = Draft("image")
    value = _from_pixels(draft, input_name)
    if grey:
        value = _greyscale(draft, value)
    if swap:
        value = draft.node("Gather", value, draft.ints(2, 1, 0), axis=1)
    if bright_ink:
        value = _bright_ink(draft, value)
    if size:
        value = _resize(draft, value, size, fit, method)
    if shorter:
        value = _resize_shorter(draft, value, shorter, method)
    if crop:
        value = _centre_crop(draft, value, crop)
    planes = 1 if grey else channels
    value = _normalize(draft, value, planes, scale, mean, std)
    height, width = crop or size or (("resized_height", "resized_width") if shorter else ("height", "width"))
    shape: list[Dim] = ["batch", planes, height, width]
    if layout == "nhwc":
        value, shape = draft.node("Transpose", value, perm=[0, 2, 3, 1]), ["batch", height, width, planes]
    return draft.finish(
        {input_name: ("uint8", ["batch", "height", "width", channels])}, {output_name: ("float32", shape)}, [value]
    )


def from_pixels(channels: int = 3, input_name: str = "image", output_name: str = "planes") -> ModelProto:
    """uint8 (batch, height, width, channels) to uint8 (batch, channels, height, width)."""
    draft = Draft("from_pixels")
    return draft.finish(
        {input_name: ("uint8", ["batch", "height", "width", channels])},
        {output_name: ("uint8", ["batch", channels, "height", "width"])},
        [_from_pixels(draft, input_name)],
    )


def resize(
    size: tuple[int, int], channels: int = 3, *, fit: Fit = "stretch", method: Method = "linear",
    input_name: str = "planes", output_name: str = "resized",
) -> ModelProto:  # fmt: skip
    """Every image to ``size`` = (height, width).

    fit: ``stretch`` ignores the aspect; ``cover`` keeps it and crops what is over, ``contain`` keeps it and pads with
    black, both around the centre.
    """
    return _step(
        "resize",
        lambda draft, x: _resize(draft, x, size, fit, method),
        channels,
        channels,
        size,
        input_name,
        output_name,
    )


def to_size(
    size: tuple[int, int], channels: int = 3, *, fit: Fit = "cover", method: Method = "linear",
    input_name: str = "image", output_name: str = "sized",
) -> ModelProto:  # fmt: skip
    """uint8 (batch, height, width, channels) of any size to the same at ``size`` = (height, width). fit: as in ``resize``."""
    draft = Draft("to_size")
    value = _resize(draft, _from_pixels(draft, input_name), size, fit, method)
    return draft.finish(
        {input_name: ("uint8", ["batch", "height", "width", channels])},
        {output_name: ("uint8", ["batch", *size, channels])},
        [draft.node("Transpose", value, perm=[0, 2, 3, 1])],
    )


def resize_shorter(
    side: int, channels: int = 3, *, method: Method = "linear", input_name: str = "planes", output_name: str = "resized"
) -> ModelProto:
    """The shorter side to ``side`` pixels, the longer one in proportion, rounded down as torchvision's Resize does."""
    return _step(
        "resize_shorter", lambda draft, x: _resize_shorter(draft, x, side, method), channels, channels,
        ("resized_height", "resized_width"), input_name, output_name,
    )  # fmt: skip


def centre_crop(
    size: tuple[int, int], channels: int = 3, *, input_name: str = "planes", output_name: str = "cropped"
) -> ModelProto:
    """The middle (height, width) of every image; a smaller image is padded with black. As torchvision's CenterCrop."""
    return _step(
        "centre_crop", lambda draft, x: _centre_crop(draft, x, size), channels, channels, size, input_name, output_name
    )


def normalize(
    channels: int = 3, *, scale: float = 1 / 255, mean: Sequence[float] = (), std: Sequence[float] = (),
    input_name: str = "planes", output_name: str = "normalized",
) -> ModelProto:  # fmt: skip
    """uint8 to float32: ``(x * scale - mean) / std`` per channel; one number stands for all channels."""
    return _step(
        "normalize", lambda draft, x: _normalize(draft, x, channels, scale, mean, std), channels, channels,
        ("height", "width"), input_name, output_name, "float32",
    )  # fmt: skip


def greyscale(*, input_name: str = "planes", output_name: str = "grey") -> ModelProto:
    """Three channels RGB to one, by the luma of ITU-R BT.601."""
    return _step("greyscale", _greyscale, 3, 1, ("height", "width"), input_name, output_name)


def swap_channels(*, input_name: str = "planes", output_name: str = "swapped") -> ModelProto:
    """RGB to BGR, or back."""
    return _step(
        "swap_channels", lambda draft, x: draft.node("Gather", x, draft.ints(2, 1, 0), axis=1), 3, 3,
        ("height", "width"), input_name, output_name,
    )  # fmt: skip


def bright_ink(channels: int = 1, *, input_name: str = "planes", output_name: str = "ink") -> ModelProto:
    """Invert each image whose mean is above half, so that strokes are bright on dark whatever the paper was."""
    return _step("bright_ink", _bright_ink, channels, channels, ("height", "width"), input_name, output_name)


def _step(
    name: str, build: Callable[[Draft, str], str], channels: int, channels_out: int, size: tuple[Dim, Dim],
    input_name: str, output_name: str, dtype_out: str = "uint8",
) -> ModelProto:  # fmt: skip
    draft = Draft(name)
    return draft.finish(
        {input_name: ("uint8", ["batch", channels, "height", "width"])},
        {output_name: (dtype_out, ["batch", channels_out, *size])},
        [build(draft, input_name)],
    )


def _from_pixels(draft: Draft, value: str) -> str:
    return draft.node("Transpose", value, perm=[0, 3, 1, 2])


def _floats(draft: Draft, value: str) -> str:
    return draft.node("Cast", value, to=TensorProto.FLOAT)


def _greyscale(draft: Draft, value: str) -> str:
    grey = draft.node("Conv", _floats(draft, value), draft.constant([[[[weight]] for weight in _LUMA]]))
    return draft.node("Cast", draft.node("Round", grey), to=TensorProto.UINT8)


def _bright_ink(draft: Draft, value: str) -> str:
    mean = draft.node("ReduceMean", _floats(draft, value), draft.ints(1, 2, 3), keepdims=1)
    paper = draft.node("Greater", mean, draft.constant(_HALF))
    return draft.node("Where", paper, draft.node("BitwiseNot", value), value)  # ~x is 255 - x


def _normalize(
    draft: Draft, value: str, channels: int, scale: float, mean: Sequence[float], std: Sequence[float]
) -> str:
    for numbers in (mean, std):
        if len(numbers) not in {0, 1, channels}:
            raise InputError(f"{len(numbers)} numbers for mean or std, but {channels} channels")
    if not scale or not all(std):
        raise InputError("scale and std cannot be 0")
    value = _floats(draft, value)
    if scale != 1:
        value = draft.node("Mul", value, draft.constant(scale))
    if mean:
        value = draft.node("Sub", value, draft.constant([[[number]] for number in mean]))
    if std:
        value = draft.node("Div", value, draft.constant([[[number]] for number in std]))
    return value


def _resize(draft: Draft, value: str, size: tuple[int, int], fit: Fit, method: Method) -> str:
    _check_size(size)
    if fit == "stretch":
        return _resize_to(draft, value, draft.ints(*size), method)
    # The wanted size against the one that keeps the aspect given the other side, rounded to nearest: (h, w) and (w H/W, h W/H).
    shape = draft.node("Shape", value, start=2)
    wanted = draft.ints(*size)
    crossed = draft.node("Gather", wanted, draft.ints(1, 0))
    other = draft.node("Gather", shape, draft.ints(1, 0))
    half = draft.node("Div", other, draft.ints(2))
    aspect = draft.node("Div", draft.node("Add", draft.node("Mul", crossed, shape), half), other)
    if fit == "cover":
        covering = draft.node("Max", wanted, aspect)
        return _crop(draft, _resize_to(draft, value, covering, method), size)
    if fit != "contain":
        raise InputError(f"fit is stretch, cover or contain, not {fit!r}")
    inside = draft.node("Max", draft.node("Min", wanted, aspect), draft.ints(1, 1))
    return _pad(draft, _resize_to(draft, value, inside, method), size)


def _resize_shorter(draft: Draft, value: str, side: int, method: Method) -> str:
    _check_size((side, side))
    shape = draft.node("Shape", value, start=2)
    shortest = draft.node("ReduceMin", shape, draft.ints(0), keepdims=1)
    sizes = draft.node("Div", draft.node("Mul", shape, draft.ints(side)), shortest)
    return _resize_to(draft, value, sizes, method)


def _resize_to(draft: Draft, value: str, sizes: str, method: Method) -> str:
    if method not in {"linear", "cubic"}:
        raise InputError(f"method is linear or cubic, not {method!r}")
    # All four sizes, not the attribute axes: when onnxruntime 1.32 moves a Transpose past a
    # Resize or Pad with axes, it builds a graph that does not run.
    sizes = draft.node("Concat", draft.node("Shape", value, end=2), sizes, axis=0)
    return draft.node(
        "Resize", value, "", "", sizes, mode=method, antialias=1, coordinate_transformation_mode="half_pixel",
        cubic_coeff_a=_CUBIC_A, exclude_outside=1,
    )  # fmt: skip


def _centre_crop(draft: Draft, value: str, size: tuple[int, int]) -> str:
    _check_size(size)
    return _crop(draft, _pad(draft, value, size), size)


def _crop(draft: Draft, value: str, size: tuple[int, int]) -> str:
    """The middle of an image that is large enough. An odd pixel goes where Python's round puts it, as in torchvision."""
    wanted = draft.ints(*size)
    spare = draft.node("Sub", draft.node("Shape", value, start=2), wanted)
    halves = draft.node("Mul", _floats(draft, spare), draft.constant(0.5))
    start = draft.node("Cast", draft.node("Round", halves), to=TensorProto.INT64)
    return draft.node("Slice", value, start, draft.node("Add", start, wanted), draft.ints(2, 3))


def _pad(draft: Draft, value: str, size: tuple[int, int]) -> str:
    """Black around the middle where the image is smaller than ``size``."""
    missing = draft.node("Sub", draft.ints(*size), draft.node("Shape", value, start=2))
    missing = draft.node("Max", missing, draft.ints(0, 0))
    before = draft.node("Div", missing, draft.ints(2))
    none = draft.ints(0, 0)
    pads = draft.node("Concat", none, before, none, draft.node("Sub", missing, before), axis=0)
    return draft.node("Pad", value, pads, draft.constant(0, "uint8"), mode="constant")  # without axes, as in _resize_to


def _check_size(size: tuple[int, int]) -> None:
    if min(size) < 1:
        raise InputError(f"an image cannot have the size {size[0]} x {size[1]}")
