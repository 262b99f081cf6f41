"""Any server that speaks the Open Inference Protocol, version 2, over REST: Triton, KServe, OpenVINO's, or a node of ours.

https://github.com/open-inference/open-inference-protocol. Tensors go in binary, after the JSON, where the server says that it has
Triton's extension ``binary_tensor_data``, else as JSON. A node of ours is told the trail of a question and says who answered;
others are told the deadline alone, in a header, since a strict server refuses parameters that it does not know.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from edgewise.bundle.strict_json import dump_json
from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import HttpStatusError, InputError, PeerError
from edgewise.net.asking import read_address
from edgewise.net.cancel import Cancel
from edgewise.net.exchange import Exchanger
from edgewise.net.oip_form import (
    DESCRIPTION,
    ModelForm,
    TensorForm,
    answer_limit,
    read_answer,
    read_extensions,
    read_model,
)
from edgewise.net.oip_tensors import to_raw, to_values
from edgewise.net.transport import shown
from edgewise.routing.upstream import Answered, Described, Question, Reply
from edgewise.routing.upstreams.oip_fit import Fitted, fit
from edgewise.routing.upstreams.oip_node import DEADLINE, asked, describe, extra_bytes, read_answered, read_spent
from edgewise.runtime.engine import Array

__all__ = ["OipUpstream"]

_URL = re.compile(r"(?P<server>.*/v2)/models/[^/]+(?:/versions/(?P<version>[^/]+))?")
_MOST, _MOST_JSON = 1 << 26, 1 << 24  # bytes of an answer, whatever sizes the server says that its outputs have
_BINARY = ("binary_tensor_data", "binary_data")  # Triton and KServe; OpenVINO
_HEAD = "inference-header-content-length"
_ABSENT = frozenset({400, 404, 405, 501})  # statuses of a server that has no description of itself


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read of the server."""

    model: ModelForm
    described: Described
    binary: bool


@final
class OipUpstream:
    """url: of the model, ``https://HOST/v2/models/NAME``, with ``/versions/VERSION`` where it matters.

    outputs: those of the interface, whose names, types and shapes the answers are held against; without them the server's word
    holds. token: sent as a bearer where nobody on the way can read it, shown nowhere. Raises InputError and RefusedError as
    ``read_address``. What the server says of itself is read once, and again after an answer that does not fit it.
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
        self._address = read_address(url, unsafe_plain_http=unsafe_plain_http, variable="EDGEWISE_UPSTREAM_TOKEN")
        found = _URL.fullmatch(self._address.url)
        if found is None:
            raise InputError(
                f"{shown(url)} names no model of an Open Inference Protocol server",
                remedy="Write it as https://HOST/v2/models/NAME.",
            )
        self._server = read_address(found["server"], unsafe_plain_http=True)
        self._version = found["version"] or ""
        self._outputs, self._now = tuple(outputs), now
        self._exchanger = Exchanger(token, ca_file, now)
        self._exchanger.prepare(self._address)
        self._known: _Known | None = None  # set as a whole: threads that read it twice read the same

    @property
    def name(self) -> str:
        return shown(self._address.url)

    def describe(self, until: float, cancel: Cancel) -> Described:
        return self._read(until, cancel).described

    def ask(self, question: Question, cancel: Cancel) -> Reply:
        known = self._known or self._read(question.until, cancel)
        try:
            fitted = fit(known.model, question.inputs, self._outputs, question.decision)
            parts, by, spent = [], list[Answered](), tuple[tuple[str, float], ...]()
            for kept, tensors in fitted.pieces(question.inputs):
                part, said = self._infer(known, fitted, tensors, question, cancel)
                rows = len(tensors[0][1])
                parts.append({name: array[:kept] for name, array in part.items()})
                by += read_answered(said, known.described, rows, kept)
                spent += read_spent(said, known.described)
            return Reply(fitted.incoming(parts), tuple(by), spent)
        except HttpStatusError:
            raise
        except PeerError:
            self._known = None  # perhaps it is another model by now
            raise

    def close(self) -> None:
        self._exchanger.close()

    def __repr__(self) -> str:
        return f"OipUpstream({self.name!r})"

    def _read(self, until: float, cancel: Cancel) -> _Known:
        binary = not {*self._extensions(until, cancel)}.isdisjoint(_BINARY)
        told = self._exchanger.ask(self._address, "", None, limit=DESCRIPTION, until=until, cancel=cancel)
        model = read_model(told.body, "upstream's description")
        known = self._known = _Known(model, describe(model, self._version), binary)
        return known

    def _extensions(self, until: float, cancel: Cancel) -> tuple[str, ...]:
        try:
            told = self._exchanger.ask(self._server, "", None, limit=DESCRIPTION, until=until, cancel=cancel)
        except HttpStatusError as error:
            if error.details["status"] in _ABSENT:
                return ()
            raise
        return read_extensions(told.body, "upstream's description of itself")

    def _infer(
        self,
        known: _Known,
        fitted: Fitted,
        tensors: Sequence[tuple[TensorForm, Array]],
        question: Question,
        cancel: Cancel,
    ) -> tuple[dict[str, Array], Mapping[str, Any]]:
        rows = len(tensors[0][1])
        expected = fitted.expected(rows)
        left = max(0.0, question.until - self._now())
        parameters = asked(question.trail, left) if known.described.node else {}
        body, headers = _question(tensors, expected, parameters, binary=known.binary)
        headers[DEADLINE] = str(int(left * 1000))
        limit = min(answer_limit(expected, raw=known.binary), _MOST if known.binary else _MOST_JSON) + extra_bytes(rows)
        told = self._exchanger.ask(
            self._address, "/infer", body, limit=limit, until=question.until, cancel=cancel, headers=headers,
        )  # fmt: skip
        return read_answer(told.body, "upstream's answer", expected, head=_head(told.headers))


def _question(
    tensors: Sequence[tuple[TensorForm, Array]],
    expected: Sequence[TensorForm],
    parameters: Mapping[str, Any],
    *,
    binary: bool,
) -> tuple[bytes, dict[str, str]]:
    """Body and headers."""
    inputs, raw = [], []
    for form, array in tensors:
        said: dict[str, Any] = {"name": form.name, "shape": list(array.shape), "datatype": form.datatype}
        if binary:
            raw.append(to_raw(array, form.datatype))
            said["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            said["data"] = _values(array, form)
        inputs.append(said)
    wanted = [{"name": form.name} | ({"parameters": {"binary_data": True}} if binary else {}) for form in expected]
    head = dump_json({"inputs": inputs, "outputs": wanted} | ({"parameters": dict(parameters)} if parameters else {}))
    if not binary:
        return head, {}
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return b"".join([head, *raw]), headers


def _values(array: Array, form: TensorForm) -> list[Any]:
    try:
        return to_values(array, form.datatype)
    except ValueError as error:
        raise InputError(f"{form.name!r:.60} cannot be sent as JSON: {error}") from None


def _head(headers: Mapping[str, str]) -> int | None:
    """Length of the JSON of an answer that goes on in binary; None for one that is JSON as a whole."""
    said = headers.get(_HEAD)
    if said is None:
        return None
    return int(said) if said.isascii() and said.isdigit() and len(said) < 12 else -1
