"""LiteRT (TensorFlow Lite) behind the engine protocol.

Names are the tensors', never a signature's: OpenVINO knows only those, and a variant's names must hold for both. Quantized
inputs and outputs are taken and given as they are. One interpreter serves one caller at a time; a second one waits, because
another interpreter would hold the packed weights a second time. A change of shape makes the interpreter plan its memory
anew, so calls that keep the shape are the fast ones. It has no cache that Python can reach: ``OpenOptions.cache`` is unused.

LiteRT writes one INFO line to stderr when the first model is opened and offers Python no switch for it.
"""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np

from edgewise.errors import ModelError, TensorError, UnsupportedError
from edgewise.runtime import telemetry
from edgewise.runtime.engine import NOT_RECORDED, Array, OpenOptions, PlacedNode, Placement, Provider, TensorInfo

with telemetry.withheld():  # on Windows the package imports openvino where that is installed
    import ai_edge_litert
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

__all__ = ["LiteRtEngine"]

XNNPACK = "XNNPACK"
CPU = "CPU"
#: Provider -> which kernels the interpreter may use. The default resolver applies one delegate, XNNPACK.
_RESOLVERS = {XNNPACK: OpResolverType.BUILTIN, CPU: OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}
_DTYPES = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
)
_DELEGATE = "DELEGATE"  # the interpreter's name for a node that stands for a part of the graph


class LiteRtEngine:
    """Opens .tflite models. Providers: ``XNNPACK`` (with the built-in kernels for the rest) and ``CPU`` (those only)."""

    name = "litert"
    formats = ("tflite",)

    def version(self) -> str:
        return str(ai_edge_litert.__version__)

    def providers(self) -> tuple[Provider, ...]:
        return tuple(Provider(name, ("cpu",)) for name in _RESOLVERS)

    def open(self, files: Mapping[str, bytes], options: OpenOptions) -> "LiteRtSession":
        provider = options.provider or XNNPACK
        if provider not in _RESOLVERS:
            raise UnsupportedError(
                f"litert has no {provider} here; it has {', '.join(_RESOLVERS)}", remedy="Choose one of those."
            )
        path, model = next(iter(files.items()))
        try:
            interpreter = Interpreter(
                model_content=model, num_threads=options.threads, experimental_op_resolver_type=_RESOLVERS[provider]
            )
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"litert cannot open {path}: {_first_line(error)}", path=path) from None
        return LiteRtSession(interpreter, options)


class LiteRtSession:
    """An opened TFLite model."""

    def __init__(self, interpreter: Any, options: OpenOptions) -> None:
        inputs, outputs = _interface(interpreter)
        self.inputs: Sequence[TensorInfo] = [_info(name, details) for name, details in inputs.items()]
        self.outputs: Sequence[TensorInfo] = [_info(name, details) for name, details in outputs.items()]
        self._into = {name: details["index"] for name, details in inputs.items()}
        self._from = [(name, details["index"]) for name, details in outputs.items()]
        self._dtypes = {info.name: np.dtype(info.dtype) for info in self.inputs}
        self._interpreter = interpreter
        self._options = options
        self._shapes = {name: tuple(map(int, details["shape"])) for name, details in inputs.items()}
        self._lock = Lock()

    def run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        if feeds.keys() != self._into.keys():
            raise TensorError(f"the model takes {', '.join(self._into)}, not {', '.join(feeds) or 'nothing'}")
        for name, array in feeds.items():
            if array.dtype != self._dtypes[name]:
                raise TensorError(f"{name} has elements of type {self._dtypes[name]}, not {array.dtype}")
        with self._lock:
            interpreter = self._opened()
            self._fit(interpreter, {name: array.shape for name, array in feeds.items()})
            try:
                for name, array in feeds.items():
                    interpreter.set_tensor(self._into[name], array)
            except (ValueError, RuntimeError) as error:
                raise TensorError(f"litert does not take the input: {_first_line(error)}") from None
            try:
                interpreter.invoke()
                return {name: interpreter.get_tensor(index) for name, index in self._from}
            except (ValueError, RuntimeError) as error:
                raise ModelError(f"litert failed: {_first_line(error)}") from None

    def placement(self) -> Placement:
        """Which operator of the model XNNPACK took, and which the built-in kernels run.

        Read from the interpreter: it lists the operators of the model's main graph, and for each part that was handed to
        a delegate a node with that part's inputs and outputs; the operators between those are the delegate's. That the
        delegate is XNNPACK is not reported but follows, since the resolver applies no other. Graphs inside control flow
        (WHILE, IF) count as the one operator that calls them.
        """
        if not self._options.record_placement:
            raise UnsupportedError("the session was opened without recording placement", remedy=NOT_RECORDED)
        with self._lock:
            interpreter = self._opened()
            nodes = interpreter._get_ops_details()  # noqa: SLF001  (there is no public way to ask)
            names = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
        delegated = _delegated(nodes)
        return Placement(
            tuple(
                PlacedNode(
                    XNNPACK if node["index"] in delegated else CPU,
                    node["op_name"],
                    next((names.get(int(tensor), "") for tensor in node["outputs"]), ""),
                )
                for node in nodes
                if node["op_name"] != _DELEGATE
            )
        )

    def close(self) -> None:
        with self._lock:
            self._interpreter = None

    def _opened(self) -> Any:
        if self._interpreter is None:
            raise ModelError("the session is closed", remedy="Open the model again.")
        return self._interpreter

    def _fit(self, interpreter: Any, shapes: dict[str, tuple[int, ...]]) -> None:
        """Have the interpreter plan its memory for these shapes, unless it already has."""
        if shapes == self._shapes:
            return
        # Looked at here, because the interpreter's message goes on about every earlier error too; and an empty dimension
        # passes there and is then refused by some operators and not by others.
        for info in self.inputs:
            shape = shapes[info.name]
            if len(shape) != len(info.shape) or any(
                dim not in (-1, got) for dim, got in zip(info.shape, shape, strict=True)
            ):
                raise TensorError(f"{info.name} has shape {shape}, the model takes {info.shape}")
            if 0 in shape:
                raise TensorError(f"{info.name} of shape {shape} is empty")
        self._shapes = {}  # whatever fails below, the next call plans anew
        try:
            for name, shape in shapes.items():
                interpreter.resize_tensor_input(self._into[name], shape, strict=True)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise TensorError(f"litert does not take the shapes {shapes}: {_first_line(error)}") from None
        self._shapes = shapes


def _interface(interpreter: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inputs and outputs by name, in the model's order. Raises UnsupportedError where the protocol cannot state them."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    for kind, tensors in (("inputs", inputs), ("outputs", outputs)):
        if len({details["name"] for details in tensors}) != len(tensors):
            raise UnsupportedError(f"two {kind} of the model have the same name")
        for details in tensors:
            if np.dtype(details["dtype"]).name not in _DTYPES:
                raise UnsupportedError(
                    f"the tensor {details['name']} has elements of type {np.dtype(details['dtype']).name}"
                )
    return {details["name"]: details for details in inputs}, {details["name"]: details for details in outputs}


def _info(name: str, details: Any) -> TensorInfo:
    shape = details["shape_signature"] if len(details["shape_signature"]) else details["shape"]
    return TensorInfo(name, np.dtype(details["dtype"]).name, tuple(int(dim) for dim in shape))


def _delegated(nodes: list[Any]) -> set[int]:
    """Indices of the operators that lie between the inputs and the outputs of the delegate nodes."""
    makers = {int(tensor): node for node in nodes if node["op_name"] != _DELEGATE for tensor in node["outputs"]}
    taken: set[int] = set()
    for delegate in (node for node in nodes if node["op_name"] == _DELEGATE):
        borders = {int(tensor) for tensor in delegate["inputs"]}
        wanted = [int(tensor) for tensor in delegate["outputs"]]
        while wanted:
            tensor = wanted.pop()
            maker = makers.get(tensor)
            if tensor not in borders and maker is not None and maker["index"] not in taken:
                taken.add(maker["index"])
                wanted += [int(inner) for inner in maker["inputs"]]
    return taken


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:400]
