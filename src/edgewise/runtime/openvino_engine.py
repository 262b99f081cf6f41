"""OpenVINO behind the engine protocol.

Answers are computed in 32-bit floats on the CPU, whatever the processor could do faster with less; another device works in
its own precision unless ``provider_options`` say otherwise. The CPU plugin computes 64-bit floats in 32 bits and 64-bit
integers in 32 bits; the golden replay shows where that matters. A second caller waits: the latency hint means one stream, in
which requests of their own would wait too.

Resizing with antialiasing is refused: the CPU plugin leaves the antialiasing out without a word, and photographs made smaller
come out otherwise than where the model was trained.

Three faults of OpenVINO 2026.4 are worked around, each with a test in the public suite. It loads a damaged cache file without
noticing and answers wrong: the cache folder has a seal of digests. On one thread its blocking call loses what is thrown:
calls start asynchronously and wait. A call that fails on its shapes leaves them behind for the next: the graph is compiled
anew, for which the model is kept beside it where shapes can vary (a second copy of the weights, if they came from the cache).
"""

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from shutil import rmtree
from tempfile import mkdtemp
from threading import Lock
from typing import Any
from weakref import finalize

import numpy as np

from edgewise.errors import ModelError, TensorError, UnsupportedError
from edgewise.runtime import telemetry
from edgewise.runtime.engine import NOT_RECORDED, Array, OpenOptions, PlacedNode, Placement, Provider, TensorInfo
from edgewise.runtime.sealed_folder import SealedFolder

with telemetry.withheld():
    import openvino as ov

__all__ = ["OpenVinoEngine"]

_DTYPES = {
    "boolean": "bool", "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64", "u8": "uint8", "u16": "uint16",
    "u32": "uint32", "u64": "uint64", "f16": "float16", "f32": "float32", "f64": "float64",
}  # fmt: skip
_NOT_RUN = ("Input", "Output", "Const")  # in the runtime model, but nothing is executed for them
# Lines of a message that only say where in OpenVINO's source it comes from.
_WHERE = ("Exception from", "Caught exception: Exception from", "Check '")
_TFLITE = b"TFL3"  # file identifier at byte 4 of every TFLite file (its schema.fbs)


class OpenVinoEngine:
    """Opens ONNX and TFLite models on the devices that OpenVINO has plug-ins and drivers for."""

    name = "openvino"
    formats = ("onnx", "tflite")

    def version(self) -> str:
        return str(ov.get_version())

    def providers(self) -> tuple[Provider, ...]:
        devices: dict[str, list[str]] = {}
        for device in _core().available_devices:
            kind = device.partition(".")[0]
            devices.setdefault(kind, []).append(f"{kind.lower()}: {_core().get_property(device, 'FULL_DEVICE_NAME')}")
        # CPU last: a machine that has something else has it for a purpose.
        return tuple(Provider(kind, tuple(devices[kind])) for kind in sorted(devices, key=lambda kind: kind == "CPU"))

    def open(self, files: Mapping[str, bytes], options: OpenOptions) -> "OpenVinoSession":
        provider = options.provider or "CPU"
        known = [found.name for found in self.providers()]
        if provider not in known:
            raise UnsupportedError(
                f"openvino has no {provider} here; it has {', '.join(known)}", remedy="Choose one of those."
            )
        path = next(iter(files))
        folder = _Folder()
        try:
            model = _read(files, folder)
            _refuse_antialias(model, path)
            return OpenVinoSession(model, folder, provider, options)
        except RuntimeError as error:
            folder.remove()
            raise ModelError(f"openvino cannot open {path}: {_reason(error)}", path=path) from None
        except BaseException:
            folder.remove()
            raise


class OpenVinoSession:
    """A compiled model."""

    def __init__(self, model: Any, folder: "_Folder", provider: str, options: OpenOptions) -> None:
        # Before compiling: what is compiled may name a tensor for one that it was fused with.
        inputs, outputs = ([str(port.get_any_name()) for port in ports] for ports in (model.inputs, model.outputs))
        compiled = _compile(model, provider, options)
        self.inputs = [_info(port, name) for port, name in zip(compiled.inputs, inputs, strict=True)]
        self.outputs = [_info(port, name) for port, name in zip(compiled.outputs, outputs, strict=True)]
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        self._model = model if any(port.get_partial_shape().is_dynamic for port in compiled.inputs) else None
        self._folder = folder  # the model may be mapped from it
        self._provider = provider
        self._options = options
        self._into = {info.name: (at, np.dtype(info.dtype)) for at, info in enumerate(self.inputs)}
        self._names = [info.name for info in self.outputs]
        self._lock = Lock()

    def run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        if feeds.keys() != self._into.keys():
            raise TensorError(f"the model takes {', '.join(self._into)}, not {', '.join(feeds) or 'nothing'}")
        with self._lock:
            self._opened()
            self._set(feeds)
            request = self._request
            try:
                request.start_async()  # not ``infer``: see above
                request.wait()
                return {name: request.get_output_tensor(at).data.copy() for at, name in enumerate(self._names)}
            except RuntimeError as error:
                self._renew()
                raise ModelError(f"openvino failed: {_reason(error)}") from None

    def _set(self, feeds: dict[str, Array]) -> None:
        for name, array in feeds.items():
            at, dtype = self._into[name]
            if array.dtype != dtype:
                raise TensorError(f"{name} has elements of type {dtype}, not {array.dtype}")
            flags = array.flags
            # A shared tensor does not keep its array alive; ``feeds`` does until the answer is there.
            shared = bool(flags.c_contiguous and flags.writeable and flags.aligned and array.ndim)
            tensor = ov.Tensor(array if shared else array.copy("C"), shared_memory=shared)
            try:
                self._request.set_input_tensor(at, tensor)
            except RuntimeError as error:
                raise TensorError(f"openvino does not take {name}: {_reason(error)}") from None

    def _renew(self) -> None:
        """Replace the graph after a failed call, which may have left its shapes in it."""
        if self._model is None:
            return
        self._compiled = self._request = None
        with suppress(RuntimeError):  # then the session stays closed
            compiled = _core().compile_model(self._model, self._provider, _settings(self._provider, self._options))
            self._compiled, self._request = compiled, compiled.create_infer_request()

    def placement(self) -> Placement:
        """The nodes of the graph that OpenVINO executes, after fusion, and the device that it reports for them.

        A model is compiled for one device and refused where that cannot run all of it, so there is one provider.
        """
        if not self._options.record_placement:
            raise UnsupportedError("the session was opened without recording placement", remedy=NOT_RECORDED)
        compiled = self._opened()
        kinds = {device.partition(".")[0] for device in compiled.get_property("EXECUTION_DEVICES")}
        nodes = []
        for node in compiled.get_runtime_model().get_ordered_ops():
            details = node.get_rt_info()
            operator = str(details["layerType"].value) if "layerType" in details else node.get_type_name()
            if operator not in _NOT_RUN:
                nodes.append(PlacedNode("+".join(sorted(kinds)), operator, node.get_friendly_name()))
        return Placement(tuple(nodes))

    def close(self) -> None:
        with self._lock:
            self._model = self._compiled = self._request = None
            self._folder.remove()

    def _opened(self) -> Any:
        if self._compiled is None:
            raise ModelError("the session is closed", remedy="Open the model again.")
        return self._compiled


@cache
def _core() -> Any:
    return ov.Core()


class _Folder:
    """A private folder that is made when it is first asked for, and goes with ``remove`` or with this object."""

    def __init__(self) -> None:
        self._end: finalize[Any, Any] | None = None

    def make(self) -> Path:
        path = mkdtemp(prefix="edgewise-")
        self._end = finalize(self, rmtree, path, ignore_errors=True)
        return Path(path)

    def remove(self) -> None:
        if self._end is not None:
            self._end()


def _read(files: Mapping[str, bytes], folder: _Folder) -> Any:
    """The model; by way of ``folder`` where memory would not do, which is for TFLite and for external data."""
    (path, model), *rest = files.items()
    tflite = model[4:8] == _TFLITE
    if not tflite and path.endswith(".tflite"):
        raise ModelError(f"openvino cannot open {path}: it is not a TFLite file", path=path)
    if not rest and not tflite:
        return _core().read_model(BytesIO(model))
    # External data is named relative to the model, so the model lies at the top whatever its own path is.
    top, name = folder.make(), "model.tflite" if tflite else "model.onnx"
    for inner, data in ((name, model), *rest):
        if PurePosixPath(inner).is_absolute() or ".." in PurePosixPath(inner).parts:
            raise ModelError(f"{inner} is not a plain relative path", path=inner)
        (top / inner).parent.mkdir(parents=True, exist_ok=True)
        (top / inner).write_bytes(data)
    return _core().read_model(top / name)


def _refuse_antialias(model: Any, path: str) -> None:
    for node in model.get_ops():
        if node.get_type_name() == "Interpolate" and node.get_attributes().get("antialias"):
            raise UnsupportedError(
                f"openvino resizes without the antialiasing that {path} asks for ({node.get_friendly_name()[:80]})",
                remedy="Run it with onnxruntime, or resize before the model.",
            )


def _compile(model: Any, provider: str, options: OpenOptions) -> Any:
    settings = _settings(provider, options)
    if options.cache is None:
        return _core().compile_model(model, provider, settings)
    sealed = SealedFolder(options.cache)
    sealed.check()
    compiled = _core().compile_model(model, provider, settings | {"CACHE_DIR": str(options.cache)})
    sealed.seal()
    return compiled


def _settings(provider: str, options: OpenOptions) -> dict[str, Any]:
    wanted: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if provider == "CPU":
        wanted |= {"INFERENCE_NUM_THREADS": options.threads, "INFERENCE_PRECISION_HINT": "f32"}
    return wanted | dict(options.provider_options)


def _info(port: Any, name: str) -> TensorInfo:
    element = port.get_element_type().get_type_name()
    if element not in _DTYPES:
        raise UnsupportedError(f"the tensor {name} has elements of type {element}")
    shape = port.get_partial_shape()
    dims = () if shape.rank.is_dynamic else tuple(-1 if dim.is_dynamic else int(dim.get_length()) for dim in shape)
    return TensorInfo(name, _DTYPES[element], dims)


def _reason(error: BaseException) -> str:
    """The line of OpenVINO's message that says what is wrong; those above it say where in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no reason given"]
    told = [line for line in lines if not line.startswith(_WHERE)] or lines[-1:]
    # A line that ends in a colon announces the next one.
    count = next((at for at, line in enumerate(told, 1) if not line.endswith(":")), len(told))
    return " ".join(told[:count])[:400]
