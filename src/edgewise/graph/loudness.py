"""Sound brought to one loudness before anything looks at it."""

from typing import Literal

from onnx import ModelProto, TensorProto

from edgewise.errors import InputError
from edgewise.graph.draft import Draft

__all__ = ["to_peak"]

_INT16 = 1 / 32768


def to_peak(
    samples: int | str = "samples", *, dtype: Literal["float32", "int16"] = "float32", least: float = 1e-4,
    input_name: str = "waveform", output_name: str = "loud",
) -> ModelProto:  # fmt: skip
    """Each clip divided by its largest absolute value plus ``least``: (batch, samples) to float32 of the same shape.

    least: full scale is 1; it keeps silence silent. int16 is scaled to -1..1 first. Raises InputError for a ``least`` of 0.
    """
    if least <= 0:
        raise InputError("what is added to the peak must be above 0")
    draft = Draft("to_peak")
    value = input_name
    if dtype == "int16":
        value = draft.node("Mul", draft.node("Cast", value, to=TensorProto.FLOAT), draft.constant(_INT16))
    peak = draft.node("ReduceMax", draft.node("Abs", value), draft.ints(1), keepdims=1)
    loud = draft.node("Div", value, draft.node("Add", peak, draft.constant(least)))
    shape: list[int | str] = ["batch", samples]
    return draft.finish({input_name: (dtype, shape)}, {output_name: ("float32", shape)}, [loud])
