"""Any server that speaks the Open Inference Protocol, version 2, over gRPC: Triton, KServe, OpenVINO's. Needs the extra ``grpc``.

Tensors go as raw bytes; what comes back may be raw or typed. A call is made in gRPC's threads, since one that waits in this one
cannot be given up; who asks waits for it no longer than there is time, whatever gRPC believes of deadlines. Descriptions have no
parameters in this protocol, so a server here is nobody's node: it says neither labels nor who answered.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import EdgewiseError, HttpStatusError, InputError, NetworkError, PeerError
from edgewise.net.asking import read_address
from edgewise.net.cancel import Cancel
from edgewise.net.grpc_channel import open_channel
from edgewise.net.oip_form import DESCRIPTION, ModelForm, TensorForm, answer_limit, fits
from edgewise.net.oip_tensors import from_raw, from_values, to_raw
from edgewise.net.transport import shown
from edgewise.routing.upstream import Answered, Described, Question, Reply
from edgewise.routing.upstreams.oip_fit import Fitted, fit
from edgewise.routing.upstreams.oip_messages import CONTENTS, SERVICE, messages
from edgewise.routing.upstreams.oip_node import describe
from edgewise.runtime.engine import Array

__all__ = ["OipGrpcUpstream"]

_URL = re.compile(
    r"grpc(?P<encrypted>s?)://(?P<host>[^/]+)/(?:v2/models/)?(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?/?"
)
_MOST = 1 << 25  # bytes of any answer: gRPC wants to know before it knows of which
_LONGEST = 3600.0  # seconds; infinity is none that gRPC takes
_TENSORS, _RANK = 256, 16
_SAID = 200  # characters of what a server says of an error
#: Status of gRPC -> what HTTP has for it, as google/rpc/code.proto states; the rest means that nobody answered.
_STATUSES = {
    "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404, "ALREADY_EXISTS": 409, "ABORTED": 409, "RESOURCE_EXHAUSTED": 429, "DATA_LOSS": 500, "UNKNOWN": 500,
    "INTERNAL": 500, "UNIMPLEMENTED": 501,
}  # fmt: skip
_REMEDIES = {
    401: "The server wants a token.",
    403: "Your token may not ask this.",
    404: "Check the name of the model in the URL.",
}


@final
class OipGrpcUpstream:
    """url: ``grpcs://HOST:PORT/NAME``, or ``grpc://`` to this machine; with ``/versions/VERSION`` where it matters.

    Everything else as ``OipUpstream`` has it. Raises MissingExtraError where grpcio is not installed.
    """

    leaves = True

    def __init__(
        self,
        url: str,
        *,
        outputs: Sequence[TensorSpec] = (),
        token: str = "",
        ca_file: Path | None = None,
        unsafe_plain_http: bool = False,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        found = _URL.fullmatch(url)
        if found is None:
            raise InputError(
                f"{shown(url)!r:.100} names no model of a server over gRPC",
                remedy="Write it as grpcs://HOST:PORT/NAME.",
            )
        address = read_address(
            f"http{found['encrypted']}://{found['host']}/{found['model']}",
            unsafe_plain_http=unsafe_plain_http, variable="EDGEWISE_UPSTREAM_TOKEN",
        )  # fmt: skip
        self.name = shown(url)
        self._model, self._version = found["model"], found["version"] or ""
        self._outputs, self._now = tuple(outputs), now
        self._messages = messages()
        self._channel = open_channel(address, found["host"], ca_file, most=_MOST)
        self._metadata = (
            (("authorization", f"Bearer {token}"),) if token and (address.encrypted or address.local) else ()
        )
        self._closed = Cancel()
        self._known: tuple[ModelForm, Described] | None = None  # set as a whole

    def describe(self, until: float, cancel: Cancel) -> Described:
        return self._read(until, cancel)[1]

    def ask(self, question: Question, cancel: Cancel) -> Reply:
        model, described = self._known or self._read(question.until, cancel)
        try:
            fitted = fit(model, question.inputs, self._outputs, question.decision)
            parts = []
            for kept, tensors in fitted.pieces(question.inputs):
                part = self._infer(fitted, tensors, question.until, cancel)
                parts.append({name: array[:kept] for name, array in part.items()})
            return Reply(fitted.incoming(parts), (Answered(described.tier),) * question.rows)
        except HttpStatusError:
            raise
        except PeerError:
            self._known = None  # perhaps it is another model by now
            raise

    def close(self) -> None:
        self._closed.set()
        self._channel.close()

    def __repr__(self) -> str:
        return f"OipGrpcUpstream({self.name!r})"

    def _read(self, until: float, cancel: Cancel) -> tuple[ModelForm, Described]:
        question = self._messages.ModelMetadataRequest(name=self._model, version=self._version)
        said = self._call("ModelMetadata", question, self._messages.ModelMetadataResponse, DESCRIPTION, until, cancel)
        model = ModelForm(
            _forms(said.inputs), _forms(said.outputs), said.name[:256], tuple(said.versions[:4096]), said.platform[:256]
        )
        if not model.inputs or not model.outputs:
            raise PeerError("upstream's description has no inputs or no outputs")
        known = self._known = model, describe(model, self._version)
        return known

    def _infer(
        self, fitted: Fitted, tensors: Sequence[tuple[TensorForm, Array]], until: float, cancel: Cancel
    ) -> dict[str, Array]:
        expected = fitted.expected(len(tensors[0][1]))
        question = self._messages.ModelInferRequest(
            model_name=self._model, model_version=self._version,
            inputs=[{"name": form.name, "datatype": form.datatype, "shape": array.shape} for form, array in tensors],
            outputs=[{"name": form.name} for form in expected],
            raw_input_contents=[to_raw(array, form.datatype) for form, array in tensors],
        )  # fmt: skip
        limit = answer_limit(expected, raw=False)
        return _arrays(
            self._call("ModelInfer", question, self._messages.ModelInferResponse, limit, until, cancel), expected
        )

    def _call(self, method: str, question: Any, answer: Any, limit: int, until: float, cancel: Cancel) -> Any:
        """An ``answer`` of at most ``limit`` bytes. Raises NetworkError, HttpStatusError, PeerError."""
        import grpc  # noqa: PLC0415  (an optional extra; ``messages`` has seen that it is there)

        left = min(until - self._now(), _LONGEST)
        if left <= 0 or cancel or self._closed:
            raise self._gone(cancel)
        asking = self._channel.unary_unary(
            f"/{SERVICE}/{method}"
        )  # bytes: what is no message is no error of gRPC's log
        try:
            call = asking.future(question.SerializeToString(), timeout=left, metadata=self._metadata)
        except ValueError:  # closed meanwhile
            raise self._gone(cancel) from None
        forget = cancel.on_set(call.cancel)
        try:
            data = call.result(timeout=max(0.0, until - self._now()))
        except (grpc.FutureTimeoutError, grpc.FutureCancelledError):
            call.cancel()
            raise self._gone(cancel) from None
        except grpc.RpcError:
            raise self._fault(call, cancel, until) from None
        finally:
            forget()
        if len(data) > limit:
            raise PeerError(f"{self.name} answers with more than the {limit} bytes that make sense", url=self.name)
        try:
            return answer.FromString(data)
        except self._messages.DecodeError as error:
            raise PeerError(f"{self.name} answers in something that is not its protocol", url=self.name) from error

    def _gone(self, cancel: Cancel) -> NetworkError:
        if self._closed:
            return NetworkError(f"{self.name} is not asked any more: it was closed", url=self.name)
        if cancel:
            return NetworkError(f"the answer of {self.name} was not waited for", url=self.name)
        return NetworkError(f"{self.name} did not answer in time", url=self.name)

    def _fault(self, call: Any, cancel: Cancel, until: float) -> EdgewiseError:
        if self._closed or cancel or self._now() >= until:
            return self._gone(cancel)
        code, said = call.code().name, call.details() or ""
        words = "".join(letter if letter.isprintable() else " " for letter in said)[:_SAID].strip()
        status = _STATUSES.get(code)
        if status is None:
            return NetworkError(f"no answer from {self.name}: {code} {words}", url=self.name)
        return HttpStatusError(
            f"{self.name} answers {code}{': ' if words else ''}{words}",
            remedy=_REMEDIES.get(status), url=self.name, status=status, retry_after="",
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Said:
    """An output of an answer."""

    datatype: str
    shape: tuple[int, ...]
    raw: bytes | None
    contents: Any

    def read(self) -> Array:
        if self.raw is not None:
            return from_raw(self.raw, self.datatype, self.shape)
        if self.datatype not in CONTENTS:
            raise ValueError(f"{self.datatype} comes as raw bytes alone")
        values = list(getattr(self.contents, CONTENTS[self.datatype]))
        if self.datatype == "BYTES":
            values = [value.decode() for value in values]
        return from_values(values, self.datatype, self.shape)


def _arrays(said: Any, expected: Sequence[TensorForm]) -> dict[str, Array]:
    """Outputs by name, each as ``expected`` has it; others are left out. Raises PeerError for anything that is not expected."""
    raw: Sequence[bytes | None] = said.raw_output_contents or [None] * len(said.outputs)
    if len(raw) != len(said.outputs) or len(raw) > _TENSORS:
        raise PeerError(f"upstream's answer has {len(said.outputs)} outputs, and the bytes of {len(raw)}")
    wanted = {form.name: form for form in expected}
    found: dict[str, Array] = {}
    for one, data in zip(said.outputs, raw, strict=True):
        form = wanted.pop(one.name, None)
        if form is None:
            if one.name in found:
                raise PeerError("upstream's answer has an output twice")
            continue
        output = _Said(one.datatype, tuple(one.shape[: _RANK + 1]), data, one.contents)
        if output.datatype != form.datatype or min(output.shape, default=0) < 0 or not fits(output.shape, form.shape):
            raise PeerError(
                f"upstream's answer has {form.name!r:.60} as {output.datatype!r:.20} {list(output.shape)}, not as "
                f"{form.datatype} {list(form.shape)}"
            )
        try:
            found[form.name] = output.read()
        except ValueError as error:
            raise PeerError(f"upstream's answer has {form.name!r:.60} wrong: {error}") from None
    if wanted:
        raise PeerError("upstream's answer lacks an output that was asked for")
    return found


def _forms(said: Sequence[Any]) -> tuple[TensorForm, ...]:
    found = tuple(TensorForm(one.name, one.datatype, tuple(one.shape)) for one in said[: _TENSORS + 1])
    good = all(0 < len(form.shape) <= _RANK and all(-1 <= size < 1 << 31 for size in form.shape) for form in found)
    if len(found) > _TENSORS or not good or any(len(form.name) > 256 or len(form.datatype) > 16 for form in found):
        raise PeerError("upstream's description has tensors that are none")
    return found
