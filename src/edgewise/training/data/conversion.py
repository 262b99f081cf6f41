"""Fixed steps between the data as it is kept and the model as it takes it: the same in training and in evaluation."""

from dataclasses import dataclass, field

import numpy as np

from edgewise.errors import DataError, ModelError
from edgewise.measure.npz import Array
from edgewise.runtime import telemetry
from edgewise.training.augment.step import Step

telemetry.disable()

import onnxruntime as ort  # noqa: E402  (the switch above must come first)

__all__ = ["ChannelsFirst", "FrontGraph", "ToFloat", "WithAxis"]


@dataclass(frozen=True, slots=True)
class ToFloat:
    """float32: (x * scale - mean) / std; mean and std one number, or one for each channel along the last axis."""

    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __call__(self, x: Array, _rng: np.random.Generator, /) -> Array:
        values = x.astype(np.float32) * np.float32(self.scale)
        return (values - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)

    def still(self) -> Step:
        return self


@dataclass(frozen=True, slots=True)
class ChannelsFirst:
    """(N, ..., C) to (N, C, ...)."""

    def __call__(self, x: Array, _rng: np.random.Generator, /) -> Array:
        return np.moveaxis(x, -1, 1)

    def still(self) -> Step:
        return self


@dataclass(frozen=True, slots=True)
class WithAxis:
    """A new axis of size 1 at ``at``: (N, H, W) to (N, 1, H, W), say."""

    at: int = 1

    def __call__(self, x: Array, _rng: np.random.Generator, /) -> Array:
        return np.expand_dims(x, self.at)

    def still(self) -> Step:
        return self


@dataclass(frozen=True, slots=True)
class FrontGraph:
    """What a preprocessing graph makes of the batch: one input, one output. So augmentation can work on both sides of it.

    model: ONNX bytes, a fragment of `edgewise.graph` or any other. Raises ModelError where it cannot be opened or run.
    """

    model: bytes
    _session: ort.InferenceSession = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # the same bits however many cores there are
        options.log_severity_level = 4
        try:
            session = ort.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes share no base but Exception
            raise ModelError(f"onnxruntime cannot open the preprocessing graph: {error}") from None
        if len(session.get_inputs()) != 1 or len(session.get_outputs()) != 1:
            raise ModelError("a preprocessing graph has one input and one output")
        object.__setattr__(self, "_session", session)

    def __call__(self, x: Array, _rng: np.random.Generator, /) -> Array:
        name = self._session.get_inputs()[0].name
        try:
            (out,) = self._session.run(None, {name: np.ascontiguousarray(x)})
        except Exception as error:  # likewise
            raise DataError(f"the preprocessing graph does not take {x.dtype} {x.shape}: {error}") from None
        return np.asarray(out)

    def still(self) -> Step:
        return self
