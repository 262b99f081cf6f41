"""Sensor fragments: windows of samples, (batch, time, channels), to what a small time-series model wants."""

from collections.abc import Sequence
from typing import Literal

from onnx import ModelProto, TensorProto

from edgewise.errors import InputError
from edgewise.graph.draft import Draft

__all__ = ["sensor_pipeline"]


def sensor_pipeline(
    *,
    time: int | str,
    channels: int,
    dtype: Literal["float32", "int16"] = "float32",
    scale: float = 1.0,
    detrend: bool = False,
    magnitude: Literal["", "append", "only"] = "",
    magnitude_of: Sequence[int] = (0, 1, 2),
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    per_window: bool = False,
    epsilon: float = 1e-6,
    layout: Literal["btc", "bct"] = "btc",
    input_name: str = "window",
    output_name: str = "features",
) -> ModelProto:
    """Raw windows (batch, time, channels) to float32 features in one fragment.

    In this order: times ``scale`` (to physical units); ``magnitude``, the length of the vector of the channels
    ``magnitude_of`` (for an accelerometer: independent of how the device is held), appended as a channel or in place of
    all; ``detrend``, minus each channel's mean over the window (takes gravity off an axis); minus ``mean``, through
    ``std``, per channel as it then is; or ``per_window``: minus the window's own mean, through its own standard deviation
    (of the population) plus ``epsilon``. layout ``bct`` puts channels before time. Raises InputError on a contradiction.
    """
    out = 1 if magnitude == "only" else channels + (magnitude == "append")
    _check(channels, out, magnitude_of if magnitude else (), mean, std, per_window)
    draft = Draft("sensor")
    value = draft.node("Cast", input_name, to=TensorProto.FLOAT) if dtype != "float32" else input_name
    if scale != 1:
        value = draft.node("Mul", value, draft.constant(scale))
    if magnitude:
        chosen = draft.node("Gather", value, draft.ints(*magnitude_of), axis=2)
        length = draft.node("ReduceL2", chosen, draft.ints(2), keepdims=1)
        value = length if magnitude == "only" else draft.node("Concat", value, length, axis=2)
    if detrend or per_window:
        value = draft.node("Sub", value, draft.node("ReduceMean", value, draft.ints(1), keepdims=1))
    if per_window:
        variance = draft.node("ReduceMean", draft.node("Mul", value, value), draft.ints(1), keepdims=1)
        value = draft.node("Div", value, draft.node("Add", draft.node("Sqrt", variance), draft.constant(epsilon)))
    if mean:
        value = draft.node("Sub", value, draft.constant(list(mean)))
    if std:
        value = draft.node("Div", value, draft.constant(list(std)))
    shape: list[int | str] = ["batch", time, out]
    if layout == "bct":
        value, shape = draft.node("Transpose", value, perm=[0, 2, 1]), ["batch", out, time]
    return draft.finish({input_name: (dtype, ["batch", time, channels])}, {output_name: ("float32", shape)}, [value])


def _check(
    channels: int, out: int, magnitude_of: Sequence[int], mean: Sequence[float], std: Sequence[float], per_window: bool
) -> None:
    if channels < 1 or any(not 0 <= at < channels for at in magnitude_of):
        raise InputError(f"magnitude_of names a channel outside 0..{channels - 1}")
    for numbers in (mean, std):
        if len(numbers) not in {0, 1, out}:
            raise InputError(f"{len(numbers)} numbers for mean or std, but {out} channels")
    if per_window and (mean or std):
        raise InputError("pass mean and std, or per_window, not both")
    if not all(std):
        raise InputError("std cannot be 0")
