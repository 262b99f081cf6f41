"""The bootstrap covers, repeats, keeps groups whole and strata full, and is bounded in memory."""

import numpy as np
import pytest

from edgewise.errors import DataError
from edgewise.measure.estimator import mean_of
from edgewise.measure.resampling import Drawing, bootstrap, paired_bootstrap


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_interval_of_a_mean_covers_and_repeats() -> None:
    chance = seeded(1)
    hits = 0
    for _ in range(300):
        low, high = bootstrap(mean_of(chance.normal(size=80)), Drawing(80), chance=chance, count=300)
        hits += low <= 0 <= high
    assert 0.90 <= hits / 300 <= 0.98
    mean = mean_of(chance.normal(size=50))
    assert bootstrap(mean, Drawing(50), chance=seeded()) == bootstrap(mean, Drawing(50), chance=seeded())
    assert bootstrap(mean, Drawing(50), chance=seeded()) != bootstrap(mean, Drawing(50), chance=seeded(1))


def test_a_higher_confidence_gives_a_wider_interval() -> None:
    mean = mean_of(seeded().normal(size=100))
    narrow = bootstrap(mean, Drawing(100), chance=seeded(), confidence=0.5)
    wide = bootstrap(mean, Drawing(100), chance=seeded(), confidence=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_a_row_of_weights_draws_as_many_samples_as_there_are() -> None:
    weights = np.concatenate(list(Drawing(30).blocks(seeded(), 50)))
    assert weights.shape == (50, 30)
    assert (weights.sum(axis=1) == 30).all()
    assert weights.std() > 0.5


def test_groups_are_drawn_whole() -> None:
    group = np.array(["b", "a", "a", "c", "b", "a"])
    weights = np.concatenate(list(Drawing(6, group).blocks(seeded(), 40)))
    for name in "abc":
        assert (weights[:, group == name] == weights[:, group == name][:, :1]).all()
    firsts = weights[:, [1, 0, 3]]  # one member of each group
    assert (firsts.sum(axis=1) == 3).all()


def test_strata_keep_their_sizes() -> None:
    strata = np.array([0, 1, 0, 0, 1, 0, 0])
    weights = np.concatenate(list(Drawing(7, strata=strata).blocks(seeded(), 40)))
    assert (weights[:, strata == 1].sum(axis=1) == 2).all()
    assert (weights[:, strata == 0].sum(axis=1) == 5).all()
    assert (weights != 1).any()


@pytest.mark.parametrize("drawing", [Drawing(300_000), Drawing(10, width=300_000)], ids=["samples", "width"])
def test_blocks_bound_the_memory(drawing: Drawing) -> None:
    sizes = [len(weights) for weights in drawing.blocks(seeded(), 10)]
    assert sum(sizes) == 10
    assert max(sizes) * 300_000 * 8 <= 8 << 20


def test_pairing_takes_away_what_both_have_in_common() -> None:
    common = seeded().normal(size=200) * 10
    first, second = mean_of(common), mean_of(common + 0.5 + seeded(1).normal(size=200) * 0.1)
    low, high = paired_bootstrap(first, second, Drawing(200), chance=seeded())
    assert 0.4 < low < 0.5 < high < 0.6
    alone = bootstrap(first, Drawing(200), chance=seeded())
    assert alone[1] - alone[0] > 20 * (high - low)


def test_what_gives_no_interval_is_refused_in_words() -> None:
    with pytest.raises(DataError, match="a single sample"):
        Drawing(1)
    with pytest.raises(DataError, match="a single group"):
        Drawing(5, np.zeros(5))
    with pytest.raises(DataError, match=r"group has the shape \(4,\)"):
        Drawing(5, np.arange(4))
    with pytest.raises(DataError, match="undefined on every"):
        bootstrap(lambda weights: np.full(len(weights), np.nan), Drawing(5), chance=seeded())
    with pytest.raises(DataError, match="confidence"):
        bootstrap(mean_of(np.arange(5)), Drawing(5), chance=seeded(), confidence=95)
