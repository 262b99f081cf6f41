"""The search: rung after rung of candidates, then everything about the few that are left, then the choice.

The parts that decide (halving, gate, pareto, budget) are pure; the executor does the work; the journal remembers. Every number that
a decision rests on is in the journal before the decision is made, so a search that goes on after a kill decides the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from onnx import ModelProto

from edgewise.clock import Clock
from edgewise.compress.search.bench import Bench
from edgewise.compress.search.budget import Budget
from edgewise.compress.search.building import Building, Built
from edgewise.compress.search.candidate import Candidate
from edgewise.compress.search.executor import Executor
from edgewise.compress.search.gate import Verdict, decide, score_of
from edgewise.compress.search.halving import LEAST, Effort, Rung, Wanted, climb, ladder
from edgewise.compress.search.journal import Journal
from edgewise.compress.search.pareto import Point, best, order_of, pareto_front
from edgewise.compress.search.result import AS_IT_CAME, Found, Row
from edgewise.compress.search.space import Chain, distinct
from edgewise.compress.search.trial import Timed, Timing, peak_memory, time_models
from edgewise.compress.tuning import answers
from edgewise.digests import digest_of
from edgewise.measure.dataset import Dataset
from edgewise.measure.metric import Metric

__all__ = ["FINAL_TIMING", "RUNG_TIMING", "Progress", "Search", "Settings"]

#: How long finalists, and candidates on a rung, take turns with the original.
FINAL_TIMING, RUNG_TIMING = Timing(0.5, 100), Timing(0.1, 20)
_RUNGS_SHARE = 0.85  # of the time that may be spent; the rest is for the finalists' measurements


@dataclass(frozen=True, slots=True)
class Progress:
    """rung: from 1 of ``rungs``; rungs + 1 while finalists are measured. done of total: steps of the rung. trying: names of passes.

    best: the best candidate so far, in words. seconds_left: at the speed so far; None where nothing is known yet.
    """

    rung: int
    rungs: int
    done: int
    total: int
    trying: tuple[str, ...]
    best: str
    seconds_left: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """chains: what is tried. most: effort of the finalists, least: of whoever is tried at all. finalists: how many.

    minutes: after which the finalists' turn has come; None for never. memory: whether peak memory is measured. allow: why a model
    will not do, whatever it measures; "" where it will.
    """

    chains: tuple[Chain, ...]
    most: Effort
    budget: Budget
    least: Effort = LEAST
    finalists: int = 6
    minutes: float | None = None
    memory: bool = True
    rung_timing: Timing = RUNG_TIMING
    final_timing: Timing = FINAL_TIMING
    allow: Callable[[bytes], str] = lambda model: ""


class Search:
    """One search. model: as it came. start: what passes are applied to: the model in floats. evaluation: for the gate alone."""

    def __init__(
        self, settings: Settings, model: bytes, start: bytes, bench: Bench, evaluation: Dataset, *, journal: Journal,
        executor: Executor, clock: Clock, watch: Callable[[Progress], None] = lambda progress: None,
    ) -> None:  # fmt: skip
        self._settings, self._model, self._start = settings, model, start
        self._bench, self._evaluation = bench, evaluation
        self._journal, self._clock, self._watch = journal, clock, watch
        began = clock.seconds()
        self._ends = None if settings.minutes is None else began + 60 * settings.minutes * _RUNGS_SHARE
        self._building = Building(start, journal, executor, self._over)
        self._origin = digest_of(journal.origin)
        self._rows: dict[str, Row] = {}
        self._told = _Told(clock, watch, self._ends)

    def run(self) -> Found:
        """Search. Raises what the journal and the executor raise; a pass that cannot do something is a row, no error."""
        compared = self._compared()
        racing = list(self._settings.chains)
        how = self._settings
        rungs = ladder(len(racing), how.most, finalists=how.finalists, least=how.least)
        complete = True
        for at, rung in enumerate(rungs):
            points = self._rung(at, len(rungs), rung, racing, compared)
            complete = complete and not self._over()
            if self._over() or not rung.kept:
                break
            kept = self._climb(points, rung.kept, rung.slack, compared)
            racing = [chain for chain in racing if chain.name in kept]
        latest = [self._rows[chain.name] for chain in racing if chain.name in self._rows]
        points = [self._point(row, compared) for row in latest if row.timed is not None and not row.failed]
        finalists = self._climb(points, self._settings.finalists, 0.0, compared)
        return self._choose(self._final(finalists, compared, len(rungs)), len(rungs), complete)

    def _over(self) -> bool:
        return self._ends is not None and self._clock.seconds() >= self._ends

    def _compared(self) -> Metric:
        found = self._journal.find("compared", "")
        if found is None:
            metric = self._bench.score(ModelProto.FromString(self._model))
            self._journal.keep(self._model)
            found = self._journal.add("compared", "", metric.to_json())
        return Metric.from_json(found)

    def _rung(self, at: int, rungs: int, rung: Rung, racing: Sequence[Chain], compared: Metric) -> list[Point]:
        candidates = distinct(tuple(racing), self._origin, rung.effort, self._start)
        self._told.begin(at, rungs)
        built = self._building.build(candidates.values(), self._told.step)
        models: dict[str, str] = {}  # digest -> the simplest chain that comes to it
        for name, candidate in sorted(candidates.items(), key=lambda item: len(item[1].passes)):
            result = built.get(candidate.digest)
            if result is None:
                continue
            first = models.setdefault(result.model, name) if result.model else name
            told = "" if first == name else f"the same file as {first}"
            told = told or result.failed or self._refused(result)
            self._rows[name] = _row(name, candidate, result, at + 1, told)
        timed = self._times(f"rung {at + 1}", list(models), self._settings.rung_timing)
        points = []
        for digest, name in models.items():
            row = self._rows[name] = replace(self._rows[name], timed=timed[digest])
            if not row.failed:
                points.append(self._point(row, compared))
        self._told.best = self._best(points, compared)
        return points

    def _refused(self, built: Built) -> str:
        return self._settings.allow(self._journal.model(built.model)) if built.model else ""

    def _times(self, stage: str, digests: Sequence[str], timing: Timing) -> Mapping[str, Timed]:
        if not digests:
            return {}
        key = f"{stage} {digest_of(' '.join(sorted(digests)).encode())}"
        found = self._journal.find("timed", key)
        if found is None:
            models = {digest: self._journal.model(digest) for digest in digests}
            taken = time_models(self._model, models, self._bench.sample(), clock=self._clock, timing=timing)
            found = self._journal.add("timed", key, {digest: timed.to_json() for digest, timed in taken.items()})
        return {digest: Timed.from_json(value) for digest, value in found.items()}

    def _point(self, row: Row, compared: Metric) -> Point:
        assert row.compared is not None
        assert row.timed is not None
        return Point(row.name, len(row.passes), row.size, row.timed.ratio, score_of(row.compared, compared))

    def _wanted(self, compared: Metric) -> Wanted:
        budget = self._settings.budget
        return Wanted(score_of(compared, compared) - budget.drop / 100, budget.size, budget.latency)

    def _climb(self, points: Sequence[Point], count: int, slack: float, compared: Metric) -> tuple[str, ...]:
        return climb(points, count, self._wanted(compared), original=len(self._model), slack=slack)

    def _best(self, points: Sequence[Point], compared: Metric) -> str:
        good = [point for point in points if not self._wanted(compared).lacks(point)]
        found = best(good, len(self._model))
        if found is None:
            return ""
        return f"{found.name}: {found.size / len(self._model):.2f} of the bytes, {found.latency:.2f} of the time"

    def _final(self, names: Sequence[str], compared: Metric, rungs: int) -> list[Row]:
        original = self._journal.keep(self._model)
        digests = [self._rows[name].model for name in names]
        self._told.final(rungs, len(names))
        timed = self._times("final", [original, *digests], self._settings.final_timing)
        whole = timed[original].original
        first = Row(AS_IT_CAME, model=original, size=len(self._model), compared=compared, timed=Timed(whole, whole))
        rows = [first, *(replace(self._rows[name], timed=timed[self._rows[name].model]) for name in names)]
        theirs = self._answers(original)
        done = []
        for row in rows:
            verdict = self._verdict(row.model, theirs)
            peak = self._peak(row.model) if self._settings.memory else None
            done.append(replace(row, verdict=verdict, peak=peak))
            self._told.step((), len(done), len(rows))
        return done

    def _answers(self, digest: str) -> Any:
        return answers(
            ModelProto.FromString(self._journal.model(digest)), self._bench.samples, self._evaluation.x
        )  # fmt: skip

    def _verdict(self, digest: str, original: Any) -> Verdict:
        found = self._journal.find("gate", digest)
        if found is None:
            samples, held = self._bench.samples, self._evaluation
            verdict = decide(
                samples.task, original, self._answers(digest), held.y, self._settings.budget.drop, held.group, samples.seed
            )  # fmt: skip
            found = self._journal.add("gate", digest, verdict.to_json())
        return Verdict.from_json(dict(found))

    def _peak(self, digest: str) -> int:
        found = self._journal.find("memory", digest)
        if found is None:
            peak = peak_memory(self._journal.path(digest), self._bench.sample())
            found = self._journal.add("memory", digest, {"peak": peak})
        return int(found["peak"])

    def _choose(self, finalists: Sequence[Row], rungs: int, complete: bool) -> Found:
        budget, size = self._settings.budget, len(self._model)
        rows = [replace(row, unmet=budget.unmet(row.measured)) for row in finalists]
        good = [row.point() for row in rows if not row.unmet]
        front, chosen = pareto_front(good), dict[str, str]()
        if front:
            chosen["best"] = min(front, key=lambda point: order_of(point, size)).name
            # A copy of what was given is no variant, unless there is nothing else.
            made = [point for point in front if point.name != AS_IT_CAME] or list(front)
            chosen["smallest"] = min(made, key=lambda point: (point.size, point.latency, point.name)).name
            chosen["fastest"] = min(made, key=lambda point: (point.latency, point.size, point.name)).name
        nearest = min(rows, key=lambda row: (budget.excess(row.measured), order_of(row.point(), size))).name
        names = {row.name for row in rows}
        others = [self._rows[chain.name] for chain in self._settings.chains if chain.name in self._rows]
        rest = [row for row in others if row.name not in names]
        front_names = tuple(point.name for point in front)
        return Found((*rows, *rest), budget, front_names, chosen, nearest, rungs, complete)


def _row(name: str, candidate: Candidate, built: Built, rung: int, failed: str) -> Row:
    passes = tuple(each.name for each in candidate.passes)
    return Row(name, passes, candidate.describe(), built.model, built.size, rung, built.metric, failed=failed)


class _Told:
    """Turns what happens into ``Progress``, with the time that is left at the speed so far."""

    def __init__(self, clock: Clock, watch: Callable[[Progress], None], ends: float | None) -> None:
        self._clock, self._watch, self._ends = clock, watch, ends
        self.best = ""
        self._rung, self._rungs, self._began, self._later = 0, 0, 0.0, 0.0

    def begin(self, at: int, rungs: int) -> None:
        """A rung begins."""
        self._rung, self._rungs, self._began = at + 1, rungs, self._clock.seconds()
        # Later rungs hold a third of the candidates with three times the effort each: about as long as this one.
        self._later = float(rungs - at - 1)

    def final(self, rungs: int, finalists: int) -> None:
        """The finalists' turn."""
        self._rung, self._began, self._later = rungs + 1, self._clock.seconds(), 0.0
        self.step((), 0, finalists + 1)

    def step(self, trying: tuple[str, ...], done: int, total: int) -> None:
        """A step of the rung began or ended."""
        left = None
        now = self._clock.seconds()
        if done:
            whole = (now - self._began) / done * total
            left = whole * (1 + self._later) - (now - self._began)
            if self._ends is not None:
                left = min(left, max(0.0, self._ends - now) / _RUNGS_SHARE)
        self._watch(Progress(self._rung, self._rungs, done, total, trying, self.best, left))
