"""Learning a head from calibration samples, by the same engine that trains networks: a step of forward, loss and optimiser.

**What is chosen, and by what.** Candidates differ in what they read and in whether they are straight or curved; each is
cross-validated on the samples that are given, by log loss, and one is learnt once more: the simplest, unless another one is better
by more than the standard error of the difference (Breiman et al. 1984, section 3.4.3). The samples by which a threshold is promised
(``risk``) must not be among them: a head fits those it saw, so that on them its scores look better than they are, and the promise
would be broken. ``parts`` divides. It divides blindly on purpose: with as many disagreements in each part as in the other, losses
among the promise's samples would no longer be binomial.

**What it costs.** Samples that teach a head are lost for the promise, which is dearer with fewer. A head that knows little more
than the best of the simple rules does is not worth them: ``Learnt.helps``.

**Few disagreements.** A device that agrees in 97 of 100 leaves little to learn the other three from. Folds are therefore drawn with
disagreements in proportion, the head starts from the log odds of agreement, and where there are too few there is no head.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from edgewise.errors import DataError
from edgewise.routing.head.head import Head, Layer, feature_count, joined_inputs, kind_of, simple_scores
from edgewise.routing.head.network import Learning, Network, Weights, log_loss
from edgewise.routing.head.reading import Seen, read_samples
from edgewise.runtime.engine import Array

__all__ = ["LEAST", "Learnt", "learn_from", "learn_head", "parts"]

#: Disagreements (and agreements) without which there is nothing to learn: four in each of five folds.
LEAST = 20
_CLEAR = 2.0  # standard errors


@dataclass(frozen=True, slots=True)
class Learnt:
    """head: of the candidate that was chosen. tried: candidate -> its cross-validated log loss, nats, simplest first. simple:
    the same of each rule without a head, rescaled as well as a straight line can; gain: how far the chosen candidate is below the
    best of these, error: the standard error of that. samples, disagreements: learnt from.
    """

    head: Head
    tried: Mapping[str, float]
    simple: Mapping[str, float]
    gain: float
    error: float
    samples: int
    disagreements: int

    @property
    def helps(self) -> bool:
        """Whether the head clearly says more than every rule without one."""
        return self.gain > _CLEAR * self.error


def parts(samples: int, seed: int, share: float = 0.3) -> tuple[Array, Array]:
    """Indices to learn a head from, a ``share`` of them, and those by which to promise; drawn blindly, none in both."""
    order = np.random.default_rng(seed).permutation(samples)
    first = round(share * samples)
    return np.sort(order[:first]), np.sort(order[first:])


def learn_head(
    model: bytes, inputs: Mapping[str, Array], disagree: Array, *, output: str, settings: Learning | None = None,
    external: Mapping[str, bytes] | None = None,
) -> Learnt:  # fmt: skip
    """A head for ``model`` that predicts whether its decision is upstream's, from samples that no promise is made by.

    inputs: the model's own names -> (N, ...). disagree: (N,) of bool, where its decision is not upstream's (or not the label).
    output: its output that decides. external: as ``join_head``. Raises DataError for arrays that do not fit and where there are
    too few disagreements or agreements, otherwise as ``join_head``.
    """
    settings = settings or Learning()
    for name, array in inputs.items():
        if len(array) != len(disagree):
            raise DataError(f"{name} has {len(array)} samples, and it is known of {len(disagree)} who disagrees")
    _require_both(disagree)
    wants = settings.read_hidden and len(disagree) >= settings.curved_from
    return learn_from(read_samples(model, inputs, output, external, hidden=wants), disagree, output, settings)


def learn_from(seen: Seen, disagree: Array, output: str, settings: Learning) -> Learnt:
    """The same from what was read of the model already: for many draws of one set of samples."""
    _require_both(disagree)
    agree = ~disagree
    if len(seen.features) != len(agree):
        raise DataError(f"{len(seen.features)} samples were read, and it is known of {len(agree)} who disagrees")
    line = Network(1, 0, settings)
    simple = {
        name: _validated(line, score[:, None], agree, settings)
        for name, score in simple_scores(seen.features, seen.classes).items()
    }
    tried: dict[str, float] = {}
    best: tuple[Array, Network, Array] | None = None
    for inputs, units in _candidates(seen, len(agree), settings):
        network = Network(inputs.shape[1], units, settings)
        lost = _validated(network, inputs, agree, settings)
        tried[kind_of(curved=units > 0, hidden=inputs is not seen.features)] = float(lost.mean())
        if best is None or np.subtract(*_difference(best[0], lost)) > 0:
            best = lost, network, inputs
    assert best is not None
    lost, network, inputs = best
    head = _head(network.train(inputs, agree, _folds(agree, settings) == 0), seen, output, inputs.shape[1])
    gain, error = _difference(min(simple.values(), key=lambda losses: float(losses.mean())), lost)
    means = {name: float(losses.mean()) for name, losses in simple.items()}
    return Learnt(head, tried, means, gain, error, len(agree), int(disagree.sum()))


def _candidates(seen: Seen, samples: int, settings: Learning) -> Iterator[tuple[Array, int]]:
    """What each reads, and its hidden units; the simplest first."""
    yield seen.features, 0
    if samples >= settings.curved_from:
        yield seen.features, settings.units
        if settings.read_hidden and seen.hidden is not None:
            both = joined_inputs(seen.features, seen.hidden)
            yield both, 0
            yield both, settings.units


def _difference(first: Array, second: Array) -> tuple[float, float]:
    """Mean of what the second lost less, sample by sample, and its standard error."""
    less = first - second
    return float(less.mean()), float(less.std(ddof=1) / len(less) ** 0.5)


def _head(weights: Weights, seen: Seen, output: str, width: int) -> Head:
    old, small = weights.layer, None
    if old is not None:
        small = Layer(*(each.astype(np.float32) for each in (old.entering, old.bias, old.leaving)))
    hidden = width - feature_count(seen.classes)
    return Head(output, seen.form, seen.classes, weights.line.astype(np.float32), weights.bias, small, hidden)


def _validated(network: Network, inputs: Array, agree: Array, settings: Learning) -> Array:
    """(N,) log loss of samples by heads that did not see them, neither to learn from nor to stop by."""
    fold = _folds(agree, settings)
    odds = np.empty(len(agree))
    for at in range(settings.folds):
        out = fold == at
        weights = network.train(inputs[~out], agree[~out], fold[~out] == (at + 1) % settings.folds)
        odds[out] = weights.of(inputs[out])
    return log_loss(odds, agree)


def _folds(agree: Array, settings: Learning) -> Array:
    """(N,) a fold for each sample, those that disagree in proportion."""
    fold, draw = np.empty(len(agree), int), np.random.default_rng(settings.seed)
    for side in (agree, ~agree):
        fold[draw.permutation(np.flatnonzero(side))] = np.arange(side.sum()) % settings.folds
    return fold


def _require_both(disagree: Array) -> None:
    if disagree.ndim != 1 or disagree.dtype.kind != "b":
        raise DataError(f"disagreement is (N,) of bool, not {disagree.dtype}{disagree.shape}")
    few = min(int(disagree.sum()), int((~disagree).sum()))
    if few < LEAST:
        raise DataError(
            f"of {len(disagree)} samples the two disagree on {int(disagree.sum())}: nothing can be learnt from so few of a kind",
            remedy=f"Give samples with {LEAST} disagreements at least, or defer by max-probability, which needs none.",
            disagreements=int(disagree.sum()),
        )
