"""A teacher behind a URL that speaks the Open Inference Protocol, version 2, over REST with tensors as JSON.

https://github.com/open-inference/open-inference-protocol: GET v2/models/NAME says what the model takes and gives; POST to
v2/models/NAME/infer answers a batch. What comes back is outside input: its size, form, type and shape are checked against what was
asked. Nothing of the answers is a name or a path, so nothing of them is shown or written but numbers.
"""

from dataclasses import dataclass, field
from math import prod

import numpy as np

from edgewise.bundle.strict_json import dump_json
from edgewise.errors import InputError
from edgewise.measure.npz import Array
from edgewise.net.asking import Address, Asker
from edgewise.net.oip_form import DESCRIPTION, ModelForm, TensorForm, answer_limit, read_answer, read_model
from edgewise.net.oip_tensors import is_number

__all__ = ["Upstream"]

_AT_ONCE = 64  # samples in one question
_NUMBERS = 1 << 19  # in one question: about 10 MB of JSON


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
    _form: tuple[TensorForm, TensorForm] | None = field(default=None, init=False, repr=False)

    def form(self) -> tuple[TensorForm, TensorForm]:
        """Its input and the output that is learnt from, asked for once; no sample leaves for that.

        Raises what asking raises; PeerError for what is no description, InputError where it does not fit samples and classes.
        """
        if self._form is None:
            found = read_model(self.asker.ask(self.address, "", None, limit=DESCRIPTION), "the teacher's description")
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

    def _ask(self, x: Array, entering: TensorForm, leaving: TensorForm) -> Array:
        tensor = {
            "name": entering.name, "shape": list(x.shape), "datatype": entering.datatype, "data": x.ravel().tolist(),
        }  # fmt: skip
        body = dump_json({"inputs": [tensor], "outputs": [{"name": leaving.name}]})
        expected = [TensorForm(leaving.name, leaving.datatype, (len(x), *self.answer))]
        said = self.asker.ask(self.address, "/infer", body, limit=answer_limit(expected, raw=False))
        found, _ = read_answer(said, "the teacher's answer", expected)
        return found[leaving.name].astype(np.float32)

    def _input(self, found: ModelForm) -> TensorForm:
        if len(found.inputs) != 1:
            raise InputError(f"the teacher takes {len(found.inputs)} inputs, and there is one sample at a time")
        (entering,) = found.inputs
        fits = len(entering.shape) == 1 + len(self.sample) and all(
            own in (-1, ours) for own, ours in zip(entering.shape[1:], self.sample, strict=True)
        )
        widened = is_number(entering.datatype) and np.can_cast(self.dtype, entering.dtype, "safe") and (
            np.dtype(self.dtype).kind == np.dtype(entering.dtype).kind
        )  # fmt: skip
        if not fits or not widened:
            raise InputError(
                f"the teacher takes {_kind(entering)} {list(entering.shape)}, and the samples are {self.dtype} "
                f"{list(self.sample)}",
                remedy="Serve a model that takes the samples as they are in the data, preprocessing included.",
            )
        return entering

    def _output(self, found: ModelForm) -> TensorForm:
        named = {tensor.name: tensor for tensor in found.outputs}
        alike = [tensor for tensor in found.outputs if self._tells(tensor)]
        if self.output:
            chosen = named.get(self.output)
        elif self.usual in named:
            chosen = named[self.usual]
        else:
            chosen = found.outputs[0] if len(found.outputs) == 1 else alike[0] if len(alike) == 1 else None
        if chosen is None or not self._tells(chosen):
            forms = ", ".join(f"{t.name!r:.60} {_kind(t)} {list(t.shape)}" for t in found.outputs[:8])
            raise InputError(
                f"the teacher has no output{f' {self.output}' if self.output else ''} of the shape [-1, "
                f"{', '.join(map(str, self.answer))}], as the model that learns; it has {forms}",
                remedy="Name another with --teacher-output, or a teacher of as many classes.",
            )
        return chosen

    def _tells(self, tensor: TensorForm) -> bool:
        return bool(
            is_number(tensor.datatype) and len(tensor.shape) == 1 + len(self.answer)
            and all(own in (-1, ours) for own, ours in zip(tensor.shape[1:], self.answer, strict=True))
        )  # fmt: skip


def _kind(form: TensorForm) -> str:
    return form.dtype if is_number(form.datatype) else "no numbers"
