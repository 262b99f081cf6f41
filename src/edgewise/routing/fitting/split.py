"""Which calibration samples choose, and which ones the promise is made on."""

from dataclasses import dataclass

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.npz import Array

__all__ = ["CHOOSING", "Split", "split"]

#: Share that chooses: rules and variants differ by more than a fifth of the samples can miss, and a promise made on four
#: fifths costs a tenth more than on all.
CHOOSING = 0.2
_FEWEST = 60  # that choose: fewer cannot tell two rules apart


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """choosing, promising: indices of samples, ascending, without one in both. choosing is empty where nothing is chosen."""

    choosing: Array
    promising: Array


def split(samples: int, *, choice: bool, block: Array | None = None, share: float = CHOOSING, seed: int = 0) -> Split:
    """By chance, blocks whole. choice: whether there is anything to choose; if not, all samples are for the promise.

    Raises DataError where there are too few samples, or blocks, to choose with.
    """
    everything = np.arange(samples)
    if not choice:
        return Split(everything[:0], everything)
    units = everything if block is None else np.unique(block)
    count = max(round(share * len(units)), min(_FEWEST, len(units) // 3))
    if not 0 < count < len(units):
        raise DataError(
            f"{len(units)} {'samples' if block is None else 'blocks'} are too few to choose with and to promise with",
            remedy="Name one variant and one rule, so that nothing is to be chosen, or record more samples.",
        )
    chosen = np.random.default_rng(seed).permutation(units)[:count]
    choosing = np.isin(everything if block is None else block, chosen)
    return Split(everything[choosing], everything[~choosing])
