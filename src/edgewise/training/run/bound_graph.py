"""One ONNX graph, opened for training, with its buffers bound.

Every buffer is a NumPy array that starts on a cache line. That is not for speed: a reduction that peels off what comes before
the first aligned element adds in another order when the same numbers lie elsewhere, and a resumed run would differ in its
last bits.
"""

import ctypes
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgewise.bundle.safetensors import Array
from edgewise.errors import ModelError
from edgewise.runtime import telemetry

telemetry.disable()

import onnxruntime as ort  # noqa: E402  (the switch above must come first)

__all__ = ["BoundGraph", "aligned", "aligned_copy"]

_LINE = 64  # bytes: a cache line, and the widest vector register
# Weights outside of the graph come from nowhere: without this onnxruntime would look in the current folder.
_NOWHERE = str(Path(__file__) / "nowhere")
_CPU = "CPUExecutionProvider"
_M_MMAP_THRESHOLD = -3  # glibc malloc.h
_TYPES = {"float": "float32", "double": "float64"}  # what onnxruntime calls otherwise than NumPy


class BoundGraph:
    """An opened graph. ``feed`` and ``give`` bind buffers that are kept until others take their place; ``run`` runs."""

    def __init__(self, model: bytes, what: str, threads: int = 0, *, frugal: bool = False) -> None:
        """threads: 0 for as many as there are cores. frugal: give memory back after each tensor.

        Raises ModelError, naming ``what``, where onnxruntime cannot open it.
        """
        self.what = what
        self._session = _open(model, what, threads, frugal=frugal)
        self.inputs = {item.name: _dtype(item.type) for item in self._session.get_inputs()}
        self.shapes = {item.name: _shape(item.shape) for item in self._session.get_inputs()}
        self.outputs = {item.name: _dtype(item.type) for item in self._session.get_outputs()}
        self._binding = self._session.io_binding()
        # onnxruntime works in these arrays' memory, so they are held for as long as they are bound.
        self._fed: dict[str, Array] = {}
        self._given: dict[str, Array] = {}
        self._copies: dict[str, Array] = {}
        self._order: list[str] = []  # of the outputs, as onnxruntime has them: by their first binding

    def feed(self, name: str, array: Array) -> None:
        """Read the input ``name`` from ``array``: from its very memory, or from an aligned copy where it is not aligned."""
        if not _is_aligned(array):
            copy = self._copies.get(name)
            if copy is None or copy.shape != array.shape:
                copy = self._copies[name] = aligned(array.shape, array.dtype)
            copy[...] = array
            array = copy
        if self._fed.get(name) is not array:
            self._fed[name] = array
            self._binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))

    def give(self, name: str, array: Array) -> None:
        """Write the output ``name`` into ``array``."""
        if self._given.get(name) is not array:
            self._given[name] = array
            self._bind(name)

    def run(self, wanted: Sequence[str] = ()) -> dict[str, Array]:
        """Run once; ``wanted`` names outputs whose shape the graph decides. Raises ModelError where onnxruntime cannot run."""
        if list(wanted) != self._order[len(self._given) :]:
            self._binding.clear_binding_outputs()
            self._order.clear()
            for name in self._given:
                self._bind(name)
        for name in wanted:  # anew each time: what the last batch left there has its shape
            self._bind(name)
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # the binding raises its own classes, which share no base but Exception
            raise ModelError(f"onnxruntime failed in {self.what}: {_first_line(error)}") from None
        if not wanted:
            return {}
        values = dict(zip(self._order, self._binding.get_outputs(), strict=True))
        return {name: values[name].numpy() for name in wanted}

    def _bind(self, name: str) -> None:
        if name not in self._order:
            self._order.append(name)
        if name in self._given:
            self._binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(self._given[name]))
        else:
            self._binding.bind_output(name)

    def check(self, taken: Mapping[str, str], given: Mapping[str, str], needed: Iterable[str]) -> None:
        """Raise ModelError unless every input is in ``taken``, and the outputs ``needed`` are there with the dtypes ``given``."""
        problems = [f"input {name}: nothing is known of it" for name in self.inputs if name not in taken]
        for name, dtype in self.inputs.items():
            if name in taken and taken[name] != dtype:
                problems.append(f"input {name}: {dtype} in the graph, {taken[name]} in the description")
        problems += [f"output {name}: is missing" for name in sorted(needed) if name not in self.outputs]
        for name, dtype in self.outputs.items():
            if name in given and given[name] != dtype:
                problems.append(f"output {name}: {dtype} in the graph, {given[name]} in the description")
        if problems:
            raise ModelError(
                f"{self.what} is not what its description says: {'; '.join(problems[:8])}", problems=problems
            )


def aligned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """An array that starts on a cache line; what is in it is undefined."""
    dtype = np.dtype(dtype)
    size = prod(shape) * dtype.itemsize
    room = np.empty(size + _LINE, np.uint8)
    start = -room.ctypes.data % _LINE
    return room[start : start + size].view(dtype).reshape(shape)


def aligned_copy(array: Array) -> Array:
    """A copy that starts on a cache line."""
    copy = aligned(array.shape, array.dtype)
    copy[...] = array
    return copy


def _is_aligned(array: Array) -> bool:
    return array.flags.c_contiguous and array.ctypes.data % _LINE == 0


def _open(model: bytes, what: str, threads: int, *, frugal: bool) -> Any:
    options = ort.SessionOptions()
    # A pattern of one block for all tensors takes up to twice the memory of a step and saves no time here.
    options.enable_mem_pattern = False
    if frugal:
        options.enable_cpu_mem_arena = False
        _give_back_at_once()
    options.log_severity_level = 4  # what goes wrong is raised, with the reason
    options.intra_op_num_threads = threads
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.use_deterministic_compute = True
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", _NOWHERE)
    try:
        return ort.InferenceSession(model, options, providers=[_CPU], enable_fallback=0)
    except Exception as error:  # see run
        raise ModelError(f"onnxruntime cannot open {what}: {_first_line(error)}") from None


def _give_back_at_once() -> None:
    """Have glibc map every large block by itself, so that what a step frees is free: its heap keeps what lies between."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # not glibc: other allocators have their own ways
        return
    mallopt(_M_MMAP_THRESHOLD, 1 << 16)


def _dtype(name: str) -> str:
    kind = name.removeprefix("tensor(").removesuffix(")")
    return _TYPES.get(kind, kind)


def _shape(dims: Sequence[int | str | None]) -> tuple[int | str, ...]:
    return tuple(f"dimension {at}" if dim is None else dim for at, dim in enumerate(dims))


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:400]
