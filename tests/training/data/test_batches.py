"""Batches are a pure function of (seed, epoch, number): the same bytes whenever they are asked for."""

import threading
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.errors import DataError, InputError
from edgewise.measure.dataset import Dataset
from edgewise.training.augment.mix import Mixup, soft_labels
from edgewise.training.augment.registry import parse_augmentations
from edgewise.training.data.batches import (
    SAMPLE_WEIGHT,
    ArrayBatches,
    Batches,
    MixedBatches,
    Part,
    StreamBatches,
    arrays_of,
)
from edgewise.training.data.chance import chance
from edgewise.training.data.ordering import Balanced, InOrder, Order, Shuffled, Weighted, endless
from edgewise.training.data.prefetch import Prefetched


def _arrays(total: int) -> dict[str, Any]:
    rng = np.random.default_rng(total)
    return {
        "x": rng.standard_normal((total, 6, 3)).astype(np.float32),
        "target": np.arange(total) % 3,
        "row": np.arange(total),
    }


def _orders(total: int) -> list[Order]:
    return [InOrder(), Shuffled(), Balanced(np.arange(total) ** 2 % 3), Weighted(np.arange(total) + 1.0)]


def _bytes(batches: Batches, seed: int, epoch: int, start: int = 0) -> list[dict[str, bytes]]:
    return [{name: array.tobytes() for name, array in batch.items()} for batch in batches.epoch(seed, epoch, start)]


@st.composite
def _batches(draw: st.DrawFn) -> Batches:
    total = draw(st.integers(1, 40))
    size = draw(st.integers(1, total))
    steps = parse_augmentations("scale,rotate,jitter,timewarp=0.2:3,channels,shift=2,speed", "sensor")
    kind = draw(st.sampled_from(["array", "mixed", "stream"]))
    if kind == "mixed":
        other = draw(st.integers(1, 40))
        parts = (Part(_arrays(total), draw(st.floats(0.1, 3)), steps), Part(_arrays(other), draw(st.floats(0.1, 3))))
        return MixedBatches(parts, max(2, size))
    last = draw(st.sampled_from(["keep", "drop", "pad"]))
    array = ArrayBatches(_arrays(total), size, draw(st.sampled_from(_orders(total))), last, steps)
    if kind == "stream":
        return StreamBatches(array.epoch, len(array))
    return array


@given(_batches(), st.integers(0, 2**63), st.integers(0, 5), st.data())
@settings(max_examples=60, deadline=None)
def test_an_epoch_from_a_start_is_the_rest_of_the_epoch(
    batches: Batches, seed: int, epoch: int, data: st.DataObject
) -> None:
    whole = _bytes(batches, seed, epoch)
    start = data.draw(st.integers(0, len(whole)))
    assert len(whole) == len(batches)
    assert _bytes(batches, seed, epoch, start) == whole[start:]
    assert _bytes(Prefetched(batches), seed, epoch, start) == whole[start:]


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_a_shuffled_epoch_has_every_sample_once(total: int, size: int, epoch: int) -> None:
    batches = ArrayBatches(_arrays(total), size)
    rows = np.concatenate([batch["row"] for batch in batches.epoch(1, epoch)])
    assert sorted(rows) == list(range(total))


def test_another_epoch_or_seed_is_another_order() -> None:
    batches = ArrayBatches(_arrays(50), 50)
    assert len({str(_bytes(batches, seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_names_come_from_the_caller_and_targets_have_the_types_of_losses() -> None:
    data = Dataset(np.zeros((3, 2), np.uint8), np.array([0, 1, 2], np.int8))
    assert {name: str(array.dtype) for name, array in arrays_of(data, "pixels", "class").items()} == {
        "pixels": "uint8",
        "class": "int64",
    }
    assert arrays_of(Dataset(np.zeros((1, 1)), np.zeros(1)))["target"].dtype == np.float32


def test_padded_batches_have_one_size_and_what_was_added_weighs_nothing() -> None:
    batches = list(ArrayBatches(_arrays(10), 4, last="pad").epoch(0, 0))
    assert [len(batch["x"]) for batch in batches] == [4, 4, 4]
    assert [batch[SAMPLE_WEIGHT].tolist() for batch in batches] == [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 0, 0]]
    counted = np.concatenate([batch["row"][batch[SAMPLE_WEIGHT] > 0] for batch in batches])
    assert sorted(counted) == list(range(10))


def test_a_batch_is_filled_up_with_as_many_others_as_there_are() -> None:
    """Normalisation sees what fills a batch too: one sample many times over would distort it."""
    *_, last = ArrayBatches(_arrays(9), 8, last="pad").epoch(0, 0)
    assert len(set(last["row"][1:])) == 7


def test_weights_of_samples_travel_with_them() -> None:
    arrays = {**_arrays(7), SAMPLE_WEIGHT: np.arange(7, dtype=np.float32) + 1}
    for batch in ArrayBatches(arrays, 4, last="pad").epoch(3, 0):
        kept = batch[SAMPLE_WEIGHT] > 0
        assert (batch[SAMPLE_WEIGHT][kept] == batch["row"][kept] + 1).all()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=50), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_balanced_epochs_show_every_class_equally_often(classes: list[int], seed: int) -> None:
    y = np.array(classes)
    rows = Balanced(y).rows(len(y), chance(seed))
    assert len(rows) == Balanced(y).count(len(y)) >= len(y)
    assert len({int((y[rows] == value).sum()) for value in np.unique(y)}) == 1


def test_a_weight_of_nothing_is_never_drawn() -> None:
    weights = np.array([0.0, 1.0, 0.0, 3.0, 0.0])
    rows = np.concatenate([Weighted(weights).rows(5, chance(0, at)) for at in range(400)])
    assert set(rows) == {1, 3}
    assert abs((rows == 3).mean() - 0.75) < 0.05


@given(st.integers(1, 20), st.integers(0, 60), st.integers(1, 60), st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_the_endless_sequence_is_one_sequence(total: int, start: int, count: int, seed: int) -> None:
    whole = endless(total, 0, start + count, seed, 7)
    assert endless(total, start, count, seed, 7).tolist() == whole[start:].tolist()
    laps = [whole[at : at + total] for at in range(0, len(whole) - total + 1, total)]
    assert all(sorted(lap) == list(range(total)) for lap in laps)


def test_mixed_batches_keep_their_shares_and_see_the_old_data_whole() -> None:
    old = {**_arrays(30), "row": np.arange(30) + 1000}
    mixed = MixedBatches((Part(_arrays(20), 3), Part(old, 1)), size=8)
    assert mixed.counts == (6, 2)
    rows = [batch["row"] for epoch in range(4) for batch in mixed.epoch(0, epoch)]
    assert all((batch >= 1000).sum() == 2 for batch in rows)
    seen = np.concatenate(rows)
    assert set(seen) == {*range(20), *(np.arange(30) + 1000)[: len(set(seen[seen >= 1000]))]} | set(seen[seen >= 1000])
    assert len(set(seen[seen >= 1000])) == min(30, 2 * len(rows))


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=6), st.integers(6, 80))
def test_shares_become_counts_that_fill_the_batch(shares: list[float], size: int) -> None:
    counts = MixedBatches(tuple(Part(_arrays(3), share) for share in shares), size).counts
    assert sum(counts) == size
    assert min(counts) >= 1


def test_mixup_changes_samples_and_targets_by_the_same_share() -> None:
    y = soft_labels(np.array([0, 1, 2, 1]), 3)
    x = np.repeat(y[:, :, None], 5, axis=2)
    (batch,) = ArrayBatches({"x": x, "target": y}, 4, steps=(Mixup(1.0),)).epoch(0, 0)
    assert np.allclose(batch["x"][:, :, 0], batch["target"])
    assert np.allclose(batch["target"].sum(axis=1), 1)
    with pytest.raises(DataError, match="soft labels"):
        list(ArrayBatches(_arrays(4), 4, steps=(Mixup(1.0),)).epoch(0, 0))
    with pytest.raises(InputError, match="target"):
        list(ArrayBatches({"x": x}, 4, steps=(Mixup(1.0),)).epoch(0, 0))


def test_prefetching_raises_where_the_batch_is_taken_and_leaves_no_thread() -> None:
    def broken(seed: int, epoch: int) -> Any:
        yield {"x": np.zeros(1)}
        raise DataError("row 1 is broken")

    taken = Prefetched(StreamBatches(broken, 3), ahead=4).epoch(0, 0)
    assert next(taken)["x"].shape == (1,)
    with pytest.raises(DataError, match="row 1 is broken"):
        next(taken)
    left = Prefetched(ArrayBatches(_arrays(40), 2)).epoch(0, 0)
    assert len(list(islice(left, 3))) == 3
    left.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("edgewise-batches")]


def test_a_stream_that_ends_early_is_an_error() -> None:
    with pytest.raises(DataError, match="ended after 1 batches; 3 were announced"):
        list(StreamBatches(lambda seed, epoch: [{"x": np.zeros(1)}], 3).epoch(0, 0))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ArrayBatches({}, 4), "same number of samples: none"),
        (lambda: ArrayBatches({"x": np.zeros(3), "y": np.zeros(4)}), "x 3, y 4"),
        (lambda: ArrayBatches({"x": np.zeros(3)}, 4, last="drop"), "do not fill one batch"),
        (lambda: ArrayBatches({"x": np.zeros(3)}, 0), "at least one sample"),
        (lambda: ArrayBatches({"x": np.zeros(3)}, 2, input="pixels"), "no array pixels; there are x"),
        (lambda: MixedBatches((), 4), "shares above 0"),
        (lambda: MixedBatches((Part({"x": np.zeros(3)}, 0),), 4), "shares above 0"),
        (lambda: MixedBatches((Part({"x": np.zeros(3)}, 1), Part({"y": np.zeros(3)}, 1)), 4), "part 1 of the mixture"),
        (lambda: MixedBatches((Part({"x": np.zeros(3)}, 1),) * 3, 2), "no room for 3 parts"),
        (lambda: Balanced(np.zeros((2, 2), int)), "one class for each"),
        (lambda: Weighted(np.array([3.0, -1.0])), "not negative"),
        (
            lambda: list(ArrayBatches({"x": np.zeros(3)}, 2, Balanced(np.zeros(2, int))).epoch(0, 0)),
            "2 classes .* 3 samples",
        ),
    ],
)
def test_batches_that_cannot_be_made_are_said_in_words(make: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        make()


def test_parts_that_differ_after_their_steps_are_named() -> None:
    mixed = MixedBatches((Part({"x": np.zeros((4, 2))}, 1), Part({"x": np.zeros((4, 3))}, 1)), 2)
    with pytest.raises(DataError, match=r"differ in x: float64 \(2,\) and float64 \(3,\)"):
        next(mixed.epoch(0, 0))
