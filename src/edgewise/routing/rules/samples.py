"""What a rule is fitted to."""

from collections.abc import Mapping
from math import inf

import numpy as np

from edgewise.errors import DataError
from edgewise.records import dataclass
from edgewise.runtime.decision import winners
from edgewise.runtime.engine import Array

__all__ = ["Hints", "Samples"]


@dataclass(frozen=True, slots=True)
class Hints:
    """What a model's outputs do not say themselves.

    cut: of detections, labels, anomalies, see the rules. embedding: the output that is compared with prototypes; "" for the
    deciding one. prototypes: how many, where there are no classes; seed: of where they start. lower, upper: (output, column) of two
    quantiles, column -1 for all of them; coverage: of an interval. skip, lengths: see ``SequenceConfidence``. output, column,
    negate: see ``GraphOutput``. confidence, scope: names of the two rules of ``with-scope``.
    """

    cut: float | None = None
    embedding: str = ""
    prototypes: int = 32
    seed: int = 0
    lower: tuple[str, int] | None = None
    upper: tuple[str, int] | None = None
    coverage: float = 0.9
    skip: tuple[int, ...] = ()
    lengths: str = ""
    output: str = ""
    column: int = 0
    negate: bool = False
    confidence: str = "max-probability"
    scope: str = "energy"


@dataclass(frozen=True, slots=True)
class Samples:
    """See ``fit.fit_rule``."""

    outputs: Mapping[str, Array]
    decision: str
    y: Array | None
    lost: Array | None
    scale: tuple[float, int]
    hints: Hints

    def known(self, classes: float = inf, *, decided: bool = False) -> tuple[Array, Array]:
        """(N,) of bool, which samples are of a class in 0..classes - 1, and those classes.

        decided: whether ``y`` may be a classifier's output too, whose winners count.
        """
        if self.y is None:
            raise DataError("this rule is fitted to classes: the true ones, or those that upstream decided")
        y = winners(self.y) if self.y.ndim == 2 and decided else self.y
        if y.shape != (len(self.outputs[self.decision]),) or y.dtype.kind not in "iu":
            raise DataError(f"classes are integers, one for each sample, not {y.dtype}{y.shape}")
        inside = (y >= 0) & (y < classes)
        if not inside.any():
            raise DataError("no sample is of a class that the model knows")
        return inside, y[inside].astype(np.int64)

    def values(self) -> Array:
        """(N,) the numbers that predictions are held against."""
        y = self.y
        if y is None or y.dtype.kind not in "iuf" or y.size != len(self.outputs[self.decision]):
            raise DataError("this rule is fitted to one number for each sample: the true one, or upstream's")
        found: Array = y.reshape(-1).astype(np.float64)
        if not np.isfinite(found).all():
            raise DataError("the numbers that predictions are held against are finite")
        return found
