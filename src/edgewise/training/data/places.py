"""Looking at masks and boxes before anything runs: every fault at once, each with the item that has it."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from edgewise.measure.dataset import Dataset, rows_by_number
from edgewise.training.data.checks import refuse

__all__ = ["check_masks", "check_objects"]

_WHAT = "the data cannot be trained with"


def check_masks(train: Dataset, evaluation: Dataset) -> None:
    """Raises DataError where ``y`` (N, H, W) has another size than its pictures, or classes that none or few pixels are of.

    Says nothing of a ``y`` that is no mask at all.
    """
    if any(data.y.ndim != 3 or data.y.dtype.kind not in "iub" for data in (train, evaluation)):
        return
    known = len(train.labels) or int(train.y.max()) + 1
    problems: list[str] = []
    there = np.unique(train.y)
    if not train.labels and known > 2 * len(there) and known > len(there) + 2:
        row = int(np.flatnonzero((train.y == train.y.max()).reshape(len(train), -1).any(axis=1))[0])
        problems.append(
            f"training data: class {known - 1} of the mask in row {row} would make {known} classes, and pixels have {len(there)}: "
            "number them without gaps; there is no number for pixels to leave out"
        )
    for what, data in (("training data", train), ("evaluation data", evaluation)):
        if data.y.shape[1:] not in {data.x.shape[1:3], data.x.shape[2:4]}:
            problems.append(f"{what}: masks are {data.y.shape[1:]}, and pictures {data.x.shape[1:]}")
        outside = np.any((data.y < 0) | (data.y >= known), axis=(1, 2))
        if outside.any():
            problems.append(f"{what}: masks with classes outside of 0..{known - 1} in {_rows(outside)}")
    refuse(problems, _WHAT)


def check_objects(train: Dataset, evaluation: Dataset) -> None:
    """Raises DataError for boxes (N, objects, 5) without an area or outside of the picture, and for classes that are none.

    Says nothing of a ``y`` that holds no boxes at all.
    """
    if any(data.y.ndim != 3 or data.y.shape[2] != 5 for data in (train, evaluation)):
        return
    known = len(train.labels) or int(train.y[..., 4].max()) + 1
    problems = [
        problem
        for what, data in (("training data", train), ("evaluation data", evaluation))
        for problem in _boxes(data, what, known)
    ]
    refuse(problems, _WHAT)


def _boxes(data: Dataset, what: str, known: int) -> Iterable[str]:
    there = np.asarray(data.y[..., 4] >= 0)
    left, top, right, bottom, kind = (data.y[..., at].astype(np.float64) for at in range(5))
    wrong = there & ((kind != np.floor(kind)) | (kind >= known))
    if wrong.any():
        yield f"{what}: classes of boxes that are not whole numbers in 0..{known - 1} in {_rows(wrong.any(axis=1))}"
    flat = there & ((right <= left) | (bottom <= top))
    if flat.any():
        yield f"{what}: boxes whose x2, y2 are not beyond x1, y1 in {_rows(flat.any(axis=1))}"
    if there.any() and max(right[there].max(), bottom[there].max()) <= 1:
        yield f"{what}: boxes are in pixels of the picture, and all of these lie within 0..1: multiply them by width and height"
    sides = data.x.shape[1:3] if data.x.ndim < 4 or data.x.shape[3] in (1, 3, 4) else data.x.shape[2:4]
    if len(sides) == 2:
        away = there & ((left >= sides[1]) | (top >= sides[0]) | (right <= 0) | (bottom <= 0))
        if away.any():
            yield f"{what}: boxes outside of the picture in {_rows(away.any(axis=1))}"


def _rows(mask: npt.ArrayLike) -> str:
    return rows_by_number(np.flatnonzero(mask))
