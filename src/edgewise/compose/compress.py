"""`edgewise compress`: a search from the user's words to files that are ready for `edgewise pack`."""

import json
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol

from edgewise import __version__
from edgewise.bundle.derivation import DataUse
from edgewise.clock import SystemClock
from edgewise.compose.compress_deferring import Deferred, read_deferring
from edgewise.compose.compress_model import Subject, read_subject
from edgewise.compose.compress_teaching import Teaching, read_teaching
from edgewise.compress.search.budget import Budget
from edgewise.compress.search.cluster import Cluster
from edgewise.compress.search.executor import Executor, Here, Processes
from edgewise.compress.search.halving import Effort
from edgewise.compress.search.journal import Journal
from edgewise.compress.search.page import to_html
from edgewise.compress.search.picture import pareto_png, require_matplotlib
from edgewise.compress.search.result import Found
from edgewise.compress.search.run import Progress, Search, Settings
from edgewise.compress.search.space import Chain, kind_of
from edgewise.compress.targets.check import FAILS, check_target_fit
from edgewise.compress.targets.profile import find_profile
from edgewise.digests import digest_of
from edgewise.errors import InputError, UnsupportedError
from edgewise.graph.inspect import read_model
from edgewise.measure.evaluation import data_digest
from edgewise.runtime.device import read_device
from edgewise.runtime.engine import find_engine
from edgewise.store.files import write_bytes

__all__ = ["Compressed", "Report", "compress"]


class Report(Protocol):
    """Who is told how far it is."""

    def note(self, text: str) -> None:
        """Something in words."""

    def fetched(self, what: str, done: int, total: int) -> None:
        """Bytes of a download."""

    def step(self, what: str, done: int, total: int) -> None:
        """Within a pass."""

    def progress(self, progress: Progress) -> None:
        """A step of the search began or ended."""


@dataclass(frozen=True, slots=True)
class Compressed:
    """found: every row and the choice. files: role -> file of a chosen variant. conditions: what was measured, in sentences."""

    found: Found
    files: dict[str, str]
    conditions: tuple[str, ...]
    facts: dict[str, Any]

    @property
    def reached(self) -> bool:
        """Whether anything does all that was asked for."""
        return bool(self.found.chosen)

    def to_json(self) -> dict[str, Any]:
        return {
            **self.facts, "reached": self.reached, "chosen": dict(self.found.chosen), "files": self.files,
            "front": list(self.found.front), "nearest": self.found.nearest, "budget": self.found.budget.to_json(),
            "complete": self.found.complete, "conditions": list(self.conditions),
            "rows": [row.to_json() for row in self.found.rows],
        }  # fmt: skip


def compress(options: Namespace, report: Report) -> Compressed:
    """Search as the options say and write what was found below ``--output``; what is amiss is said before the search begins."""
    budget = Budget(
        drop=options.max_drop, size=options.max_size, latency=options.max_latency_ratio, rss=options.max_rss
    )
    counts, minutes = (options.workers, options.epochs), options.minutes
    if any(count is not None and count < 1 for count in counts) or (minutes is not None and not minutes > 0):
        raise InputError("--workers and --epochs are at least 1, --minutes is above 0")
    require_matplotlib()
    subject = read_subject(options, report.fetched)
    for warning in subject.warnings:
        report.note(warning)
    teaching = read_teaching(options, subject, report.note)
    kind = kind_of(read_model(subject.start))
    chains = _wanted(options.chains, teaching.taught.chains(kind))
    samples = len(subject.bench.samples.data)
    settings = Settings(
        chains=chains, most=Effort(options.epochs, samples), budget=budget, minutes=options.minutes,
        allow=_allowing(options.target, subject.model) if options.target else lambda model: "",
    )  # fmt: skip
    journal = Journal.open(
        options.output / "search", _identity(options, subject, settings, teaching), resume=options.resume
    )
    try:
        executor = _executor(options, subject, report)
    except BaseException:
        journal.close()
        raise
    try:
        # Only now, when nothing else is amiss, does anything leave for a teacher elsewhere.
        settings = replace(settings, chains=_wanted(options.chains, teaching.asked(report.note).chains(kind)))
        deferring = read_deferring(options, subject, report.note, report.step)
        search = Search(
            settings, subject.model, subject.start, subject.bench, subject.evaluation, journal=journal, executor=executor,
            clock=SystemClock(), watch=report.progress,
        )  # fmt: skip
        found = search.run()
        deferred = None if deferring is None else deferring.choose(found, subject.model, journal.model)
        return _written(options.output, subject, found, journal, settings, teaching, deferred)
    finally:
        executor.close()
        journal.close()


def _wanted(patterns: Sequence[str], chains: tuple[Chain, ...]) -> tuple[Chain, ...]:
    kept = tuple(
        chain for chain in chains if not patterns or any(fnmatchcase(chain.name, pattern) for pattern in patterns)
    )
    if not kept:
        raise InputError(
            f"no chain is called {' or '.join(patterns)}",
            remedy=f"There are {', '.join(chain.name for chain in chains)}.",
        )
    return kept


def _allowing(target: str, original: bytes) -> Callable[[bytes], str]:
    """Why a model will not do on ``target``: it would not open there, or lacks what the model as it came does not lack.

    Raises UnsupportedError where the model as it came does not open there for what compressing leaves as it is.
    """
    profile = find_profile(target)
    before = check_target_fit(read_model(original), profile)
    lasting = [problem.text for problem in before.problems if problem.kind != "bytes"]
    if lasting:
        raise UnsupportedError(
            f"the model does not open on {target}, and nothing here changes that: {'; '.join(lasting)}",
            remedy="Export it anew (with fixed shapes, or an opset that the target knows), or choose another target.",
        )
    had = {node.operator for node in before.missing}

    def allow(data: bytes) -> str:
        fit = check_target_fit(read_model(data), profile)
        lacking = {
            f"{node.operator} ({node.why})"
            for node in fit.missing
            if node.otherwise == FAILS or node.operator not in had
        }
        reasons = [*sorted(lacking), *(problem.text for problem in fit.problems)]
        return f"{target}: {'; '.join(reasons)}" if reasons else ""

    return allow


def _executor(options: Namespace, subject: Subject, report: Report) -> Executor:
    if options.cluster:
        cluster = Cluster(subject.bench, options.cluster, options.workers)
        where = f"{cluster.nodes} nodes" if cluster.nodes != 1 else "1 node"
        said = f"{where} with edgewise {__version__}, {cluster.workers} at a time"
        report.note(f"Ray cluster at {options.cluster}: {said}")
        return cluster
    workers = options.workers or 1
    if workers == 1:
        return Here(subject.bench, report.step)
    return Processes(subject.bench, workers)


def _identity(options: Namespace, subject: Subject, settings: Settings, teaching: Teaching) -> dict[str, Any]:
    """All that a number in the journal depends on; budgets but for the drop do not, so they may be others the next time."""
    bench = subject.bench
    return {
        "format": 1, "edgewise": __version__, "engine": find_engine("onnxruntime").version(), "model": digest_of(subject.model),
        "learning data": data_digest(bench.samples.data), "comparing data": data_digest(bench.comparing),
        "held-out data": data_digest(subject.evaluation), "task": bench.samples.task, "output": bench.samples.output,
        "seed": options.seed, "epochs": options.epochs, "augmentation": options.augment, "allowed drop": settings.budget.drop,
        **teaching.identity, "chains": [chain.name for chain in settings.chains],
    }  # fmt: skip


def _conditions(subject: Subject, found: Found) -> tuple[str, ...]:
    learning, comparing, held = (
        len(data) for data in (subject.bench.samples.data, subject.bench.comparing, subject.evaluation)
    )
    looked = sum(row.finalist for row in found.rows) - 1
    said = [
        f"Samples: {learning} to learn from, {comparing} to compare by, {held} held out; the gate saw {looked} candidates.",
        "Time: median of one sample at a time on one thread, in turns with the model as it came, on this machine.",
        "Memory: peak of a fresh process that opens the file and answers ten samples, Python and onnxruntime included.",
        f"The gate: at most {found.budget.drop:g} points lost, and not significantly (one-sided paired test at 5 %).",
        f"Machine: {_machine()}.",
    ]
    if not found.complete:
        said.append("Time was over before every candidate had its turn.")
    return tuple(said)


def _uses(subject: Subject) -> list[DataUse]:
    """As a bundle keeps it: what the samples were for, with their digests."""
    bench = subject.bench
    used = {"learning": bench.samples.data, "comparing candidates": bench.comparing, "held out": subject.evaluation}
    return [DataUse(use, data_digest(data), len(data)) for use, data in used.items()]


def _machine() -> str:
    facts = read_device().to_json()
    named = [str(facts[key]) for key in ("cpu", "os") if isinstance(facts.get(key), str)]
    return ", ".join([*named, f"onnxruntime {find_engine('onnxruntime').version()}"])


def _written(
    folder: Path, subject: Subject, found: Found, journal: Journal, settings: Settings, teaching: Teaching,
    deferred: Deferred | None,
) -> Compressed:  # fmt: skip
    files: dict[str, str] = {}
    for role, name in found.chosen.items():
        # One file for a model, however many roles it has.
        files[role] = next((files[other] for other in files if found.chosen[other] == name), f"{role}.onnx")
    for role in ("best", "smallest", "fastest"):  # of an earlier search here, with other budgets
        (folder / f"{role}.onnx").unlink(missing_ok=True)
    for role, file in files.items():
        if file == f"{role}.onnx":
            write_bytes(folder / file, journal.model(found.row(found.chosen[role]).model))
    files["original"] = "original.onnx"
    write_bytes(folder / "original.onnx", subject.model)
    conditions = (*_conditions(subject, found), *(deferred.told if deferred is not None else ()))
    samples = subject.bench.samples
    facts = {
        "format": 1, "tool": f"edgewise {__version__}", "model": subject.name, "task": samples.task, "output": samples.output,
        "data": [use.to_json() for use in (*_uses(subject), *teaching.uses())], "seed": samples.seed,
        "epochs": settings.most.epochs,
        "variants": {
            file: list(found.row(found.chosen[role]).did)
            for role, file in files.items()
            if role in found.chosen and file == f"{role}.onnx"
        },
        **({} if deferred is None else {"deferring": deferred.facts}),
    }  # fmt: skip
    result = Compressed(found, files, conditions, facts)
    picture = pareto_png(found)
    write_bytes(folder / "pareto.png", picture)
    write_bytes(folder / "report.html", to_html(found, subject.name, picture, conditions).encode())
    write_bytes(folder / "report.json", (json.dumps(result.to_json(), indent=2) + "\n").encode())
    if subject.labels:
        write_bytes(folder / "labels.txt", "".join(f"{name}\n" for name in subject.labels).encode())
    return result
