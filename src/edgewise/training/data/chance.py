"""Randomness as a pure function of where in the training one is, so that a resumed run draws what the first one drew."""

import numpy as np

__all__ = ["chance", "seed_at"]

_WORD = 2**64
_LIMIT = (1 << 31) - 1  # int32, int64 and every random generator take what is below


def chance(seed: int, *path: int) -> np.random.Generator:
    """The generator of one place: the epoch, the batch, what it is for. Different paths are independent streams.

    A counter-based generator (Philox: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") keyed through
    NumPy's SeedSequence. What a Generator draws is the same on every machine for one version of NumPy (NEP 19).
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed % _WORD, spawn_key=path)))


def seed_at(seed: int, step: int) -> int:
    """The seed for one step of a run, 0..2**31-2, unrelated to those of its neighbours (splitmix64, Steele et al. 2014)."""
    return _mixed(_mixed(seed % _WORD) + step) % _LIMIT


def _mixed(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) % _WORD
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) % _WORD
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % _WORD
    return value ^ (value >> 31)
