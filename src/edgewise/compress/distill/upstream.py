"""A teacher behind a URL that speaks the Open Inference Protocol, version 2, over REST with tensors as JSON.

https://github.com/open-inference/open-inference-protocol: GET v2/models/NAME says what the model takes and gives; POST to
v2/models/NAME/infer answers a batch. What comes back is outside input: its size, form, type and shape are checked against what was
asked. Nothing of the answers is a name or a path, so nothing of them is shown or written but numbers.
"""

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from edgewise.bundle.fields import Form
from edgewise.bundle.limits import Limits
from edgewise.bundle.strict_json import dump_json, parse_object
from edgewise.errors import DocumentError, HostileBundleError, InputError, PeerError
from edgewise.measure.npz import Array
from edgewise.net.asking import Address, Asker

__all__ = ["Upstream", "UpstreamForm", "UpstreamTensor"]

_DTYPES = {
    "BOOL": "bool", "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64", "UINT8": "uint8", "UINT16": "uint16",
    "UINT32": "uint32", "UINT64": "uint64", "FP16": "float16", "FP32": "float32", "FP64": "float64",
}  # fmt: skip
_AT_ONCE = 64  # samples in one question
_NUMBERS = 1 << 19  # in one question: about 10 MB of JSON
_HEAD = 1 << 16  # bytes of an answer besides its numbers
_NUMBER = 64  # bytes of one number at most, with brackets and commas
_METADATA = 1 << 20  # bytes
_RANK = 16


@dataclass(frozen=True, slots=True)
class UpstreamTensor:
    """dtype in NumPy's spelling, "" for what is no number. shape: -1 for what varies."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class UpstreamForm:
    """What the model takes and gives, by its own word."""

    inputs: tuple[UpstreamTensor, ...]
    outputs: tuple[UpstreamTensor, ...]


@dataclass(slots=True)
class Upstream:
    """address: of the model, .../v2/models/NAME. sample: shape and type of one sample. answer: shape of one answer, as ours gives.

    output: its name there; "" for the one of ``usual`` name, the only one, or the only one of that shape.
    """

    address: Address
    asker: Asker
    sample: tuple[int, ...]
    dtype: str
    answer: tuple[int, ...]
    output: str = ""
    usual: str = ""
    _form: tuple[UpstreamTensor, UpstreamTensor] | None = field(default=None, init=False, repr=False)

    def form(self) -> tuple[UpstreamTensor, UpstreamTensor]:
        """Its input and the output that is learnt from, asked for once; no sample leaves for that.

        Raises what asking raises; PeerError for what is no description, InputError where it does not fit samples and classes.
        """
        if self._form is None:
            found = _read_form(self.asker.ask(self.address, "", None, limit=_METADATA))
            self._form = self._input(found), self._output(found)
        return self._form

    def __call__(self, x: Array) -> Array:
        """Answers (n, ...) to samples (n, ...). Raises what asking raises, and PeerError for answers of another form."""
        entering, leaving = self.form()
        fixed = max(0, entering.shape[0])
        at_once = fixed or max(1, min(_AT_ONCE, _NUMBERS // max(1, prod(self.sample))))
        parts = []
        for at in range(0, len(x), at_once):
            piece = x[at : at + at_once]
            full = np.concatenate([piece, np.repeat(piece[-1:], fixed - len(piece), axis=0)]) if fixed else piece
            parts.append(self._ask(full.astype(entering.dtype), entering, leaving)[: len(piece)])
        return np.concatenate(parts)

    def _ask(self, x: Array, entering: UpstreamTensor, leaving: UpstreamTensor) -> Array:
        datatype = next(name for name, dtype in _DTYPES.items() if dtype == entering.dtype)
        tensor = {"name": entering.name, "shape": list(x.shape), "datatype": datatype, "data": x.ravel().tolist()}
        body = dump_json({"inputs": [tensor], "outputs": [{"name": leaving.name}]})
        shape = (len(x), *self.answer)
        limit = _HEAD + _NUMBER * prod(shape)
        return _read_answer(self.asker.ask(self.address, "/infer", body, limit=limit), leaving.name, shape, limit)

    def _input(self, found: UpstreamForm) -> UpstreamTensor:
        if len(found.inputs) != 1:
            raise InputError(f"the teacher takes {len(found.inputs)} inputs, and there is one sample at a time")
        (entering,) = found.inputs
        fits = len(entering.shape) == 1 + len(self.sample) and all(
            own in (-1, ours) for own, ours in zip(entering.shape[1:], self.sample, strict=True)
        )
        widened = entering.dtype and np.can_cast(self.dtype, entering.dtype, "safe") and (
            np.dtype(self.dtype).kind == np.dtype(entering.dtype).kind
        )  # fmt: skip
        if not fits or not widened:
            raise InputError(
                f"the teacher takes {entering.dtype or 'no numbers'} {list(entering.shape)}, and the samples are {self.dtype} "
                f"{list(self.sample)}",
                remedy="Serve a model that takes the samples as they are in the data, preprocessing included.",
            )
        return entering

    def _output(self, found: UpstreamForm) -> UpstreamTensor:
        named = {tensor.name: tensor for tensor in found.outputs}
        alike = [tensor for tensor in found.outputs if self._tells(tensor)]
        if self.output:
            chosen = named.get(self.output)
        elif self.usual in named:
            chosen = named[self.usual]
        else:
            chosen = found.outputs[0] if len(found.outputs) == 1 else alike[0] if len(alike) == 1 else None
        if chosen is None or not self._tells(chosen):
            forms = ", ".join(f"{t.name!r:.60} {t.dtype or 'no numbers'} {list(t.shape)}" for t in found.outputs[:8])
            raise InputError(
                f"the teacher has no output{f' {self.output}' if self.output else ''} of the shape [-1, "
                f"{', '.join(map(str, self.answer))}], as the model that learns; it has {forms}",
                remedy="Name another with --teacher-output, or a teacher of as many classes.",
            )
        return chosen

    def _tells(self, tensor: UpstreamTensor) -> bool:
        return bool(
            tensor.dtype and len(tensor.shape) == 1 + len(self.answer)
            and all(own in (-1, ours) for own, ours in zip(tensor.shape[1:], self.answer, strict=True))
        )  # fmt: skip


def _read_form(data: bytes) -> UpstreamForm:
    form = _object(data, "the teacher's description", Limits(json_bytes=_METADATA))
    found = UpstreamForm(
        tuple(form.items("inputs", _read_tensor, limit=256)), tuple(form.items("outputs", _read_tensor, limit=256))
    )
    _finish(form)
    if not found.inputs or not found.outputs:
        raise PeerError("the teacher's description has no inputs or no outputs", remedy=_NOT_ONE)
    return found


def _read_tensor(form: Form) -> UpstreamTensor:
    shape = form.values("shape", _is_dimension, "a dimension, -1 or more,", limit=_RANK)
    if not shape:
        form.problem("shape", "a batch axis is needed")
    return UpstreamTensor(
        form.text("name", limit=256), _DTYPES.get(form.text("datatype", limit=16), ""), tuple(shape) or (-1,)
    )  # fmt: skip


def _is_dimension(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -1 <= value < 1 << 31


def _read_answer(data: bytes, output: str, shape: tuple[int, ...], limit: int) -> Array:
    # A value of JSON for each number, and as many brackets at worst.
    form = _object(data, "the teacher's answer", Limits(json_bytes=limit, json_values=4096 + 4 * prod(shape)))
    answers = [
        array for name, array in form.items("outputs", lambda item: _read_array(item, shape), limit=256) if name == output
    ]  # fmt: skip
    if len(answers) != 1 and not form.problems:
        form.problem("outputs", "the output that was asked for is not there once")
    _finish(form)
    return answers[0]


def _read_array(form: Form, shape: tuple[int, ...]) -> tuple[str, Array]:
    name, own, data = form.text("name", limit=256), form.anything("shape"), form.anything("data")
    if own != list(shape):
        form.problem("shape", f"{list(shape)} is needed")
    try:
        array = np.asarray(data).ravel()
    except ValueError:  # rows of different lengths
        array = np.empty(0, object)
    if array.dtype.kind not in "iuf" or array.size != prod(shape) or not np.isfinite(array).all():
        form.problem("data", f"{prod(shape)} finite numbers are needed, as JSON and not in binary")
        return name, np.zeros(shape, np.float32)
    return name, array.astype(np.float32).reshape(shape)


_NOT_ONE = "Name a model that speaks the Open Inference Protocol v2 with JSON, as in https://HOST/v2/models/NAME."


def _object(data: bytes, what: str, limits: Limits) -> Form:
    try:
        return Form(parse_object(data, what, limits), what)
    except HostileBundleError as error:
        raise PeerError(error.what, remedy=_NOT_ONE) from None


def _finish(form: Form) -> None:
    try:
        form.finish()
    except DocumentError as error:
        raise PeerError(error.what, remedy=_NOT_ONE) from None
