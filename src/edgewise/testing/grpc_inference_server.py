"""A server on loopback that speaks the Open Inference Protocol v2 over gRPC: a real model, and faults. Needs the extra ``grpc``.

with GrpcInferenceServer(model_bytes, name="large") as server:
    upstream = OipGrpcUpstream(server.model_url)
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Any

from edgewise.net.oip_tensors import DTYPES, datatype_of, from_raw, from_values, to_raw
from edgewise.routing.upstreams.oip_messages import CONTENTS, SERVICE, messages
from edgewise.runtime.engine import Array, OpenOptions, TensorInfo, find_engine
from edgewise.testing.inference_server import wrong_outputs

__all__ = ["GrpcInferenceServer"]

_DATATYPES = {dtype: datatype for datatype, dtype in DTYPES.items()}
_WORKERS = 16  # calls at once, those that hang among them


class GrpcInferenceServer:
    """Serves one ONNX model until closed.

    certificate: a PEM file with key and certificate. port: where it listens; 0 for any that is free. typed: answers have typed
    contents in place of raw bytes. wrong: one of ``inference_server.WRONG``. hangs: no call is answered. refuses: name of a status
    that every call is answered with. garbage: sent in place of every message. tokens: the authorization of each call.
    """

    def __init__(
        self, model: bytes, name: str = "model", *, certificate: Path | None = None, port: int = 0
    ) -> None:  # fmt: skip
        import grpc  # noqa: PLC0415  (an optional extra)

        self.name = name
        self.session = find_engine("onnxruntime").open({"model.onnx": model}, OpenOptions(threads=1))
        self.typed, self.wrong, self.hangs, self.refuses, self.garbage = False, "", False, "", b""
        self.tokens: list[str] = []
        self._grpc, self._messages = grpc, messages()
        self._workers = ThreadPoolExecutor(_WORKERS)
        for _ in range(_WORKERS):
            self._workers.submit(Event().wait, 0.01)  # all of its threads are there before somebody counts them
        self._server = grpc.server(self._workers)
        methods = {
            "ServerLive": self._ready("ServerLive", live=True),
            "ServerReady": self._ready("ServerReady", ready=True),
            "ModelReady": self._ready("ModelReady", ready=True),
            "ServerMetadata": self._ready("ServerMetadata", name="edgewise-testing", version="1"),
            "ModelMetadata": self._handler("ModelMetadata", self._describe),
            "ModelInfer": self._handler("ModelInfer", self._infer),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        if certificate is None:
            self._port, self._scheme = self._server.add_insecure_port(f"127.0.0.1:{port}"), "grpc"
        else:
            pem = certificate.read_bytes()
            credentials = grpc.ssl_server_credentials([(pem, pem[pem.index(b"-----BEGIN CERTIFICATE") :])])
            self._port, self._scheme = self._server.add_secure_port(f"127.0.0.1:{port}", credentials), "grpcs"
        self._server.start()

    @property
    def model_url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._port}/{self.name}"

    def mend(self) -> None:
        """Answer, and rightly, from here on."""
        self.wrong, self.hangs, self.refuses, self.garbage = "", False, "", b""

    def close(self) -> None:
        self._server.stop(0).wait()
        self._workers.shutdown()
        self.session.close()

    def __enter__(self) -> "GrpcInferenceServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ready(self, method: str, **said: Any) -> Any:
        return self._handler(method, lambda question: getattr(self._messages, f"{method}Response")(**said))

    def _handler(self, method: str, answer: Callable[[Any], Any]) -> Any:
        def handle(question: Any, context: Any) -> bytes:
            self.tokens.append(dict(context.invocation_metadata()).get("authorization", ""))
            if self.hangs:
                gone = Event()
                if context.add_callback(gone.set):
                    gone.wait()
                return b""
            if self.refuses:
                context.abort(self._grpc.StatusCode[self.refuses], "busy\x1b[2J")
            said: bytes = self.garbage or answer(question).SerializeToString()
            return said

        return self._grpc.unary_unary_rpc_method_handler(
            handle, getattr(self._messages, f"{method}Request").FromString, lambda data: data
        )

    def _describe(self, _: Any) -> Any:
        return self._messages.ModelMetadataResponse(
            name=self.name, versions=["1", "2"], platform="onnxruntime_onnx",
            inputs=[_described(info) for info in self.session.inputs],
            outputs=[_described(info) for info in self.session.outputs],
        )  # fmt: skip

    def _infer(self, question: Any) -> Any:
        feeds = {}
        for at, tensor in enumerate(question.inputs):
            shape = tuple(tensor.shape)
            read = (
                from_raw(question.raw_input_contents[at], tensor.datatype, shape)
                if question.raw_input_contents
                else from_values(list(getattr(tensor.contents, CONTENTS[tensor.datatype])), tensor.datatype, shape)
            )
            feeds[tensor.name] = read.astype(str) if read.dtype.kind == "O" else read
        found = self.session.run(feeds)
        wanted = [output.name for output in question.outputs] or list(found)
        outputs = wrong_outputs({name: found[name] for name in wanted}, self.wrong)
        said = self._messages.ModelInferResponse(model_name=self.name, outputs=[self._output(*one) for one in outputs])
        if not self.typed:
            said.raw_output_contents.extend(to_raw(array, datatype_of(array)) for _, array in outputs)
        return said

    def _output(self, name: str, array: Array) -> dict[str, Any]:
        datatype = datatype_of(array)
        said: dict[str, Any] = {"name": name, "datatype": datatype, "shape": array.shape}
        if self.typed:
            flat = array.ravel().tolist()
            values = [str(item).encode() for item in flat] if datatype == "BYTES" else flat
            said["contents"] = {CONTENTS[datatype]: values}
        return said


def _described(info: TensorInfo) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else -1 for size in info.shape]
    return {"name": info.name, "datatype": _DATATYPES[info.dtype], "shape": shape}
