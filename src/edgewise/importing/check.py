"""Does an imported model give the numbers that it should? A comparison says how far off it is, never just that it worked."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.errors import DataError, MismatchError, NotFoundError
from edgewise.importing.imported import ImportedModel
from edgewise.measure.npz import load_npz
from edgewise.runtime.engine import Array, EngineSession, OpenOptions, find_engine

__all__ = [
    "ENGINE_FOR",
    "LEAST_COSINE",
    "Comparison",
    "check_against",
    "checked_against",
    "compare_outputs",
    "measure_outputs",
    "open_imported",
    "require_faithful",
    "run_rows",
]

#: Format -> the engine that such a file is checked with.
ENGINE_FOR = {"onnx": "onnxruntime", "tflite": "litert"}
#: A smaller form of a model below this cosine similarity to the original is refused. Measured on an encoder: sound int8 gives
#: 0.99, sound 4 bit 0.96, a broken static quantization 0.34.
LEAST_COSINE = 0.9


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two sets of outputs differ, over all outputs together.

    max_absolute, max_relative: largest |got - reference|, and largest of that over |reference|; inf for what is not finite.
    cosine: smallest cosine similarity of any output, taken as one vector; 1 is equal direction.
    agreement: share of rows whose largest value stands at the same place.
    worst: output and index of the value that is furthest beyond what is allowed.
    """

    max_absolute: float
    max_relative: float
    cosine: float
    agreement: float
    worst: tuple[str, tuple[int, ...]]

    def to_json(self) -> dict[str, Any]:
        return {
            "maxAbsolute": _finite(self.max_absolute), "maxRelative": _finite(self.max_relative),
            "cosine": _finite(self.cosine), "agreement": self.agreement,
            "worst": {"output": self.worst[0], "index": list(self.worst[1])},
        }  # fmt: skip

    def __str__(self) -> str:
        return (
            f"largest difference {self.max_absolute:.3g} (relative {self.max_relative:.3g}) at {self.worst[0]}"
            f"{list(self.worst[1])}, cosine {self.cosine:.6f}, same decision {self.agreement:.1%}"
        )


def compare_outputs(
    reference: Mapping[str, Array], got: Mapping[str, Array], *, absolute: float, relative: float, what: str
) -> Comparison:
    """Compare every output of ``reference``; what ``got`` has beyond them is not looked at.

    Passes where |got - reference| <= absolute + relative * |reference| everywhere (numpy's allclose). Raises MismatchError
    with all numbers otherwise, for other shapes, for a missing output, for a NaN or infinity on either side, and where there
    was nothing to compare.
    """
    compared, excess, place = _compare(reference, got, absolute, relative, what)
    if excess > 0:
        raise MismatchError(
            f"{what} does not give the reference's outputs: {compared}; allowed {absolute:g} + {relative:g} * |reference|",
            subject=what, absolute=absolute, relative=relative, excess=_finite(excess), **place, **compared.to_json(),
        )  # fmt: skip
    return compared


def measure_outputs(reference: Mapping[str, Array], got: Mapping[str, Array], *, what: str) -> Comparison:
    """The same numbers with no tolerance; still raises MismatchError for shapes, missing outputs, NaN and infinity."""
    compared, _, _ = _compare(reference, got, 0.0, 0.0, what)
    return compared


def check_against(
    model: ImportedModel, reference_npz: Path, *, absolute: float = 1e-4, relative: float = 1e-3
) -> Comparison:
    """Run ``model`` on the inputs of a reference file and compare with its outputs.

    The file holds ``in/<input>`` and ``out/<output>``, with the batch axis; a model with a fixed batch of one is run row by
    row. Raises DataError for a file without them, MismatchError with the numbers where the outputs differ.
    """
    feeds, expected = _read_reference(model, reference_npz)
    return compare_outputs(expected, _outputs(model, feeds), absolute=absolute, relative=relative, what=model.name)


def _read_reference(model: ImportedModel, reference_npz: Path) -> tuple[dict[str, Array], dict[str, Array]]:
    """Inputs and expected outputs by name."""
    if not reference_npz.is_file():
        raise NotFoundError(f"there is no file {reference_npz}", remedy="Check the path.")
    arrays = load_npz(reference_npz)
    feeds = {name.removeprefix("in/"): array for name, array in arrays.items() if name.startswith("in/")}
    expected = {name.removeprefix("out/"): array for name, array in arrays.items() if name.startswith("out/")}
    missing = sorted({spec.name for spec in model.inputs} - set(feeds))
    unknown = sorted(
        (set(feeds) - {spec.name for spec in model.inputs}) | (set(expected) - {s.name for s in model.outputs})
    )
    if missing or unknown or not expected:
        raise DataError(
            f"{reference_npz.name} does not fit {model.name}: missing {missing or 'nothing'}, unknown {unknown or 'nothing'}, "
            f"{len(expected)} expected outputs",
            remedy=f"Give it in/NAME for {[spec.name for spec in model.inputs]} and out/NAME for some of "
            f"{[spec.name for spec in model.outputs]}.",
        )
    return feeds, expected


def checked_against(model: ImportedModel, reference_npz: Path, *, absolute: float = 1e-4) -> ImportedModel:
    """``model`` with a note of how far it is from the reference. Raises as ``check_against`` does.

    A model of a lower precision than fp32 differs by nature: it is held to ``LEAST_COSINE`` instead.
    """
    what = f"{model.name} ({model.precision}) against {reference_npz.name}"
    if model.precision == "fp32":
        compared = check_against(model, reference_npz, absolute=absolute)
    else:
        feeds, expected = _read_reference(model, reference_npz)
        compared = measure_outputs(expected, _outputs(model, feeds), what=what)
        require_faithful(compared, what, model.name)
    return model.with_notes(f"{what}: {compared}")


def require_faithful(compared: Comparison, what: str, subject: str) -> None:
    """Raise MismatchError with the numbers for a smaller form of a model that is below ``LEAST_COSINE``."""
    if not compared.cosine >= LEAST_COSINE:
        raise MismatchError(
            f"{what}: {compared}; a cosine of {LEAST_COSINE} is needed", subject=subject, **compared.to_json()
        )


def _outputs(model: ImportedModel, feeds: Mapping[str, Array]) -> dict[str, Array]:
    session = open_imported(model)
    try:
        return run_rows(model, session, feeds)
    finally:
        session.close()


def open_imported(model: ImportedModel) -> EngineSession:
    """A session for ``model`` with the engine of its format, on the processor."""
    return find_engine(ENGINE_FOR[model.format]).open(model.files, OpenOptions())


def run_rows(model: ImportedModel, session: EngineSession, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs for ``feeds``: in one call, or row by row where the model's batch is fixed at one and more rows came."""
    fixed = {
        spec.name
        for spec in model.inputs
        if spec.shape
        and spec.shape[0] == 1
        and np.ndim(feeds[spec.name]) == len(spec.shape)
        and len(feeds[spec.name]) > 1
    }
    if not fixed:
        return session.run(dict(feeds))
    rows = len(feeds[next(iter(fixed))])
    results = [
        session.run({name: array[at : at + 1] if name in fixed else array for name, array in feeds.items()})
        for at in range(rows)
    ]
    return {name: np.concatenate([result[name] for result in results]) for name in results[0]}


def _compare(
    reference: Mapping[str, Array], got: Mapping[str, Array], absolute: float, relative: float, what: str
) -> tuple[Comparison, float, dict[str, Any]]:
    if not sum(array.size for array in reference.values()):
        raise MismatchError(f"{what}: there is nothing to compare", subject=what)
    most, most_relative, cosine, excess = 0.0, 0.0, 1.0, -math.inf
    worst: tuple[str, tuple[int, ...]] = (next(iter(reference)), ())
    values: dict[str, Any] = {}
    same, rows = 0, 0
    for name, want in reference.items():
        have = _same_shape(name, want, got, what)
        if not want.size:
            continue
        difference, size = _differences(want, have)
        with np.errstate(invalid="ignore"):
            beyond = difference - (absolute + relative * size)
        beyond[~np.isfinite(difference)] = math.inf
        at = int(np.argmax(beyond))
        if float(beyond.flat[at]) > excess:
            excess = float(beyond.flat[at])
            worst = (name, tuple(int(part) for part in np.unravel_index(at, want.shape)))
            values = {"expected": str(want.flat[at]), "got": str(have.flat[at])}
        most = max(most, float(difference.max()))
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(difference == 0, 0.0, difference / size)
        most_relative = max(most_relative, float(shares.max()))
        cosine = min(cosine, _cosine(want, have))
        equal, count = _decisions(want, have)
        same, rows = same + equal, rows + count
    if not math.isfinite(most):
        excess = math.inf
    compared = Comparison(most, most_relative, cosine, same / rows if rows else 1.0, worst)
    if excess == math.inf:
        raise MismatchError(
            f"{what}: {worst[0]} has a value that is not finite or cannot be compared: {values}; {compared}",
            subject=what, **values, **compared.to_json(),
        )  # fmt: skip
    return compared, excess, values


def _same_shape(name: str, want: Array, got: Mapping[str, Array], what: str) -> Array:
    have = got.get(name)
    if have is None or have.shape != want.shape or (have.dtype.kind in "OUS") != (want.dtype.kind in "OUS"):
        found = "nothing" if have is None else f"{have.dtype} {have.shape}"
        raise MismatchError(
            f"{what}: the output {name} should be {want.dtype} {want.shape}; there is {found}",
            subject=what, output=name, expected={"dtype": str(want.dtype), "shape": list(want.shape)},
            got=None if have is None else {"dtype": str(have.dtype), "shape": list(have.shape)},
        )  # fmt: skip
    return have


def _differences(want: Array, have: Array) -> tuple[Array, Array]:
    """|have - want| with inf for what is not finite on either side or is other text, and |want|."""
    if want.dtype.kind in "OUS":
        return np.where(want.astype(str) == have.astype(str), 0.0, math.inf), np.zeros(want.shape)
    wanted, found = want.astype(np.float64), have.astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.abs(found - wanted)
    if want.dtype.kind in "iub" and have.dtype.kind in "iub":
        difference = np.maximum(difference, (want != have).astype(np.float64))  # beyond 2**53 doubles are too coarse
    difference[~(np.isfinite(wanted) & np.isfinite(found))] = math.inf
    return difference, np.abs(wanted)


def _cosine(want: Array, have: Array) -> float:
    if want.dtype.kind in "OUS":
        return 1.0
    left, right = want.astype(np.float64).ravel(), have.astype(np.float64).ravel()
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        return math.nan
    # Scaled first, so that squares neither overflow nor vanish.
    largest = [float(np.abs(side).max()) for side in (left, right)]
    if 0.0 in largest:
        return 1.0 if largest == [0.0, 0.0] else 0.0
    left, right = left / largest[0], right / largest[1]
    return min(1.0, float(left @ right / math.sqrt(float(left @ left) * float(right @ right))))


def _decisions(want: Array, have: Array) -> tuple[int, int]:
    if want.dtype.kind in "OUSb" or want.ndim < 2 or want.shape[-1] < 2:
        return 0, 0
    equal = want.argmax(-1) == have.argmax(-1)
    return int(equal.sum()), int(equal.size)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
