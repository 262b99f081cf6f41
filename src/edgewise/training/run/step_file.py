"""A training step at rest: three ONNX graphs, the first values of its states, and what they are.

The same five parts are a folder, or named blobs beside a bundle: ``spec.json``, ``step.onnx``, ``forward.onnx``,
``initial.safetensors`` and, where several batches make one update, ``accumulate.onnx``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgewise.bundle.limits import Limits
from edgewise.bundle.safetensors import Array, dump_arrays, parse_arrays
from edgewise.bundle.strict_json import dump_json
from edgewise.digests import digest_of
from edgewise.errors import DocumentError, NotFoundError
from edgewise.store.files import read_bounded, write_bytes
from edgewise.training.run.step_spec import (
    BUFFER,
    OPTIMIZER,
    PARAMETER,
    MemoryEstimate,
    ScalarSpec,
    StateSpec,
    StepSpec,
    ValueSpec,
)

__all__ = [
    "BLOBS", "BUFFER", "OPTIMIZER", "PARAMETER", "MemoryEstimate", "ScalarSpec", "StateSpec", "StepSpec", "TrainingStep",
    "ValueSpec", "misfits",
]  # fmt: skip

_SPEC, _STEP, _FORWARD, _ACCUMULATE, _INITIAL = (
    "spec.json", "step.onnx", "forward.onnx", "accumulate.onnx", "initial.safetensors",
)  # fmt: skip
#: Names of the parts; ``accumulate.onnx`` is there only where a step accumulates.
BLOBS = (_SPEC, _STEP, _FORWARD, _ACCUMULATE, _INITIAL)
_LARGEST = (2 << 30) - 1  # bytes of one part; a protobuf cannot be larger
_LIMITS = Limits(array_bytes=_LARGEST)


@dataclass(frozen=True, slots=True, eq=False)
class TrainingStep:
    """A training step, complete: it needs nothing but onnxruntime to run. Validated when built.

    step: the ONNX graph of one whole step. forward: inference, with the states as inputs. accumulate: only adds up
    gradients; None where ``spec.accumulates`` is 1. initial: state input -> its first value.
    Raises DocumentError where the parts do not fit together.
    """

    spec: StepSpec
    step: bytes
    forward: bytes
    accumulate: bytes | None
    initial: Mapping[str, Array]

    def __post_init__(self) -> None:
        problems = misfits(self.spec.states, self.initial)
        if (self.accumulate is None) != (self.spec.accumulates == 1):
            problems.append(f"accumulate: {self.spec.accumulates} batches per update and the graph do not go together")
        problems += [f"{name}: is empty" for name in ("step", "forward", "accumulate") if getattr(self, name) == b""]
        if problems:
            raise DocumentError("training step", problems)

    def digest(self) -> str:
        """Digest over every part: equal exactly where two steps would train alike from the start."""
        return digest_of(dump_json({name: digest_of(data) for name, data in self.to_blobs().items()}))

    def to_blobs(self) -> dict[str, bytes]:
        """The parts by name, as a bundle attaches them; ``from_blobs`` is the inverse."""
        blobs = {
            _SPEC: self.spec.to_json(), _STEP: self.step, _FORWARD: self.forward, _INITIAL: dump_arrays(self.initial),
        }  # fmt: skip
        return blobs if self.accumulate is None else {**blobs, _ACCUMULATE: self.accumulate}

    @classmethod
    def from_blobs(cls, blobs: Mapping[str, bytes]) -> "TrainingStep":
        """The step in these parts. Raises DocumentError or HostileBundleError where they are not one."""
        missing = [name for name in BLOBS if name not in blobs and name != _ACCUMULATE]
        problems = [f"{name}: is missing" for name in missing]
        problems += [f"{name[:60]}: does not belong to a training step" for name in blobs if name not in BLOBS]
        if problems:
            raise DocumentError("training step", problems)
        initial = parse_arrays(blobs[_INITIAL], _INITIAL, _LIMITS)
        spec = StepSpec.from_json(blobs[_SPEC])
        return cls(spec, blobs[_STEP], blobs[_FORWARD], blobs.get(_ACCUMULATE), initial)

    def write(self, folder: Path) -> None:
        """Keep the parts in ``folder``, the description last. Raises StorageError where that is not possible."""
        blobs = self.to_blobs()
        for name in sorted(blobs, key=lambda name: name == _SPEC):
            write_bytes(folder / name, blobs[name])

    @classmethod
    def read(cls, folder: Path) -> "TrainingStep":
        """What ``write`` kept in ``folder``. Raises NotFoundError where a part is missing, and what ``from_blobs`` raises."""
        if not folder.is_dir():
            raise NotFoundError(f"there is no folder of a training step at {folder}", path=str(folder))
        names = [name for name in BLOBS if name != _ACCUMULATE or (folder / name).exists()]
        return cls.from_blobs({name: read_bounded(folder / name, _LARGEST, "the training step's") for name in names})


def misfits(states: tuple[StateSpec, ...], arrays: Mapping[str, Array]) -> list[str]:
    """How ``arrays`` differ from what ``states`` say, one line each: missing and unknown names, dtypes, shapes."""
    problems = [f"{name[:60]}: is not a state of this step" for name in arrays if name not in {s.input for s in states}]
    for state in states:
        array = arrays.get(state.input)
        if array is None:
            problems.append(f"{state.input}: is missing")
        elif array.dtype != np.dtype(state.dtype) or array.shape != state.shape:
            wanted = f"{state.dtype} {state.shape}"
            problems.append(f"{state.input}: {wanted} is needed, not {array.dtype} {array.shape}")
    return problems
