"""The choice follows from what was measured: by a clock of its own that a test can wind, since the machine's is never the same."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from edgewise.bundle.bundle import Bundle
from edgewise.errors import RequirementError
from edgewise.measure.choice import Choice, choose
from edgewise.runtime.device import read_device
from edgewise.runtime.opening import Candidate
from edgewise.runtime.requirements import Requirements
from edgewise.store.bundles import open_path
from edgewise.store.home import Home

ORT = {"engine": "onnxruntime"}


@dataclass
class SteadyClock:
    """Every reading is ``step`` seconds after the one before, so every call takes that long."""

    step: float
    now: float = 0.0

    def timestamp(self) -> str:
        return "2026-01-31T12:00:00Z"

    def seconds(self) -> float:
        self.now += self.step
        return self.now


def never(candidate: Candidate) -> int:
    raise AssertionError("memory was measured although nobody asked")


@pytest.fixture
def bundle(digits_bundle: Path) -> Bundle:
    return open_path(digits_bundle)


def chosen(bundle: Bundle, folder: Path, *, step: float = 0.0005, cores: int = 1, **changes: Any) -> Choice:
    given: dict[str, Any] = {"peak_memory": never, "too_inaccurate": {}, **changes}
    require = Requirements.parse(ORT | given.pop("require", {}))
    device = replace(read_device(), cores=cores)
    return choose(bundle, require, home=Home(folder), device=device, clock=SteadyClock(step), **given)


def test_of_equally_fast_ones_the_smaller_file_wins_and_everything_tried_is_kept(
    bundle: Bundle, tmp_path: Path
) -> None:
    sizes = {variant.name: variant.size for variant in bundle.document.variants}
    choice = chosen(bundle, tmp_path)
    assert choice.candidate == Candidate(
        min(sizes, key=lambda name: sizes[name]), "onnxruntime", "CPUExecutionProvider"
    )
    assert choice.reason == "p50 0.500 ms measured here, against 1 other way to run it"
    trials = [trial.to_json() for trial in choice.trials]
    assert {trial["variant"]: trial["bytes"] for trial in trials} == sizes
    assert all(trial["latency"]["p50Ms"] == pytest.approx(0.5) for trial in trials)
    assert all(sum(trial["placement"].values()) > 3 for trial in trials)
    assert [(trial["rejected"], trial["peakRssBytes"]) for trial in trials] == [("", None)] * 2


@pytest.mark.parametrize(
    ("cores", "step", "threads"),
    [(8, 0.002, {1, 4, 8}), (2, 0.002, {1, 2}), (3, 0.002, {1, 3}), (1, 0.002, {1}), (8, 0.0005, {1})],
    ids=["eight", "two", "three", "one", "fast"],
)
def test_only_what_is_slow_is_tried_with_more_threads(
    bundle: Bundle, tmp_path: Path, cores: int, step: float, threads: set[int]
) -> None:
    """All cores, and half of them where that differs much; below a millisecond the hand-over costs more than it brings."""
    told: list[str] = []
    progress = lambda what, done, total: told.append(what)  # noqa: E731
    trials = chosen(bundle, tmp_path, step=step, cores=cores, progress=progress).trials
    for variant in ("fp32", "int8"):
        assert {trial.candidate.threads for trial in trials if trial.candidate.variant == variant} == threads
    assert len(trials) == 2 * len(threads) == sum(what.startswith("try ") for what in told), "none is opened twice"
    assert all(trial.latency for trial in trials)


def test_what_its_receipts_rule_out_is_not_chosen_nor_timed(bundle: Bundle, tmp_path: Path) -> None:
    for out, left in (("int8", "fp32"), ("fp32", "int8")):
        choice = chosen(bundle, tmp_path, too_inaccurate={out: "its receipts say so"})
        assert choice.candidate.variant == left
        trial = next(trial for trial in choice.trials if trial.candidate.variant == out)
        assert (trial.rejected, trial.latency, trial.placement) == ("its receipts say so", None, None)
    with pytest.raises(RequirementError, match=r"no variant of digits:1\.0\.0 can be used here") as caught:
        chosen(bundle, tmp_path, too_inaccurate={"int8": "worse", "fp32": "worst"})
    assert sorted(reason.rpartition(": ")[2] for reason in caught.value.details["reasons"]) == ["worse", "worst"]


def test_memory_is_measured_where_it_is_demanded_and_the_rest_is_rejected(bundle: Bundle, tmp_path: Path) -> None:
    peaks = {"fp32": 40_000_000, "int8": 60_000_000}
    choice = chosen(
        bundle, tmp_path, require={"max_rss_mb": 50}, peak_memory=lambda candidate: peaks[candidate.variant]
    )
    assert choice.candidate.variant == "fp32"
    assert {trial.candidate.variant: trial.peak_rss for trial in choice.trials} == peaks
    assert [
        "peak memory is 60 MB" in trial.rejected for trial in choice.trials if trial.candidate.variant == "int8"
    ] == [True]


def test_a_demand_on_latency_holds_for_what_was_measured(bundle: Bundle, tmp_path: Path) -> None:
    assert chosen(bundle, tmp_path, require={"max_p95_ms": 0.51}).candidate
    with pytest.raises(RequirementError, match=r"p95 is 0\.500 ms"):
        chosen(bundle, tmp_path, require={"max_p95_ms": 0.49})


def test_progress_counts_what_is_tried(bundle: Bundle, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    chosen(bundle, tmp_path, progress=lambda what, done, total: told.append((what, done, total)))
    assert [(done, total) for what, done, total in told if what.startswith("try ")] == [(0, 2), (1, 2)]
