"""Randomness as a pure function of where in the training one is, so that a resumed run draws what the first one drew."""

import numpy as np

__all__ = ["chance"]

_WORD = 2**64


def chance(seed: int, *path: int) -> np.random.Generator:
    """The generator of one place: the epoch, the batch, what it is for. Different paths are independent streams.

    A counter-based generator (Philox: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") keyed through
    NumPy's SeedSequence. What a Generator draws is the same on every machine for one version of NumPy (NEP 19).
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed % _WORD, spawn_key=path)))
