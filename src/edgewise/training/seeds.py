"""Chance that can be asked twice: every random choice of a run is a function of the run's seed and of where it is made."""

__all__ = ["seed_at"]

_MASK = (1 << 64) - 1
_LIMIT = (1 << 31) - 1  # int32, int64 and every random generator take what is below


def seed_at(seed: int, step: int) -> int:
    """The seed for one step of a run, 0..2**31-2, unrelated to those of its neighbours (splitmix64, Steele et al. 2014)."""
    return _mixed(_mixed(seed & _MASK) + step) % _LIMIT


def _mixed(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
