"""`edgewise calibrate`: what each variant answers to the calibration samples, by the way in which it would run here."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from edgewise.bundle.bundle import Bundle
from edgewise.clock import SystemClock
from edgewise.compose.calibrating_data import Samples
from edgewise.compose.choices import read_choice
from edgewise.compose.choosing import choose_and_keep
from edgewise.errors import DataError, EdgewiseError, ModelError, RequirementError
from edgewise.measure.dataset import rows_by_number
from edgewise.measure.latency import interleave
from edgewise.runtime.device import read_device
from edgewise.runtime.engine import Array
from edgewise.runtime.opening import Candidate, open_candidate
from edgewise.runtime.requirements import Requirements
from edgewise.runtime.rows import row_at
from edgewise.runtime.session import Session
from edgewise.store.home import Home
from edgewise.trust.verification import Verification

__all__ = ["Answers", "answer_all", "not_finite", "run_variants"]

Progress = Callable[[str, int, int], None]
_SECONDS = 0.1  # of timing for each variant


@dataclass(frozen=True, slots=True)
class Answers:
    """What one variant said. by: how it was run. outputs: by the interface's name, (N, ...). seconds: p50 of one answer. decision:
    the output that decides. bytes: of its files.
    """

    by: Candidate
    outputs: Mapping[str, Array]
    seconds: float
    decision: str
    bytes: int

    @property
    def variant(self) -> str:
        return self.by.variant


def run_variants(
    bundle: Bundle, path: Path, names: Sequence[str], samples: Samples, home: Home, verification: Verification | None,
    progress: Progress,
) -> tuple[list[Answers], dict[str, RequirementError]]:  # fmt: skip
    """Every sample through every variant, one at a time as in use, by the engine that would be chosen for it here; timed in turns.

    Also: variants that nothing here runs rightly, and why. Raises that error where none is left.
    """
    answered: dict[str, dict[str, Array]] = {}
    failed: dict[str, RequirementError] = {}
    calls: dict[str, Callable[[], object]] = {}
    ways: dict[str, Candidate] = {}
    decision = ""
    with ExitStack() as sessions:
        for name in names:
            try:
                ways[name] = _chosen(bundle, path, name, home, verification, progress)
            except RequirementError as error:
                failed[name] = error
                continue
            session = sessions.enter_context(open_candidate(bundle, ways[name], home=home, device=read_device()))
            decision = session.origin.decision
            answered[name] = answer_all(session, samples, partial(progress, f"run {name}"))
            calls[name] = partial(session.predict, _sample(session, samples, 0))
        if not answered:
            raise next(iter(failed.values()))
        timed = interleave(calls, clock=SystemClock(), max_seconds=_SECONDS * len(calls))
    found = [
        Answers(ways[name], outputs, timed[name].p50_ms / 1000, decision, bundle.variant(name).size)
        for name, outputs in answered.items()
    ]
    return found, failed


def answer_all(session: Session, samples: Samples, progress: Callable[[int, int], None]) -> dict[str, Array]:
    """Every output for every sample, stacked; an output whose size changes from one to the next is left out, unless it decides."""
    states = {state.output for state in session.document.states}
    decision = session.origin.decision
    named = [spec.name for spec in session.document.outputs if spec.name not in states or spec.name == decision]
    rows: dict[str, list[Array]] = {name: [] for name in (*named, *session.origin.also)}
    for at in range(len(samples)):
        try:
            answer = session.predict(_sample(session, samples, at))
        except EdgewiseError as error:
            raise DataError(f"sample {at} does not fit the model: {error.what}", remedy=error.remedy) from error
        for name, found in rows.items():
            found.append(answer.outputs[name])
        progress(at + 1, len(samples))
    joined = {name: _joined(found, batched=session.origin.batched) for name, found in rows.items()}
    if joined[session.origin.decision] is None:
        raise ModelError(
            f"{session.origin.decision} of {session.variant.name} has another shape from one sample to the next",
            remedy="Give the output one size (for detectors `--after boxes:...`).",
        )
    return {name: array for name, array in joined.items() if array is not None}


def _chosen(
    bundle: Bundle, path: Path, name: str, home: Home, verification: Verification | None, progress: Progress
) -> Candidate:
    require, device = Requirements(variant=name), read_device()
    known = read_choice(bundle, require, home, device, verification)
    return known[0] if known else choose_and_keep(bundle, path, require, home, device, verification, progress).candidate


def not_finite(name: str, found: Array) -> str:
    """What to tell of a variant's answers (N, ...) that are not finite; "" where all are. A node never keeps such an answer."""
    if found.dtype.kind != "f":
        return ""
    rows = np.flatnonzero(~np.isfinite(found.reshape(len(found), -1)).all(axis=1))
    if not len(rows):
        return ""
    return f"{name} answers what is not finite (NaN or infinity) at {rows_by_number(rows)}: that is always passed on."


def _sample(session: Session, samples: Samples, at: int) -> dict[str, Array]:
    ranks = {spec.name: len(spec.shape) for spec in session.document.inputs}
    return {name: row_at(array, at, ranks[name]) for name, array in samples.inputs.items()}


def _joined(rows: Sequence[Array], *, batched: bool) -> Array | None:
    if len({row.shape for row in rows}) != 1:
        return None
    return np.concatenate(rows) if batched and rows[0].ndim and len(rows[0]) == 1 else np.stack(rows)
