"""What would not fit is refused before it runs, with the batch that would."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.errors import InputError, MemoryBudgetError, ProbeError
from edgewise.training.run.memory import estimate_memory, fitting_batch, measure_memory, refuse_over_budget
from edgewise.training.run.step_file import MemoryEstimate, StateSpec, StepSpec, ValueSpec

MIB = 1 << 20
SPEC = StepSpec(
    inputs=(ValueSpec("x", "float32", ("batch", 3)),),
    states=(StateSpec("w", "next/w", "float32", (3,), "parameter"),),
    loss="loss", grad_norm="grad_norm", memory=MemoryEstimate(10 * MIB, 2 * MIB),
)  # fmt: skip


@pytest.mark.parametrize(("budget", "batch"), [(30, 10), (31, 10), (12, 1), (11, 0), (0, 0)])
def test_the_batch_that_fits_is_the_largest_one(budget: int, batch: int) -> None:
    assert fitting_batch(SPEC, budget * MIB) == batch


def test_where_samples_cost_nothing_only_the_fixed_part_has_to_fit() -> None:
    spec = replace(SPEC, memory=MemoryEstimate(10 * MIB, 0))
    refuse_over_budget(spec, 10_000, 10 * MIB)
    with pytest.raises(MemoryBudgetError, match="not even one sample fits"):
        refuse_over_budget(spec, 1, 10 * MIB - 1)


def test_over_budget_names_the_batch_that_fits() -> None:
    refuse_over_budget(SPEC, 10, 30 * MIB)
    with pytest.raises(
        MemoryBudgetError, match=r"64 samples needs 138.0 MiB, and 30.0 MiB .* a batch of 10 fits"
    ) as caught:
        refuse_over_budget(SPEC, 64, 30 * MIB)
    assert caught.value.details["fits"] == 10
    assert "batch=10" in caught.value.remedy
    with pytest.raises(MemoryBudgetError, match=r"not even one sample fits: that takes 12.0 MiB"):
        refuse_over_budget(SPEC, 64, 11 * MIB)


def test_a_step_without_an_estimate_keeps_no_budget() -> None:
    with pytest.raises(MemoryBudgetError, match="says nothing about the memory"):
        refuse_over_budget(replace(SPEC, memory=None), 1, 1 << 40)


@given(*[st.tuples(st.integers(1, 500), st.integers(0, 2**40))] * 2)
def test_an_estimate_is_never_below_what_was_measured(small: tuple[int, int], large: tuple[int, int]) -> None:
    if small[0] == large[0]:
        with pytest.raises(InputError):
            estimate_memory(small, large)
        return
    found = estimate_memory(small, large)
    for samples, peak in (small, large):
        assert found.peak(samples) >= peak


def test_a_larger_batch_is_measured_to_need_more(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from tests.training.hand_steps import mlp_step

    mlp_step(accumulates=2).write(tmp_path)
    small, large = (measure_memory(tmp_path, samples, sys.executable) for samples in (1, 100_000))
    assert 0 < small.baseline < small.peak
    # x, two hidden layers and their gradients: 6 + 4 x 16 floats a sample at the least.
    assert large.extra - small.extra > 100_000 * 70 * 4 * 0.5
    assert estimate_memory((1, small.extra), (100_000, large.extra)).per_sample > 100


def test_a_measurement_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match=r"ended with status 1: .*folder"):
        measure_memory(tmp_path / "none", 1, sys.executable)
