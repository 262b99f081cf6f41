"""Rules for detectors: the least sure box that is kept, and what is likely to have been missed.

The score of an image is the least confidence among the boxes that are kept, less ``missed`` for each object that was probably
overlooked: boxes whose confidence is near the cut but below it, each counted by its confidence, so that the sum is about how many
of them are real. An image in which nothing was found has no box to be unsure of, which makes it no easy one: what was missed leaves
no trace. It is worth ``empty``, which is 0 unless calibration samples say how much it is worth.
"""

from collections.abc import Mapping
from typing import Any, final

import numpy as np

from edgewise.bundle.fields import Form
from edgewise.records import dataclass
from edgewise.routing.rules.source import NOT_SURE, Need, NeedyRule, Source, read_source
from edgewise.runtime.engine import Array

__all__ = ["BoxConfidence", "read"]

_SCORE, _CLASS, _COLUMNS = 4, 5, 6  # of a row x1, y1, x2, y2, score, class


@final
@dataclass(frozen=True, slots=True)
class BoxConfidence:
    """cut: the score from which a box is part of the answer. near: the score from which one below the cut counts as a likely miss.
    missed: what each of those costs. empty: what an image without a box is worth.
    """

    source: Source
    cut: float = 0.0
    near: float = 0.0
    missed: float = 0.0
    empty: float = 0.0

    @property
    def name(self) -> str:
        return "box-confidence"

    def score(self, outputs: Mapping[str, Array]) -> float:
        rows = outputs[self.source.output].reshape(-1, _COLUMNS)
        if not len(rows):
            return self.empty
        found, classes = rows[:, _SCORE], rows[:, _CLASS]
        there = classes >= 0
        if not there.all():
            if np.add.reduce(classes, dtype=np.float64) != np.add.reduce(classes, dtype=np.float64):
                return NOT_SURE
            found = found[there]
        total = np.add.reduce(found, dtype=np.float64).item()
        if total - total != 0.0:
            return NOT_SURE
        kept = found[found >= self.cut]
        least = np.minimum.reduce(kept).item() if len(kept) else self.empty
        if self.missed and len(kept) < len(found):
            least -= (
                self.missed * np.add.reduce(found[(found >= self.near) & (found < self.cut)], dtype=np.float64).item()
            )
        return least

    def scores(self, outputs: Mapping[str, Array]) -> Array:
        boxes = outputs[self.source.output]
        found, there = boxes[..., _SCORE].astype(np.float64), boxes[..., _CLASS] >= 0
        kept = there & (found >= self.cut)
        least = np.where(kept, found, np.inf).min(axis=1, initial=np.inf)
        near = there & ~kept & (found >= self.near)
        sure = np.where(kept.any(axis=1), least, self.empty) - self.missed * np.where(near, found, 0).sum(axis=1)
        bad = np.isnan(boxes[..., _CLASS]) | (there & ~np.isfinite(found))
        return np.where(bad.any(axis=1), NOT_SURE, sure)

    def boxes(self, outputs: Mapping[str, Array]) -> Array:
        """(N, k) how sure each box that is kept is, NaN where a row is none: for those who ask about single objects."""
        boxes = outputs[self.source.output]
        found = boxes[..., _SCORE].astype(np.float64)
        return np.where((boxes[..., _CLASS] >= 0) & (found >= self.cut), found, np.nan)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "of": self.source.to_json(), "cut": self.cut, "near": self.near, "missed": self.missed,
            "empty": self.empty,
        }  # fmt: skip

    def needs(self) -> tuple[Need, ...]:
        return (Need(self.source.output, _COLUMNS, rank=3, table=True),)


def read(_: str, form: Form) -> NeedyRule:
    """The rule as ``to_json`` gives it; notes every problem in ``form``."""
    source = read_source(form, forms=("values",))
    cut = form.number("cut", low=0, high=1, default=0.0)
    near = form.number("near", low=0, high=1, default=cut)
    if near > cut:
        form.problem("near", f"{near} is above the cut, {cut}: those boxes are kept")
    missed = form.number("missed", low=0, high=1e6, default=0.0)
    return BoxConfidence(source, cut, near, missed, form.number("empty", low=-1e6, high=1e6, default=0.0))
