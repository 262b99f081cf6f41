"""Fitting the rules by likeness: class means, centres of k-means, and how samples of one class scatter."""

import numpy as np

from edgewise.errors import DataError
from edgewise.routing.rules.prototypes import Mahalanobis, PrototypeRatio, PrototypeSimilarity
from edgewise.routing.rules.samples import Samples
from edgewise.routing.rules.source import NeedyRule, Source, find_source
from edgewise.routing.rules.table import Table
from edgewise.runtime.engine import Array

__all__ = ["centres", "fit_prototypes"]

_ROUNDS = 50
_FLATTEST = 1e-6  # of a direction's scatter, over the mean of all


def fit_prototypes(name: str, samples: Samples) -> NeedyRule:
    """``prototype-similarity``, ``prototype-ratio`` or ``mahalanobis``."""
    source = _compared(samples)
    rows = source.rows(samples.outputs)
    if not np.isfinite(rows).all() or rows.shape[1] < 2:
        raise DataError(f"the output {source.output!r} has no vectors of two or more finite values")
    if name == "mahalanobis":
        return _mahalanobis(source, rows, samples)
    length = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    if not (length > 0).all():
        raise DataError(f"an embedding in {source.output!r} is zero, and has no direction")
    prototypes, group = _prototypes(rows / length, samples)
    if name == "prototype-similarity":
        return PrototypeSimilarity(source, Table.of(prototypes))
    if len(prototypes) < 2:
        raise DataError("a ratio needs samples of two classes or more")
    return PrototypeRatio(source, Table.of(prototypes), group)


def _compared(samples: Samples) -> Source:
    named = samples.hints.embedding
    if named and named not in samples.outputs:
        raise DataError(f"there is no output {named!r}; the model has {', '.join(samples.outputs)}")
    if named and named != samples.decision:
        return Source(named, "values")
    decision = samples.outputs[samples.decision]
    if decision.dtype.kind == "f" or samples.scale != (1.0, 0):
        return Source(samples.decision, "values", *samples.scale)
    found = find_source(samples.outputs, samples.decision, samples.scale)
    return Source(found.output, "values", found.scale, found.zero)


def _prototypes(rows: Array, samples: Samples) -> tuple[Array, tuple[int, ...]]:
    if samples.y is None or samples.y.ndim != 1 or samples.y.dtype.kind not in "iu":
        return centres(rows, samples.hints.prototypes, samples.hints.seed), ()
    known, y = samples.known()
    group = np.unique(y)
    means = np.stack([rows[known][y == label].mean(axis=0) for label in group])
    length = np.sqrt(np.square(means).sum(axis=1, keepdims=True))
    if not (length > 0).all():
        raise DataError("a class has embeddings that cancel out, so that it has no mean direction")
    return means / length, tuple(group.tolist())


def centres(rows: Array, count: int, seed: int) -> Array:
    """(count or fewer, d) of length one, by spherical k-means (Dhillon and Modha 2001) of rows of length one, from k-means++."""
    chance = np.random.default_rng(seed)
    chosen = [int(chance.integers(len(rows)))]
    nearest = 1 - rows @ rows[chosen[0]]
    while len(chosen) < min(count, len(rows)):
        away = np.maximum(nearest, 0)
        if away.sum() <= _FLATTEST:
            break  # every direction there is has a centre
        chosen.append(int(chance.choice(len(rows), p=away / away.sum())))
        nearest = np.minimum(nearest, 1 - rows @ rows[chosen[-1]])
    found, before = rows[chosen], None
    for _ in range(_ROUNDS):
        own = (rows @ found.T).argmax(axis=1)
        if before is not None and (own == before).all():
            break
        sums = np.zeros_like(found)
        np.add.at(sums, own, rows)
        length = np.sqrt(np.square(sums).sum(axis=1, keepdims=True))
        found, before = np.where(length > 0, sums / np.where(length > 0, length, 1), found), own
    return found


def _mahalanobis(source: Source, rows: Array, samples: Samples) -> Mahalanobis:
    known, y = samples.known()
    rows = rows[known]
    names, at = np.unique(y, return_inverse=True)
    means = np.stack([rows[at == label].mean(axis=0) for label in range(len(names))])
    scatter = rows - means[at]
    wide = np.sqrt(np.square(scatter).mean(axis=0))
    if not wide.any():
        raise DataError("samples of one class are all alike: how they scatter is not known")
    wide = np.maximum(wide, _FLATTEST * wide.max())
    scatter /= wide  # so that no value counts more for its unit when few samples are made up for
    spread, turned = np.linalg.eigh(_shrunk(scatter.T @ scatter / len(rows), max(1, len(rows) - len(names))))
    whiten = turned / wide[:, None] / np.sqrt(np.maximum(spread, _FLATTEST * spread.mean()))
    return Mahalanobis(source, Table.of(whiten), Table.of(means @ whiten))


def _shrunk(covariance: Array, samples: int) -> Array:
    """A covariance drawn to a ball by as much as so few samples call for: OAS (Chen et al. 2010, arXiv 0907.4698, equation 23)."""
    size, trace = len(covariance), float(np.trace(covariance))
    square = float(np.square(covariance).sum())
    below = (samples + 1 - 2 / size) * (square - trace**2 / size)
    share = min(1.0, ((1 - 2 / size) * square + trace**2) / below) if below > 0 else 1.0
    found: Array = (1 - share) * covariance + share * trace / size * np.eye(size)
    return found
