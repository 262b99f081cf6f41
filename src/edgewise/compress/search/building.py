"""Making the candidates of a rung: what chains have in common is made once, what the journal has is not made again."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from edgewise.compress.search.bench import Outcome, Work
from edgewise.compress.search.candidate import Candidate
from edgewise.compress.search.executor import Executor
from edgewise.compress.search.journal import Journal
from edgewise.measure.metric import Metric

__all__ = ["Building", "Built"]

_BUILT = "built"
#: Told of every step: what is being made now (pass names), steps done and steps in all.
Told = Callable[[tuple[str, ...], int, int], None]


@dataclass(frozen=True, slots=True)
class Built:
    """model: digest of what came of a candidate, with its bytes and its figure on the comparing samples; or why nothing did."""

    model: str = ""
    size: int = 0
    metric: Metric | None = None
    failed: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class Building:
    """start: what the first pass is applied to. ends: asked before anything new begins; True where time is over."""

    start: bytes
    journal: Journal
    executor: Executor
    ends: Callable[[], bool]
    _running: dict[str, Candidate] = field(default_factory=dict)

    def build(self, candidates: Iterable[Candidate], told: Told) -> dict[str, Built]:
        """Digest of a candidate -> what came of it; those that time did not suffice for are missing."""
        wanted = list(candidates)
        missing = {
            part.digest: part for each in wanted if self.find(each) is None for part in each.beginnings()
            if self.find(part) is None
        }  # fmt: skip
        total = len(missing)
        ready = deque(part for part in missing.values() if part.before.digest not in missing)
        while ready or self._running:
            while ready and len(self._running) < self.executor.workers and not self.ends():
                self._begin(ready.popleft())
            if not self._running:
                break
            told(tuple(part.passes[-1].name for part in self._running.values()), total - len(missing), total)
            done = self._finish(self.executor.next())
            del missing[done.digest]
            # What follows comes next: where time ends, a few chains are whole, not all of them half.
            ready.extendleft(
                part for part in missing.values() if part.before.digest == done.digest and self.find(part) is None
            )
            for digest in [digest for digest, part in missing.items() if self.find(part) is not None]:
                del missing[digest]  # what follows a pass that failed
            told((), total - len(missing), total)
        found = {each.digest: self.find(each) for each in wanted}
        return {digest: built for digest, built in found.items() if built is not None}

    def find(self, candidate: Candidate) -> Built | None:
        """What came of a candidate, None where it was not made yet. One that follows a pass that failed has failed."""
        facts = self.journal.find(_BUILT, candidate.digest)
        if facts is not None:
            metric = None if facts["metric"] is None else Metric.from_json(facts["metric"])
            return Built(facts["model"], facts["bytes"], metric, facts["failed"], facts["seconds"])
        if len(candidate.passes) > 1:
            before = self.find(candidate.before)
            if before is not None and before.failed:
                return before
        return None

    def _begin(self, part: Candidate) -> None:
        model = self.start
        if len(part.passes) > 1:
            before = self.find(part.before)
            assert before is not None
            model = self.journal.model(before.model)
        self._running[part.digest] = part
        self.executor.submit(Work(part.digest, model, part.passes[-1], part.samples))

    def _finish(self, outcome: Outcome) -> Candidate:
        part = self._running.pop(outcome.key)
        model = "" if outcome.failed else self.journal.keep(outcome.model)
        self.journal.add(_BUILT, outcome.key, {
            "passes": [each.name for each in part.passes], "samples": part.samples, "model": model,
            "bytes": len(outcome.model), "metric": None if outcome.metric is None else outcome.metric.to_json(),
            "failed": outcome.failed, "seconds": outcome.seconds,
        })  # fmt: skip
        return part
