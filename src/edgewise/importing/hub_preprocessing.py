"""preprocessor_config.json of an image model, read into plain steps; what cannot be read exactly is named, never guessed.

The keys are those of the image processors in ``transformers``. Their classes differ in what a number in ``size`` means, so a
plain number is only accepted for the classes listed here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

__all__ = ["ImageSteps", "read_image_steps"]

# PIL's numbers for its resampling filters (PIL.Image.Resampling) -> what the graph has as exactly as PIL.
_FILTERS: dict[int, Literal["linear", "cubic"]] = {2: "linear", 3: "cubic"}
# Classes for which a plain number in ``size`` is the side of a square, and those for which it is the shortest edge.
_SQUARE = ("ViT", "DeiT", "BeiT", "Swin", "Segformer", "Siglip")
_SHORTEST = ("CLIP", "ConvNext", "LeViT", "Levit", "PoolFormer", "EfficientFormer", "MobileNet", "Bit")
_UNSUPPORTED = ("do_flip_channel_order", "do_pad", "do_thumbnail", "do_align_long_axis", "do_reduce_labels")
_CROP_FRACTION = 224 / 256  # ConvNextImageProcessor's default for crop_pct
_CROP_BELOW = 384  # pixels; ConvNextImageProcessor crops below this size only


@dataclass(frozen=True, slots=True)
class ImageSteps:
    """From raw pixels 0..255 to what the model was trained on, in this order; sizes in pixels as (height, width).

    resize: the exact size, or None. shortest: the length of the shorter side with the aspect kept, or None. crop: the size of
    a centre crop, or None. Then values * ``scale``, minus ``mean``, through ``std``, per channel in the order RGB.
    """

    resize: tuple[int, int] | None
    shortest: int | None
    crop: tuple[int, int] | None
    resample: Literal["linear", "cubic"]
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def size(self) -> tuple[int, int] | None:
        """What the model is given, where that is fixed."""
        return self.crop or self.resize


def read_image_steps(config: Mapping[str, Any]) -> tuple[ImageSteps | None, list[str]]:
    """The steps, and what was found on the way; None with the reasons where they cannot be stated exactly."""
    problems: list[str] = []
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "")
    if "image_mean" not in config and "size" not in config and "rescale_factor" not in config:
        return None, [f"preprocessor_config.json ({kind or 'no type'}) is not about images"]
    problems += [f"{flag} is not supported" for flag in _UNSUPPORTED if config.get(flag)]
    resize, shortest, crop = _geometry(config, kind, problems)
    wanted = config.get("resample", 2)
    resample = _FILTERS.get(wanted) if isinstance(wanted, int) else None
    if resample is None:
        problems.append(f"the resampling filter {wanted!r:.20} is neither bilinear nor bicubic")
    scale = _number(config, "rescale_factor", 1 / 255, problems) if config.get("do_rescale", True) else 1.0
    normalizes = config.get("do_normalize", "image_mean" in config)
    mean = _triple(config, "image_mean", 0.0, problems) if normalizes else (0.0,) * 3
    std = _triple(config, "image_std", 1.0, problems) if normalizes else (1.0,) * 3
    if any(value <= 0 for value in std):
        problems.append(f"image_std {std} has to be positive")
    if problems or resample is None:
        return None, [f"preprocessing is left to the application: {problem}" for problem in problems]
    steps = ImageSteps(resize, shortest, crop, resample, scale, mean, std)
    return steps, [f"preprocessing is part of the model: {_shown(steps)}"]


def _geometry(
    config: Mapping[str, Any], kind: str, problems: list[str]
) -> tuple[tuple[int, int] | None, int | None, tuple[int, int] | None]:
    resize: tuple[int, int] | None = None
    shortest: int | None = None
    size = config.get("size")
    if config.get("do_resize", size is not None):
        resize, shortest = _pair(size), None
        edge = size.get("shortest_edge") if isinstance(size, dict) and len(size) == 1 else None
        if _is_size(edge):
            shortest = edge
        elif _is_size(size) and kind.startswith(_SQUARE):
            resize = (size, size)
        elif _is_size(size) and kind.startswith(_SHORTEST):
            shortest = size
        if resize is None and shortest is None:
            problems.append(f"size {size!r:.80} of {kind or 'an unnamed processor'} can be read in two ways")
    crop = None
    if config.get("do_center_crop", False):
        wanted = config.get("crop_size", size)
        crop = (wanted, wanted) if _is_size(wanted) else _pair(wanted)
        if crop is None:
            problems.append(f"crop_size {wanted!r:.80} is no size")
    if kind.startswith("ConvNext") and shortest is not None:
        # Its own rule: resize so that the crop covers crop_pct of the side, then crop; no crop for large sizes.
        side = shortest
        if side < _CROP_BELOW:
            fraction = _number(config, "crop_pct", _CROP_FRACTION, problems)
            shortest, crop = int(side / fraction), (side, side)
        else:
            resize, shortest = (side, side), None
    if shortest is not None and crop is None:
        problems.append("the shortest edge is given without a crop, so the size is not fixed")
    if crop and ((resize and (crop[0] > resize[0] or crop[1] > resize[1])) or (shortest and max(crop) > shortest)):
        problems.append(f"the crop {crop} is larger than the resized image")
    return resize, shortest, crop


def _pair(value: Any) -> tuple[int, int] | None:
    if not isinstance(value, dict) or set(value) != {"height", "width"} or not all(map(_is_size, value.values())):
        return None
    return int(value["height"]), int(value["width"])


def _is_size(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 8192


def _number(config: Mapping[str, Any], key: str, default: float, problems: list[str]) -> float:
    value = config.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        problems.append(f"{key} {value!r:.40} has to be a positive number")
        return default
    return float(value)


def _triple(config: Mapping[str, Any], key: str, default: float, problems: list[str]) -> tuple[float, ...]:
    value = config.get(key, default)
    values = [value] * 3 if isinstance(value, (int, float)) else value
    if not isinstance(values, list) or len(values) != 3 or not all(isinstance(item, (int, float)) for item in values):
        problems.append(f"{key} {value!r:.60} is not one number for each of three channels")
        return (default,) * 3
    return tuple(float(item) for item in values)


def _shown(steps: ImageSteps) -> str:
    parts = []
    if steps.resize:
        parts.append(f"resize to {steps.resize[0]} x {steps.resize[1]} ({steps.resample})")
    if steps.shortest:
        parts.append(f"resize the shorter side to {steps.shortest} ({steps.resample})")
    if steps.crop:
        parts.append(f"crop the centre to {steps.crop[0]} x {steps.crop[1]}")
    parts.append(f"values * {steps.scale:.6g}, mean {steps.mean}, std {steps.std}")
    return ", ".join(parts)
