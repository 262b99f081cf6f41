"""Changed scores are found without labels; unchanged ones raise an alarm no more often than stated, however few were calibrated."""

import json
import math
from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.routing.watch.streams import confident, digits, drawn, most_often

from edgewise.errors import DataError, DocumentError
from edgewise.routing.watch.drift import Drift, Sketch, begin_drift, read_drift, read_sketch, sketch

Array = np.ndarray


def alarm(drift: Drift, scores: Array, chance: np.random.Generator) -> int | None:
    """After how many of ``scores`` there is an alarm."""
    edges = list(zip(scores.tolist(), chance.random(len(scores)).tolist(), strict=True))
    for start in range(0, len(edges), 64):
        after = drift.observe_all(edges[start : start + 64])
        if after.drifted:
            for at, edge in enumerate(edges[start : start + 64], start + 1):
                drift = drift.observe(*edge)
                if drift.drifted:
                    return at
        drift = after
    return None


def false_alarms(calibrated: int, inputs: int, runs: int, digits_kept: int | None = None, **options: Any) -> int:
    count = 0
    for run in range(runs):
        chance = np.random.default_rng((run, calibrated))
        scores = chance.beta(4, 1, calibrated + inputs)
        if digits_kept is not None:
            scores = scores.round(digits_kept)
        drift = begin_drift(sketch(scores[:calibrated], chance), **options)
        count += alarm(drift, scores[calibrated:], chance) is not None
    return count


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1000), seen=st.integers(0, 300), way=st.sampled_from(["never", "spending"]))
def test_no_score_gains_anything_on_the_mean_while_ranks_are_uniform(seed: int, seen: int, way: str) -> None:
    """The one law that everything rests on, exactly: over the urn's next bin, the fortune stays what it is."""
    chance = np.random.default_rng(seed)
    drawing = sketch(chance.random(100), chance, bins=5)
    drift = begin_drift(drawing, way=way, alpha=1e-12)  # type: ignore[arg-type]
    drift = drift.observe_all(zip((chance.random(seen) ** 1.5).tolist(), [0.5] * seen, strict=True))
    urn = np.array(drawing.gaps) + np.array(drift.seen)
    places = [drawing.edges[0][0] - 1, *(edge[0] + 1e-9 for edge in drawing.edges)]
    after = [drift.observe(place, 0.5) for place in places]
    assert [sum(item.seen) - seen for item in after] == [1] * 5
    mean = sum(share * item.e_value for share, item in zip(urn / urn.sum(), after, strict=True))
    assert mean == pytest.approx(drift.e_value, rel=1e-9)


def test_scores_fall_into_bins_as_the_urn_says_even_where_few_were_calibrated() -> None:
    """The second score too, given the first: 20 calibration scores in 2 bins, 21 gaps, then 22."""
    counted: Counter[tuple[int, ...]] = Counter()
    chance = np.random.default_rng(0)
    runs = 20_000
    for scores in chance.standard_normal((runs, 22)):
        drawing = sketch(scores[:20], chance, bins=2)
        counted[tuple(int(score >= drawing.edges[0][0]) for score in scores[20:])] += 1
    assert sketch(chance.random(20), chance, bins=2).gaps == (10, 11)
    for (first, second), expected in {
        (0, 0): 10 * 11, (0, 1): 10 * 11, (1, 0): 11 * 10, (1, 1): 11 * 12,
    }.items():  # fmt: skip
        share = expected / (21 * 22)
        assert abs(counted[first, second] / runs - share) < 4 * math.sqrt(share / runs)


@pytest.mark.parametrize(("calibrated", "kept"), [(60, None), (300, 1)])
def test_an_alarm_without_a_change_is_no_more_often_than_it_says(calibrated: int, kept: int | None) -> None:
    """With few calibration scores, and with scores of eleven values too; alpha is large here, so that there is something to see."""
    count = false_alarms(calibrated, 500, 150, kept, alpha=0.2, block=32)
    assert 0 < count <= most_often(0.2, 150)


@pytest.mark.long
@pytest.mark.parametrize(("calibrated", "alpha", "kept"), [(100, 0.05, None), (1000, 0.01, None), (300, 0.05, 1)])
def test_over_two_thousand_runs_too(calibrated: int, alpha: float, kept: int | None) -> None:
    assert false_alarms(calibrated, 3000, 2000, kept, alpha=alpha) <= most_often(alpha, 2000)


def test_running_alarms_are_as_far_apart_as_it_says() -> None:
    waits = []
    for run in range(150):
        chance = np.random.default_rng(run)
        drift = begin_drift(sketch(chance.random(500), chance), 0.1, way="running", block=32)
        waits.append(alarm(drift, chance.random(6000), chance) or 6000)
    assert drift.plan.restarts.run_length == pytest.approx(288)
    assert np.mean(waits) - 3 * np.std(waits) / math.sqrt(150) > 288


@pytest.mark.parametrize(("kind", "most"), [((3, 1), 400), ((2, 1), 120), ((8, 1), 300), ((20, 3), 300)])
@pytest.mark.parametrize("before", [0, 3000])
def test_a_change_is_found_in_a_few_hundred_scores(kind: tuple[float, float], most: int, before: int) -> None:
    """Less sure, much less sure, surer, and neither but otherwise; at once, and after a time without a change."""
    waits = []
    for run in range(9):
        chance = np.random.default_rng(run)
        drift = begin_drift(sketch(chance.beta(4, 1, 1000), chance))
        scores = np.concatenate([chance.beta(4, 1, before), chance.beta(*kind, 2500)])
        waits.append((alarm(drift, scores, chance) or len(scores)) - before)
    assert min(waits) > 0
    assert np.median(waits) <= most


def test_noise_in_front_of_a_camera_is_found_in_a_few_hundred_images() -> None:
    usual, noisy, waits = digits(0.36), digits(0.5), []
    for run in range(15):
        chance = np.random.default_rng(run)
        drift = begin_drift(sketch(drawn(usual, 1000, chance)[0], chance))
        scores = np.concatenate([drawn(usual, 1000, chance)[0], drawn(noisy, 2000, chance)[0]])
        waits.append((alarm(drift, scores, chance) or 3000) - 1000)
    assert np.median(waits) <= 300
    assert np.mean(np.array(waits) <= 0) < 0.1


def test_confident_errors_are_not_seen_at_all() -> None:
    usual, found = digits(0.36), 0
    for run in range(10):
        chance = np.random.default_rng(run)
        drift = begin_drift(sketch(drawn(usual, 1000, chance)[0], chance))
        scores, wrong = confident(usual, 0.3, 2000, chance)
        assert wrong.mean() > 0.3
        found += alarm(drift, scores, chance) is not None
    assert found <= 1


def test_of_late_means_this_block_and_the_one_before() -> None:
    """What the histogram's gambler knows: anything older would keep him from seeing what is new."""
    chance = np.random.default_rng(0)
    drift = begin_drift(sketch(chance.random(100), chance, bins=2), block=10)
    for scores, late in (
        ([0.0] * 10, ((0, 0), (10, 0))),
        ([1.0] * 13, ((0, 3), (0, 10))),
        ([0.0] * 7, ((0, 0), (7, 3))),
    ):
        drift = drift.observe_all((score, 0.5) for score in scores)
        assert drift.late == late


def test_the_rank_says_which_way_scores_went() -> None:
    chance = np.random.default_rng(0)
    start = begin_drift(sketch(chance.random(500), chance))
    assert start.rank == 0.5

    def after(scores: Array) -> float:
        return start.observe_all((score, 0.5) for score in scores.tolist()).rank

    assert after(chance.random(100) * 0.5) < 0.3
    assert after(chance.random(100)) == pytest.approx(0.5, abs=0.1)
    assert after(0.5 + chance.random(100) * 0.5) > 0.7


def test_scores_at_once_are_as_one_after_the_other() -> None:
    chance = np.random.default_rng(1)
    one = many = begin_drift(sketch(chance.random(200), chance))
    edges = [(float(score), float(coin)) for score, coin in chance.random((150, 2))]
    for edge in edges:
        one = one.observe(*edge)
    many = many.observe_all(edges)
    assert (one.seen, one.late, one.drifted) == (many.seen, many.late, many.drifted)
    np.testing.assert_allclose(one.fortunes, many.fortunes)
    assert one.inputs == 150


def test_a_sketch_is_small_and_says_how_scores_lie() -> None:
    scores = np.random.default_rng(0).random(100_000)
    drawing = sketch(scores, np.random.default_rng(0))
    assert sum(drawing.gaps) == len(scores) + 1
    assert [edge[0] for edge in drawing.edges] == pytest.approx(np.arange(1, 16) / 16, abs=0.01)
    assert len(json.dumps(drawing.to_json())) < 1000
    assert read_sketch(json.loads(json.dumps(drawing.to_json()))) == drawing


def test_one_value_alone_raises_no_alarm_and_another_one_does() -> None:
    chance = np.random.default_rng(0)
    drift = begin_drift(sketch(np.ones(400), chance))
    assert alarm(drift, np.ones(3000), chance) is None
    assert alarm(drift, np.full(3000, 0.5), chance) is not None


@pytest.mark.parametrize(
    "scores", [np.ones(31), np.ones((64, 1)), np.ones(64, int), np.full(64, np.nan), np.full(64, np.inf), np.ones(0)]
)
def test_what_cannot_be_drawn_is_refused(scores: Array) -> None:
    with pytest.raises(DataError, match="a sketch in 16 bins"):
        sketch(scores, np.random.default_rng(0))


def state() -> Drift:
    chance = np.random.default_rng(2)
    drift = begin_drift(sketch(chance.random(200), chance), 0.05)
    return drift.observe_all(zip(chance.random(100).tolist(), chance.random(100).tolist(), strict=True))


def test_a_restart_forgets_nothing() -> None:
    again = read_drift(json.loads(json.dumps(state().to_json())))
    assert again == state()
    more = partial(Drift.observe_all, scores=[(0.1, 0.2)] * 50)
    assert more(again) == more(state())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sketch", None), ("sketch", {"edges": [], "gaps": []}), ("restarts", 3), ("fortunes", [1.0]), ("fortunes", [1e200] * 7),
        ("fortunes", [-1.0] * 7), ("seen", [1] * 3), ("seen", [-1] * 16), ("seen", [1.5] * 16), ("late", [[0] * 16]),
        ("late", [[9] * 16, [0] * 16]), ("late", [[0] * 15, [0] * 16]), ("late", 7), ("drifted", "no"),
    ],
)  # fmt: skip
def test_a_state_from_a_disk_is_not_believed(field: str, value: Any) -> None:
    good = state().to_json()
    with pytest.raises(DocumentError):
        read_drift({**good, field: value})
    with pytest.raises(DocumentError):
        read_drift({name: item for name, item in good.items() if name != field})


@pytest.mark.parametrize(
    "value",
    [
        None, {}, {"edges": [[0.5, 0.1]], "gaps": [1]}, {"edges": [[0.5, 2]], "gaps": [1, 1]}, {"edges": [[0.5]], "gaps": [1, 1]},
        {"edges": [[0.5, 0.1]], "gaps": [0, 1]}, {"edges": [[0.5, 0.1], [0.4, 0.1]], "gaps": [1, 1, 1]},
        {"edges": [[math.inf, 0.1]], "gaps": [1, 1]}, {"edges": [[0.5, 0.1]] * 300, "gaps": [1] * 301},
    ],
)  # fmt: skip
def test_a_sketch_from_a_file_is_not_believed(value: Any) -> None:
    with pytest.raises(DocumentError):
        read_sketch(value)


def test_a_sketch_can_be_written_by_hand() -> None:
    drift = begin_drift(Sketch(((0.5, 0.5),), (10, 11)))
    assert drift.observe(0.5, 0.4).seen == (1, 0)
    assert drift.observe(0.5, 0.6).seen == (0, 1)
