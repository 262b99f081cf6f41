"""What a head will read of a model, for many samples: learnt from, and compared with."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgewise.errors import DataError, MismatchError
from edgewise.routing.head.head import Form, Head, class_scores, feature_count, features_of
from edgewise.routing.head.join import Tapped, join_head, tapped
from edgewise.routing.head.proof import prove_joined
from edgewise.runtime.engine import Array, EngineSession, OpenOptions, find_engine

__all__ = ["Seen", "read_samples"]

_AT_ONCE = 64
_PROVEN = (1, 32)  # samples in the batches on which it is looked whether reading the hidden values changes anything


@dataclass(frozen=True, slots=True)
class Seen:
    """features: (N, ``feature_count(classes)``) of the scores, which have ``form``. hidden: (N, width), None where not read."""

    features: Array
    hidden: Array | None
    form: Form
    classes: int


def read_samples(
    model: bytes, inputs: Mapping[str, Array], output: str, external: Mapping[str, bytes] | None = None, *, hidden: bool = True
) -> Seen:  # fmt: skip
    """inputs: the model's own names -> (N, ...). hidden: whether the last layer's input is wanted; it is left out where the model
    has none, and where reading it would change another output by a bit.

    Raises DataError for inputs that do not fit or scores that are not finite, otherwise as ``join_head``.
    """
    taps = tapped(model, output, external)
    rows, fixed = _run(taps.model, inputs)
    scores = rows[taps.scores]
    form = _form(scores, taps)
    classes = class_scores(scores[:1], form).shape[1]
    read = rows[taps.hidden] if hidden and taps.hidden and np.isfinite(rows[taps.hidden]).all() else None
    if read is not None:
        width = read.shape[1]
        blank = Head(output, form, classes, np.zeros(feature_count(classes) + width, np.float32), 0.0, None, width)
        read = read if _harmless(model, inputs, fixed, blank, external) else None
    return Seen(features_of(class_scores(scores, form)), read, form, classes)


def _run(model: bytes, inputs: Mapping[str, Array]) -> tuple[dict[str, Array], int]:
    """Every output for all samples, and how many the model takes at once, 0 for any number."""
    session = find_engine("onnxruntime").open({"model.onnx": model}, OpenOptions(threads=1))
    try:
        fixed = _check(session, inputs)
        total, size = len(next(iter(inputs.values()))), fixed or _AT_ONCE
        found = [
            {name: array[: total - at] for name, array in session.run(_batch(inputs, at, size)).items()}
            for at in range(0, total, size)
        ]
        return {name: np.concatenate([part[name] for part in found]) for name in found[0]}, fixed
    finally:
        session.close()


def _batch(inputs: Mapping[str, Array], at: int, size: int) -> dict[str, Array]:
    """Samples from ``at`` on; a model of one batch size gets that many at the end too, the last one several times."""
    rows = np.minimum(np.arange(at, at + size), len(next(iter(inputs.values()))) - 1)
    return {name: np.ascontiguousarray(array[rows]) for name, array in inputs.items()}


def _check(session: EngineSession, inputs: Mapping[str, Array]) -> int:
    wanted = {info.name: info for info in session.inputs}
    if set(wanted) != set(inputs) or len({len(array) for array in inputs.values()}) != 1:
        given = ", ".join(f"{name} {array.dtype}{array.shape}" for name, array in inputs.items())
        raise DataError(f"samples came as {given or 'nothing'}; the model takes {', '.join(wanted)}, as many of each")
    for name, array in inputs.items():
        info = wanted[name]
        sizes = zip(info.shape[1:], array.shape[1:], strict=False)
        fits = all(not isinstance(dim, int) or dim in (-1, size) for dim, size in sizes)
        if str(array.dtype) != info.dtype or array.ndim != len(info.shape) or not fits:
            raise DataError(f"{name} came as {array.dtype}{array.shape}; the model takes {info.dtype} {info.shape}")
    fixed = {
        info.shape[0] for info in wanted.values() if info.shape and isinstance(info.shape[0], int) and info.shape[0] > 0
    }
    return min(fixed, default=0)


def _form(scores: Array, taps: Tapped) -> Form:
    if not np.isfinite(scores).all():
        raise DataError("the model's scores are not finite for every sample")
    if scores.shape[1] == 1:
        return "logit" if taps.squeezed else "probability"
    shares = not taps.squeezed and scores.min() >= 0 and np.allclose(scores.sum(axis=1), 1, atol=0.05)
    return "probabilities" if shares else "logits"


def _harmless(
    model: bytes, inputs: Mapping[str, Array], fixed: int, blank: Head, external: Mapping[str, bytes] | None
) -> bool:
    """Whether a head that reads as much as ``blank`` leaves the other outputs as they are."""
    joined = join_head(model, blank, external)
    try:
        sizes = (fixed,) if fixed else _PROVEN
        prove_joined(model, joined, blank, [_batch(inputs, 0, size) for size in sizes], external)
    except MismatchError:
        return False
    return True
