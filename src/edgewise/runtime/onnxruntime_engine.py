"""onnxruntime behind the engine protocol.

Three things make it fast and honest. The ALL-optimised graph is kept on the device, keyed by (model, engine version, device),
because it opens sooner but is good for nothing anywhere else (NCHWc operators). Calls with a shape seen before go through
buffers that were bound once, which costs less than ``InferenceSession.run``. And the runtime's own fall-back to another
provider is off: a provider that fails is an error here, never a silent CPU.
"""

import os
from _thread import allocate_lock  # threading.Lock, without the rest of threading
from collections.abc import Mapping
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.digests import digest_of
from edgewise.errors import ModelError, StorageError, TensorError, UnsupportedError
from edgewise.runtime import telemetry
from edgewise.runtime.engine import NOT_RECORDED, Array, OpenOptions, PlacedNode, Placement, Provider, TensorInfo
from edgewise.store.files import write_bytes

telemetry.disable()

import onnxruntime as ort  # noqa: E402  (the switch above must come first)

__all__ = ["OnnxRuntimeEngine"]

CPU = "CPUExecutionProvider"
# A remote endpoint dressed as a provider: nothing may leave the device through an inference engine.
_REMOTE = ("AzureExecutionProvider",)
_DTYPES = {
    "tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16", "tensor(bool)": "bool",
    "tensor(string)": "str",
} | {f"tensor({kind})": kind for kind in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")}  # fmt: skip
#: Provider -> options that make it keep what it compiled in a folder (each provider's own documentation).
_COMPILE_CACHES: dict[str, dict[str, str]] = {
    "CoreMLExecutionProvider": {"ModelCacheDirectory": "{cache}"},
    "TensorrtExecutionProvider": {"trt_engine_cache_enable": "1", "trt_engine_cache_path": "{cache}"},
    "NvTensorRTRTXExecutionProvider": {"nv_runtime_cache_path": "{cache}"},
    "MIGraphXExecutionProvider": {"migraphx_model_cache_dir": "{cache}"},
    "OpenVINOExecutionProvider": {"cache_dir": "{cache}"},
}
# Weights outside of the model come from ``files``, verified, and from nowhere else: a path below a file cannot exist, while
# without this setting onnxruntime would look in the current working directory.
_NOWHERE = str(Path(__file__) / "nowhere")
_CACHE_LIMIT = 512 << 20  # bytes; beyond it a second copy of the model costs more than it saves
_BOUND_BYTES = 16 << 10  # bytes of input up to which copying into a bound buffer is cheaper than a plain call
_BOUND_SHAPES = 4  # shapes for which buffers are kept


class OnnxRuntimeEngine:
    """The engine that is always there."""

    name = "onnxruntime"
    formats = ("onnx",)

    def version(self) -> str:
        return str(ort.__version__)

    def providers(self) -> tuple[Provider, ...]:
        devices: dict[str, list[str]] = {}
        for found in ort.get_ep_devices():
            kind = found.device.type.name.lower()
            devices.setdefault(found.ep_name, []).append(f"{kind}: {found.device.vendor}".strip())
        names = [name for name in ort.get_available_providers() if name not in _REMOTE]
        return tuple(Provider(name, tuple(devices.get(name, ()))) for name in names)

    def open(self, files: Mapping[str, bytes], options: OpenOptions) -> "OnnxRuntimeSession":
        provider = options.provider or CPU
        if provider not in ort.get_available_providers() or provider in _REMOTE:
            names = ", ".join(found.name for found in self.providers())
            raise UnsupportedError(f"onnxruntime has no {provider} here; it has {names}", remedy="Choose one of those.")
        (path, model), *rest = files.items()
        cached = _OptimisedCopy(options.cache, model) if provider == CPU and options.cache and not rest else None
        try:
            if cached is not None and (session := _from_copy(cached, options)) is not None:
                return OnnxRuntimeSession(session, options)
            session = _optimised(model, rest, provider, options, cached.draft if cached else None)
            if cached is not None:
                cached.keep()
                # Placement is recorded before the last fusions; the copy has them, and is what later sessions run.
                session = (options.record_placement and _from_copy(cached, options)) or session
        except ModelError as error:
            raise ModelError(f"onnxruntime cannot open {path}: {error.what}", path=path) from None
        return OnnxRuntimeSession(session, options)


class OnnxRuntimeSession:
    """An opened ONNX model."""

    def __init__(self, session: Any, options: OpenOptions) -> None:
        self.inputs = [_info(item) for item in session.get_inputs()]
        self.outputs = [_info(item) for item in session.get_outputs()]
        self._session = session
        self._options = options
        self._names = [item.name for item in self.outputs]
        plain = {
            info.name: info.dtype for info in self.inputs if info.dtype in _DTYPES.values() and info.dtype != "str"
        }
        self._dtypes = {name: np.dtype(dtype) for name, dtype in plain.items()}
        self._bound: dict[tuple[tuple[int, ...], ...], _Bound | None] = {}
        self._lock = allocate_lock()
        self._plain = _binding_of(session).run

    def run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        shapes = tuple([array.shape for array in feeds.values()])
        bound = self._bound.get(shapes)
        failed = False
        # The bound buffers serve one caller at a time; a second one takes the plain way instead of waiting.
        if bound is not None and self._lock.acquire(blocking=False):
            try:
                return bound.run(feeds)
            except Exception:  # the plain way either works or says what is wrong
                failed = True
            finally:
                self._lock.release()
        self._opened()
        self._check_dtypes(feeds)
        try:
            results = dict(zip(self._names, self._plain(self._names, feeds, None), strict=True))
        except Exception as error:  # the binding raises its own classes, which share no base but Exception
            raise ModelError(f"onnxruntime failed: {_first_line(error)}") from None
        if failed:
            self._bound[shapes] = None  # these shapes do not determine those of the outputs
        elif shapes not in self._bound and len(self._bound) < _BOUND_SHAPES:
            self._bound[shapes] = self._bind(feeds, results)
        return results

    def placement(self) -> Placement:
        if not self._options.record_placement:
            raise UnsupportedError("the session was opened without recording placement", remedy=NOT_RECORDED)
        return Placement(
            tuple(
                PlacedNode(part.ep_name, node.op_type, node.name)
                for part in self._opened().get_provider_graph_assignment_info()
                for node in part.get_nodes()
            )
        )

    def close(self) -> None:
        self._bound.clear()
        self._session = self._plain = None

    def _opened(self) -> Any:
        if self._session is None:
            raise ModelError("the session is closed", remedy="Open the model again.")
        return self._session

    def _check_dtypes(self, feeds: dict[str, Array]) -> None:
        """onnxruntime looks at the kind of the elements but not at their byte order."""
        for name, array in feeds.items():
            wanted = self._dtypes.get(name)
            if wanted is not None and array.dtype != wanted:
                raise TensorError(f"{name} has elements of type {wanted}, not {array.dtype}")

    def _bind(self, feeds: dict[str, Array], results: dict[str, Array]) -> "_Bound | None":
        """Buffers for these shapes, where that helps: small plain tensors on the CPU.

        Where the shapes of the outputs turn out not to follow from those of the inputs, onnxruntime refuses the buffers (it
        compares shapes before it writes), and the call goes the plain way from then on.
        """
        small = sum(array.nbytes for array in feeds.values()) <= _BOUND_BYTES
        plain = all(info.dtype in _DTYPES.values() and info.dtype != "str" for info in (*self.inputs, *self.outputs))
        on_cpu = self._session.get_providers() == [CPU]
        filled = all(prod(array.shape) for array in (*feeds.values(), *results.values()))
        return _Bound(self._session, feeds, results) if small and plain and on_cpu and filled else None


class _Bound:
    """Input and output buffers of fixed shapes, bound once."""

    def __init__(self, session: Any, feeds: dict[str, Array], results: dict[str, Array]) -> None:
        inner, self._binding = _binding_of(session), session.io_binding()
        self._run = inner.run_with_iobinding
        self._bound = self._binding if inner is session else self._binding._iobinding  # noqa: SLF001
        self._into = [(name, np.empty(array.shape, array.dtype), array.dtype) for name, array in feeds.items()]
        self._from = [(name, np.empty(array.shape, array.dtype)) for name, array in results.items()]
        for name, buffer, _ in self._into:
            self._binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(buffer))
        for name, buffer in self._from:
            self._binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(buffer))

    def run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        for name, buffer, dtype in self._into:
            array = feeds[name]
            if array.dtype != dtype:  # the assignment below would convert it without a word
                raise TypeError(name)
            buffer[...] = array
        self._run(self._bound, None)
        return {name: buffer.copy() for name, buffer in self._from}


def _binding_of(session: Any) -> Any:
    """The native session below onnxruntime's Python wrapper, or the wrapper where there is none.

    The wrapper looks at names, graph capture and fall-back again on every call, which takes 6 us; names are checked against
    the interface, capture is not used, and the fall-back is switched off.
    """
    return getattr(session, "_sess", session)


class _OptimisedCopy:
    """The optimised form of one model on this device: ``optimised.onnx``, and a file that says what it must hash to."""

    def __init__(self, folder: Path, model: bytes) -> None:
        self._model = folder / "optimised.onnx"
        self._digest = folder / "optimised.sha256"
        self._wanted = len(model) <= _CACHE_LIMIT
        self.draft: str | None = None
        if self._wanted and not self._digest.exists():
            with suppress(OSError):  # a disk that is full or read-only costs the copy, not the answer
                folder.mkdir(parents=True, exist_ok=True)
                # Its own for each: two processes that wrote one file would make a third thing of it.
                self.draft = str(folder / f"draft-{os.getpid()}-{id(self):x}.onnx")

    def read(self) -> bytes | None:
        try:
            data, digest = self._model.read_bytes(), self._digest.read_text()
        except OSError:
            return None
        if digest_of(data) == digest:
            return data
        self.discard()
        return None

    def keep(self) -> None:
        draft = Path(self.draft) if self.draft else None
        with suppress(OSError, StorageError):
            if draft is not None and draft.exists():
                digest = digest_of(draft.read_bytes())
                draft.replace(self._model)
                write_bytes(self._digest, digest.encode())

    def discard(self) -> None:
        with suppress(OSError):
            self._digest.unlink(missing_ok=True)
            self._model.unlink(missing_ok=True)


def _optimised(
    model: bytes, rest: list[tuple[str, bytes]], provider: str, options: OpenOptions, draft: str | None
) -> Any:
    """A session that also writes its optimised graph to ``draft``, or does not where the disk is full."""
    try:
        return _session(model, rest, provider, options, optimise=True, keep=draft)
    except ModelError:
        if draft is None:
            raise
        Path(draft).unlink(missing_ok=True)
        return _session(model, rest, provider, options, optimise=True)


def _from_copy(cached: "_OptimisedCopy", options: OpenOptions) -> Any:
    """A session over the copy, None where there is none that opens."""
    copy = cached.read()
    if copy is None:
        return None
    try:
        return _session(copy, [], CPU, options, optimise=False)
    except ModelError:
        cached.discard()  # made by another build of the same version: it is made again
        return None


def _session(
    model: bytes,
    rest: list[tuple[str, bytes]],
    provider: str,
    options: OpenOptions,
    *,
    optimise: bool,
    keep: str | None = None,
) -> Any:
    wanted = ort.SessionOptions()
    wanted.log_severity_level = 4  # what goes wrong is raised, with the reason; on stderr it would be said twice
    wanted.intra_op_num_threads = options.threads
    wanted.add_session_config_entry("session.intra_op.allow_spinning", "0")
    wanted.add_session_config_entry("session.model_external_initializers_file_folder_path", _NOWHERE)
    levels = ort.GraphOptimizationLevel
    wanted.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
    if keep:
        wanted.optimized_model_filepath = keep
    if options.record_placement:
        wanted.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if rest:
        names, data = [name for name, _ in rest], [content for _, content in rest]
        wanted.add_external_initializers_from_files_in_memory(names, data, [len(content) for content in data])
    caches = {key: value.format(cache=options.cache) for key, value in _COMPILE_CACHES.get(provider, {}).items()}
    details = {**(caches if options.cache else {}), **options.provider_options}
    providers: list[Any] = [(provider, details)] if provider == CPU else [(provider, details), CPU]
    try:
        return ort.InferenceSession(model, wanted, providers=providers, enable_fallback=0)
    except Exception as error:  # the binding raises its own classes, which share no base but Exception
        raise ModelError(_first_line(error)) from None


def _info(item: Any) -> TensorInfo:
    return TensorInfo(
        item.name, _DTYPES.get(item.type, item.type), tuple(-1 if dim is None else dim for dim in item.shape)
    )


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:400]
