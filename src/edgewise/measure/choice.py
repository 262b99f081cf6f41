"""Choosing by measuring on this device: which variant, engine, provider and number of threads.

Published figures do not transfer: the same int8 file is twice as fast as fp32 on one processor and slower on the next. So every
way to run the model here is opened, must give its golden answers, must meet the requirements, and is timed beside the others
in turns; the fastest wins. What was rejected is kept with its reason.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgewise.bundle.bundle import Bundle
from edgewise.clock import Clock
from edgewise.errors import EdgewiseError, RequirementError
from edgewise.measure.latency import Latency, interleave
from edgewise.measure.samples import sample_inputs
from edgewise.runtime.device import DeviceFacts
from edgewise.runtime.engine import Array, Placement, find_engine, installed_engines
from edgewise.runtime.opening import Candidate, open_candidate
from edgewise.runtime.replay import require_replay
from edgewise.runtime.requirements import Requirements
from edgewise.runtime.session import Session
from edgewise.store.home import Home

__all__ = ["Choice", "Trial", "candidates_for", "choose"]

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


def candidates_for(bundle: Bundle, requirements: Requirements) -> list[Candidate]:
    """Every way to run the bundle with the engines installed here that the requirements do not rule out by name.

    Raises RequirementError where an engine or provider is demanded that is not there at all.
    """
    found: list[Candidate] = []
    offered: set[str] = set()
    for name in installed_engines():
        if requirements.engine and name != requirements.engine:
            continue
        engine = find_engine(name)
        for provider in engine.providers():
            offered.add(provider.name)
            if requirements.provider and provider.name != requirements.provider:
                continue
            found += [
                Candidate(variant.name, name, provider.name)
                for variant in bundle.document.variants
                if variant.format in engine.formats and requirements.variant in ("", variant.name)
            ]
    if not found:
        raise RequirementError(
            f"nothing here can run {bundle.ref} as required ({requirements.to_json()}): engines installed are "
            f"{', '.join(installed_engines())}; providers {', '.join(sorted(offered)) or 'none'}; variants "
            f"{', '.join(f'{variant.name} ({variant.format})' for variant in bundle.document.variants)}",
            reasons=[],
        )
    return found


def choose(
    bundle: Bundle,
    requirements: Requirements,
    *,
    home: Home,
    device: DeviceFacts,
    clock: Clock,
    peak_memory: Callable[[Candidate], int],
    too_inaccurate: Mapping[str, str],
) -> Choice:
    """The fastest candidate that is right and meets the requirements.

    peak_memory: candidate -> peak resident bytes of a fresh process; called only where ``max_rss_mb`` is required.
    too_inaccurate: variant -> why its receipts rule it out.
    Raises RequirementError, with the reason for each candidate, where none is left.
    """
    trials: dict[Candidate, Trial] = {}
    sessions: dict[Candidate, Session] = {}
    inputs = sample_inputs(bundle)

    def attempt(candidates: Iterable[Candidate]) -> None:
        for candidate in candidates:
            size = bundle.variant(candidate.variant).size
            if candidate.variant in too_inaccurate:
                trials[candidate] = Trial(candidate, too_inaccurate[candidate.variant], bytes=size)
                continue
            try:
                session, placement = _prove(bundle, candidate, requirements, inputs, home, device)
            except EdgewiseError as error:
                trials[candidate] = Trial(candidate, error.what, bytes=size)
                continue
            sessions[candidate] = session
            trials[candidate] = Trial(candidate, placement=placement.counts(), bytes=size)

    try:
        attempt(candidates_for(bundle, requirements))
        _time(inputs, sessions, trials, clock)
        if device.cores > 1:
            slow = [trial for trial in trials.values() if trial.latency and trial.latency.p50_ms > _WORTH_THREADS_MS]
            attempt(
                Candidate(t.candidate.variant, t.candidate.engine, t.candidate.provider, device.cores) for t in slow
            )
            if slow:
                _time(inputs, sessions, trials, clock)
        for candidate, trial in list(trials.items()):
            if not trial.rejected:
                trials[candidate] = _judge(trial, requirements, peak_memory)
    finally:
        for session in sessions.values():
            session.close()
    return _decide(bundle, trials, requirements)


def _prove(
    bundle: Bundle,
    candidate: Candidate,
    requirements: Requirements,
    inputs: dict[str, Array],
    home: Home,
    device: DeviceFacts,
) -> tuple[Session, Placement]:
    session = open_candidate(bundle, candidate, home=home, device=device, record_placement=True)
    try:
        placement = session.placement()
        requirements.check_placement(placement, candidate.variant)
        require_replay(bundle, session)
        session.predict(inputs)
    except EdgewiseError:
        session.close()
        raise
    return session, placement


def _time(
    inputs: dict[str, Array], sessions: Mapping[Candidate, Session], trials: dict[Candidate, Trial], clock: Clock
) -> None:
    untimed = {candidate: session for candidate, session in sessions.items() if trials[candidate].latency is None}
    if not untimed:
        return
    calls = {str(candidate): _call(session, inputs) for candidate, session in untimed.items()}
    timed = interleave(calls, clock=clock, max_seconds=_SECONDS_PER_CANDIDATE * len(calls))
    for candidate in untimed:
        old = trials[candidate]
        trials[candidate] = Trial(candidate, "", timed[str(candidate)], old.placement, None, old.bytes)


def _call(session: Session, inputs: dict[str, Any]) -> Callable[[], object]:
    return lambda: session.predict(inputs)


def _judge(trial: Trial, requirements: Requirements, peak_memory: Callable[[Candidate], int]) -> Trial:
    rejected, peak = "", None
    p95 = trial.latency.p95_ms if trial.latency else float("inf")
    if requirements.max_p95_ms is not None and p95 > requirements.max_p95_ms:
        rejected = f"{trial.candidate.variant}: p95 is {p95:.3f} ms, at most {requirements.max_p95_ms:g} is required"
    elif requirements.max_rss_mb is not None:
        try:
            peak = peak_memory(trial.candidate)
        except EdgewiseError as error:
            rejected = error.what
        else:
            if peak > requirements.max_rss_mb * 1e6:
                needed = f"at most {requirements.max_rss_mb:g} is required"
                rejected = f"{trial.candidate.variant}: peak memory is {peak / 1e6:.0f} MB, {needed}"
    return Trial(trial.candidate, rejected, trial.latency, trial.placement, peak, trial.bytes)


def _decide(bundle: Bundle, trials: Mapping[Candidate, Trial], requirements: Requirements) -> Choice:
    fit = [trial for trial in trials.values() if not trial.rejected and trial.latency]
    if not fit:
        reasons = [f"{trial.candidate}: {trial.rejected}" for trial in trials.values()]
        raise RequirementError(
            f"no variant of {bundle.ref} can be used here: {'; '.join(reasons)}",
            reasons=reasons,
            require=requirements.to_json(),
        )
    fastest = min(trial.latency.p50_ms for trial in fit if trial.latency)
    close = [trial for trial in fit if trial.latency and trial.latency.p50_ms <= fastest * (1 + _TIE)]
    best = min(close, key=lambda trial: (trial.bytes, trial.latency.p50_ms if trial.latency else 0))
    assert best.latency is not None
    others = len(trials) - 1
    reason = f"p50 {best.latency.p50_ms:.3f} ms measured here"
    if others:
        reason += f", against {others} other {'way' if others == 1 else 'ways'} to run it"
    return Choice(best.candidate, reason, tuple(trials.values()))
