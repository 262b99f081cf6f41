"""What an interface calls its tensors, and what an Open Inference Protocol server calls them: one fitted to the other. Pure.

By equal name, else where there is exactly one on both sides. Types may differ only where the numbers stay what they are: 16-bit
floats go out as 32-bit ones, and 64-bit scores come back as 32-bit ones; a picture of bytes is never sent as floats, whose scale
nobody stated.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import InputError, PeerError
from edgewise.net.oip_form import ModelForm, TensorForm, fits
from edgewise.net.oip_tensors import DTYPES, datatype_of
from edgewise.runtime.engine import Array

__all__ = ["Fitted", "fit"]

_REMEDY = "Serve a model that takes and gives what the bundle's interface says (`edgewise inspect` prints it)."


@dataclass(frozen=True, slots=True)
class Fitted:
    """inputs, outputs: the interface's name, and the tensor there. specs: of those outputs whose form the interface states.

    batch: rows that the model takes at once, no more and no fewer; 0 for any number.
    """

    inputs: tuple[tuple[str, TensorForm], ...]
    outputs: tuple[tuple[str, TensorForm], ...]
    specs: Mapping[str, TensorSpec]
    batch: int

    def pieces(self, inputs: Mapping[str, Array]) -> Iterator[tuple[int, list[tuple[TensorForm, Array]]]]:
        """What is asked at once: the number of rows that count, and the tensors, filled up with the last row where they must be."""
        rows = len(next(iter(inputs.values())))
        for at in range(0, rows, self.batch or rows):
            cut = [(form, inputs[name][at : at + (self.batch or rows)]) for name, form in self.inputs]
            kept = len(cut[0][1])
            missing = self.batch - kept if self.batch else 0
            yield kept, [(form, _filled(array, missing) if missing else array) for form, array in cut]

    def expected(self, rows: int) -> list[TensorForm]:
        """The outputs that are asked for."""
        found = []
        for name, form in self.outputs:
            shape = _narrowed(form.shape[1:], self.specs.get(name)) or ()
            found.append(TensorForm(form.name, form.datatype, (self.batch or rows, *shape)))
        return found

    def incoming(self, parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
        """Outputs by the interface's name and in its type; parts: by the name there. Raises PeerError for what does not fit."""
        found = {}
        for name, form in self.outputs:
            try:
                joined = np.concatenate([part[form.name] for part in parts])
            except ValueError:
                raise PeerError(f"the answers of upstream have {name} in shapes that do not fit each other") from None
            spec = self.specs.get(name)
            found[name] = joined if spec is None or joined.dtype.kind == "O" else _cast(joined, spec)
        return found


def fit(model: ModelForm, inputs: Mapping[str, Array], outputs: Sequence[TensorSpec], decision: str) -> Fitted:
    """outputs: the interface's, as far as it is known. decision: the one that is needed.

    Raises PeerError where the two do not fit, InputError for a question of no rows.
    """
    if not all(array.ndim and len(array) for array in inputs.values()):
        raise InputError("a question has a row at least")
    if len({len(array) for array in inputs.values()}) != 1:
        raise PeerError("the inputs of one question have different numbers of rows", remedy=_REMEDY)
    theirs = {form.name: form for form in model.inputs}
    entering = tuple((name, _input(name, array, theirs, len(inputs))) for name, array in inputs.items())
    if len(entering) != len(theirs):
        raise PeerError(f"upstream takes {len(theirs)} inputs, and there are {len(entering)}", remedy=_REMEDY)
    specs = {spec.name: spec for spec in outputs}
    batch = max(0, *(form.shape[0] for _, form in entering))
    return Fitted(entering, _outputs(model, specs, decision), specs, batch)


def _input(name: str, array: Array, theirs: Mapping[str, TensorForm], count: int) -> TensorForm:
    form = theirs.get(name) or (next(iter(theirs.values())) if len(theirs) == count == 1 else None)
    if form is None:
        raise PeerError(f"upstream has no input {name}", remedy=_REMEDY)
    own = datatype_of(array)
    if not fits(array.shape[1:], form.shape[1:]) or not _widens(own, form):
        raise PeerError(
            f"upstream takes {name} as {form.datatype:.16} {list(form.shape)}, not as {own or array.dtype} "
            f"{[-1, *array.shape[1:]]}",
            remedy=_REMEDY,
        )
    return form


def _outputs(model: ModelForm, specs: Mapping[str, TensorSpec], decision: str) -> tuple[tuple[str, TensorForm], ...]:
    theirs = {form.name: form for form in model.outputs}
    names = list(specs) or [decision]
    found = {name: theirs[name] for name in names if name in theirs}
    if decision not in found and len(theirs) == 1 and not found:
        found = {decision: next(iter(theirs.values()))}
    if decision not in found:
        raise PeerError(f"upstream has no output {decision}", remedy=_REMEDY)
    for name, form in found.items():
        spec = specs.get(name)
        alike = spec is None or (_comes_back(form, spec) and _narrowed(form.shape[1:], spec) is not None)
        if not form.dtype or not alike:
            raise PeerError(
                f"upstream gives {name} as {form.datatype:.16} {list(form.shape)}{f', not as {spec}' if spec else ''}",
                remedy=_REMEDY,
            )
    return tuple(found.items())


def _widens(own: str, form: TensorForm) -> bool:
    """Whether an array of the type ``own`` keeps its numbers, and what they mean, in the type of ``form``."""
    if "BYTES" in (own, form.datatype):
        return own == form.datatype
    ours, theirs = np.dtype(DTYPES.get(own, "V")), np.dtype(form.dtype or "V")
    return ours.kind == theirs.kind != "V" and np.can_cast(ours, theirs, "safe")


def _comes_back(form: TensorForm, spec: TensorSpec) -> bool:
    """Whether ``_cast`` can make one of the other: numbers of the same kind, of any width."""
    if "str" in (form.dtype, spec.dtype):
        return form.dtype == spec.dtype
    return bool(form.dtype) and np.dtype(form.dtype).kind == np.dtype(spec.dtype).kind


def _narrowed(shape: tuple[int, ...], spec: TensorSpec | None) -> tuple[int, ...] | None:
    """A shape without the batch axis, with what the interface knows of it; None where the two contradict each other."""
    if spec is None:
        return shape
    own = [size if isinstance(size, int) else -1 for size in spec.shape[1:]]
    if len(own) != len(shape) or any(-1 not in pair and len(set(pair)) > 1 for pair in zip(own, shape, strict=True)):
        return None
    return tuple(map(max, zip(own, shape, strict=True)))


def _filled(array: Array, missing: int) -> Array:
    return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)])


def _cast(array: Array, spec: TensorSpec) -> Array:
    dtype = np.dtype(spec.dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if array.size and (array.min() < limits.min or array.max() > limits.max):
            raise PeerError(f"upstream gives {spec.name} beyond {spec.dtype}", remedy=_REMEDY)
    with np.errstate(over="ignore"):
        cast = array.astype(dtype, copy=False)
    if dtype.kind == "f" and not np.isfinite(cast).all():
        raise PeerError(f"upstream gives {spec.name} beyond {spec.dtype}", remedy=_REMEDY)
    return cast
