"""A training step at rest: three ONNX graphs, the first values of its states, and what they are.

The same five parts are a folder, or named blobs beside a bundle: ``spec.json``, ``step.onnx``, ``forward.onnx``,
``initial.safetensors`` and, where several batches make one update, ``accumulate.onnx``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
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
# Adam keeps two numbers for a weight, accumulation a third.
_ZEROS_PER_BYTE, _ZEROS_FREE = 4, 1 << 16


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
        zero = {state.input for state in self.spec.of_role(OPTIMIZER) if not self.initial[state.input].any()}
        stored = {name: array for name, array in self.initial.items() if name not in zero}
        blobs = {
            _SPEC: self.spec.to_json(), _STEP: self.step, _FORWARD: self.forward, _INITIAL: dump_arrays(stored),
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
        stored = parse_arrays(blobs[_INITIAL], _INITIAL, _LIMITS)
        spec = StepSpec.from_json(blobs[_SPEC])
        initial = {**stored, **_zeros(spec, stored)}
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


def _zeros(spec: StepSpec, stored: Mapping[str, Array]) -> dict[str, Array]:
    """The optimiser's states that are not stored: they start at zero.

    Bounded by what is stored: few bytes must not ask for many. Zeros that are stored are refused: a step has one form, and one
    digest.
    """
    slots = [state.input for state in spec.of_role(OPTIMIZER) if state.input in stored]
    if idle := [name for name in slots if not stored[name].any()]:
        raise DocumentError("training step", [f"{_INITIAL}: {name} is zero and must be left out" for name in idle])
    missing = [state for state in spec.of_role(OPTIMIZER) if state.input not in stored]
    needed = sum(prod(state.shape) * np.dtype(state.dtype).itemsize for state in missing)
    allowed = _ZEROS_FREE + _ZEROS_PER_BYTE * sum(array.nbytes for array in stored.values())
    if needed > allowed:
        raise DocumentError("training step", [f"{_INITIAL}: {needed} bytes of zeros are left out, {allowed} may be"])
    return {state.input: np.zeros(state.shape, state.dtype) for state in missing}


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
