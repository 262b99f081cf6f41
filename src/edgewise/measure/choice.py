"""Choosing by measuring on this device: which variant, engine, provider and number of threads.

Published figures do not transfer: the same int8 file is twice as fast as fp32 on one processor and slower on the next. So every
way to run the model here is opened, must give its golden answers, must meet the requirements, and is timed beside the others
in turns; the fastest wins. What was rejected is kept with its reason.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from edgewise.bundle.bundle import Bundle
from edgewise.clock import Clock
from edgewise.errors import EdgewiseError, RequirementError
from edgewise.measure.candidates import candidates_for
from edgewise.measure.demands import unmet
from edgewise.measure.latency import Latency, interleave
from edgewise.measure.samples import fitting_inputs
from edgewise.runtime.device import DeviceFacts
from edgewise.runtime.engine import Array, Placement
from edgewise.runtime.opening import Candidate, open_candidate
from edgewise.runtime.replay import require_replay
from edgewise.runtime.requirements import Requirements
from edgewise.runtime.session import Session
from edgewise.store.home import Home

__all__ = ["Choice", "Trial", "choose"]

_TIE = 0.03  # medians closer than this are noise; the smaller file wins
_WORTH_THREADS_MS = 1.0  # below this a second thread costs more in hand-over than it brings
_SECONDS_PER_CANDIDATE = 0.15


@dataclass(frozen=True, slots=True)
class Trial:
    """What happened to one candidate. ``rejected`` is empty for those that could have been chosen."""

    candidate: Candidate
    rejected: str = ""
    latency: Latency | None = None
    placement: Mapping[str, int] | None = None
    peak_rss: int | None = None
    bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            **self.candidate.to_json(), "rejected": self.rejected, "latency": self.latency and self.latency.to_json(),
            "placement": self.placement and dict(self.placement), "peakRssBytes": self.peak_rss, "bytes": self.bytes,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    """The winner, why, and everything that was tried."""

    candidate: Candidate
    reason: str
    trials: tuple[Trial, ...]


def choose(
    bundle: Bundle,
    requirements: Requirements,
    *,
    home: Home,
    device: DeviceFacts,
    clock: Clock,
    peak_memory: Callable[[Candidate], int],
    too_inaccurate: Mapping[str, str],
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Choice:
    """The fastest candidate that is right and meets the requirements.

    peak_memory: candidate -> peak resident bytes of a fresh process; called only where ``max_rss_mb`` is required.
    too_inaccurate: variant -> why its receipts rule it out. progress is called with (what, candidates tried, candidates).
    Raises RequirementError, with the reason for each candidate, where none is left.
    """
    contest = _Contest(bundle, requirements, home, device, too_inaccurate, progress)
    try:
        contest.enter(candidates_for(bundle, requirements))
        contest.time(clock)
        contest.enter(_with_threads(contest.trials.values(), device.cores))
        contest.time(clock)
        for candidate, trial in contest.trials.items():
            if not trial.rejected:
                rejected, peak = unmet(requirements, candidate.variant, trial.latency, partial(peak_memory, candidate))
                contest.trials[candidate] = replace(trial, rejected=rejected, peak_rss=peak)
    finally:
        contest.close()
    return _decide(bundle, contest.trials, requirements)


class _Contest:
    """Candidates on trial: each is opened, proven and, with the others in turns, timed."""

    def __init__(
        self,
        bundle: Bundle,
        requirements: Requirements,
        home: Home,
        device: DeviceFacts,
        too_inaccurate: Mapping[str, str],
        progress: Callable[[str, int, int], None],
    ) -> None:
        self.trials: dict[Candidate, Trial] = {}
        self._bundle, self._requirements = bundle, requirements
        self._home, self._device = home, device
        self._too_inaccurate = too_inaccurate
        self._progress = progress
        self._sessions: dict[Candidate, Session] = {}
        self._inputs: dict[str, Array] | None = None

    def enter(self, candidates: Iterable[Candidate]) -> None:
        """Open candidates and prove that they are right; what is not is a trial with its reason."""
        entering = list(candidates)
        for number, candidate in enumerate(entering):
            self._progress(f"try {candidate}", number, len(entering))
            size = self._bundle.variant(candidate.variant).size
            reason = self._too_inaccurate.get(candidate.variant)
            try:
                if reason:
                    raise RequirementError(reason)
                session, placement = self._prove(candidate)
            except EdgewiseError as error:
                self.trials[candidate] = Trial(candidate, error.what, bytes=size)
                continue
            self._sessions[candidate] = session
            self.trials[candidate] = Trial(candidate, placement=placement.counts(), bytes=size)

    def time(self, clock: Clock) -> None:
        """Time those that were not timed yet, in turns. Where no input can be made that one of them takes, none is."""
        calls: dict[Candidate, Callable[[], object]] = {}
        for candidate, session in self._sessions.items():
            if self.trials[candidate].latency is not None:
                continue
            # The first that answers a made-up input sets it for all, so that all are timed on the same one.
            self._inputs = self._inputs or fitting_inputs(self._bundle, session)
            if self._inputs is None:
                continue
            try:
                session.predict(self._inputs)
            except EdgewiseError as error:
                self.trials[candidate] = replace(self.trials[candidate], rejected=error.what)
                continue
            calls[candidate] = _call(session, self._inputs)
        if calls:
            self._progress("time them in turns", 0, 1)
            named = {str(candidate): call for candidate, call in calls.items()}
            timed = interleave(named, clock=clock, max_seconds=_SECONDS_PER_CANDIDATE * len(named))
            for candidate in calls:
                self.trials[candidate] = replace(self.trials[candidate], latency=timed[str(candidate)])

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()

    def _prove(self, candidate: Candidate) -> tuple[Session, Placement]:
        session = open_candidate(self._bundle, candidate, home=self._home, device=self._device, record_placement=True)
        try:
            placement = session.placement()
            self._requirements.check_placement(placement, candidate.variant)
            require_replay(self._bundle, session)
        except EdgewiseError:
            session.close()
            raise
        return session, placement


def _with_threads(trials: Iterable[Trial], cores: int) -> list[Candidate]:
    """The slow ones once more with several threads: all cores, and half of them where that differs much."""
    counts = [count for count in {cores, cores // 2 if cores >= 4 else cores} if count > 1]
    return [
        replace(trial.candidate, threads=count)
        for trial in list(trials)
        if trial.latency and trial.latency.p50_ms > _WORTH_THREADS_MS
        for count in sorted(counts)
    ]


def _call(session: Session, inputs: dict[str, Any]) -> Callable[[], object]:
    return lambda: session.predict(inputs)


def _decide(bundle: Bundle, trials: Mapping[Candidate, Trial], requirements: Requirements) -> Choice:
    fit = [trial for trial in trials.values() if not trial.rejected]
    if not fit:
        reasons = [f"{trial.candidate}: {trial.rejected}" for trial in trials.values()]
        raise RequirementError(
            f"no variant of {bundle.ref} can be used here: {'; '.join(reasons)}",
            reasons=reasons,
            require=requirements.to_json(),
        )
    timed = [trial for trial in fit if trial.latency]
    if not timed:
        reason = "not timed, since no input could be made that it takes; pack it with --golden"
        return Choice(fit[0].candidate, reason, tuple(trials.values()))
    fastest = min(trial.latency.p50_ms for trial in timed if trial.latency)
    close = [trial for trial in timed if trial.latency and trial.latency.p50_ms <= fastest * (1 + _TIE)]
    best = min(close, key=lambda trial: (trial.bytes, trial.latency.p50_ms if trial.latency else 0))
    assert best.latency is not None
    others = len(trials) - 1
    reason = f"p50 {best.latency.p50_ms:.3f} ms measured here"
    if others:
        reason += f", against {others} other {'way' if others == 1 else 'ways'} to run it"
    return Choice(best.candidate, reason, tuple(trials.values()))
