"""A learning rate is a pure function of the update's number."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.errors import InputError
from edgewise.training.data.chance import seed_at
from edgewise.training.run.schedules import SCHEDULES, Schedule, parse_schedule


def factors(text: str, updates: int) -> list[float]:
    schedule = parse_schedule(text)
    return [schedule.factor(at, updates) for at in range(updates)]


def test_constant_is_constant() -> None:
    assert factors("constant", 5) == [1.0] * 5


def test_step_falls_by_its_factor_after_each_share() -> None:
    assert factors("step:every=0.5,factor=0.5", 8) == [1.0] * 4 + [0.5] * 4
    assert factors("step:every=0.1,factor=0.5", 10) == [0.5**at for at in range(10)], "0.3 / 0.1 is below 3 in binary"
    assert [round(f, 9) for f in factors("step", 9)] == [1.0] * 3 + [0.1] * 3 + [0.01] * 3


def test_cosine_rises_through_the_warm_up_and_falls_by_half_a_cosine() -> None:
    found = factors("cosine:warmup=0.2,floor=0.1", 100)
    assert found[:20] == pytest.approx([(at + 1) / 21 for at in range(20)])
    assert found[20] == 1.0
    assert found[60] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi * 0.5)) / 2)
    assert 0.1 < found[-1] < 0.101


def test_linear_falls_evenly() -> None:
    assert factors("linear", 4) == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_one_cycle_rises_to_the_peak_and_falls_far_below_the_start() -> None:
    found = factors("one-cycle", 101)
    assert found[0] == pytest.approx(1 / 25)
    assert found[15] == pytest.approx((1 + 1 / 25) / 2)
    assert found[30] == 1.0
    assert found[65] == pytest.approx((1 + 1 / 250_000) / 2)
    assert found[100] == pytest.approx(1 / 250_000)
    # Nothing is left of the run to fall in, or to rise in.
    assert factors("one-cycle:peak=1", 5)[-1] == 1.0
    assert factors("one-cycle:peak=0", 5)[0] == 1.0


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 200), st.floats(0, 1))
def test_every_factor_is_a_share_and_the_first_and_last_update_do_something(
    kind: str, updates: int, warmup: float
) -> None:
    options = (("warmup", warmup),) if "warmup" in SCHEDULES[kind] else ()
    found = [Schedule(kind, options).factor(at, updates) for at in range(updates + 3)]
    assert all(0 < factor <= 1 for factor in found[:updates])
    assert all(0 <= factor <= 1 for factor in found)


@given(st.sampled_from(sorted(SCHEDULES)), st.data())
def test_parse_after_print_is_the_identity(kind: str, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(SCHEDULES[kind])), unique=True))
    options = tuple((name, data.draw(st.floats(*SCHEDULES[kind][name][1:]))) for name in names)
    assert parse_schedule(str(Schedule(kind, options))) == Schedule(kind, options)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cosin", "no schedule 'cosin'"), ("", "no schedule ''"), ("cosine:", "is not an option=number"),
        ("cosine:warmup", "is not an option=number"), ("cosine:warmup=x", "is not an option=number"),
        ("cosine:warmup=nan", "is not an option=number"), ("cosine:warmup=2", r"warmup is 2, outside 0..1"),
        ("linear:peak=0.1", "'peak' is not one of warmup, floor"), ("step:every=0", r"outside 1e-06..1"),
        ("cosine:floor=0.1,floor=0.2", "twice"),
    ],
)  # fmt: skip
def test_other_words_are_refused(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        parse_schedule(text)
    assert "one-cycle" in caught.value.remedy


def test_seeds_of_a_run_are_the_same_again_and_unlike_each_other() -> None:
    found = [seed_at(seed, step) for seed in range(20) for step in range(200)]
    assert found == [seed_at(seed, step) for seed in range(20) for step in range(200)]
    assert len(set(found)) == len(found)
    assert all(0 <= seed < 2**31 - 1 for seed in found)
    assert seed_at(0, 0) != seed_at(1, 0) != seed_at(0, 1)
