"""`edgewise calibrate`: from the words of the command line to a bundle whose variants know what they may keep.

Order matters: whatever can be refused is refused before a sample leaves this machine, and what upstream answered is kept before
anything is fitted to it.
"""

import math
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.document import Document
from edgewise.clock import Clock, SystemClock
from edgewise.compose.calibrating_data import Samples, read_samples
from edgewise.compose.calibrating_signing import calibrations_of, with_calibrations
from edgewise.compose.calibrating_telling import promise_of, story_of, to_json
from edgewise.compose.calibrating_upstream import Upstreamed, ask_upstream, is_url
from edgewise.compose.calibrating_variants import Answers, not_finite, run_variants
from edgewise.compose.keys import default_signing_key, load_private
from edgewise.compose.loading import open_verified
from edgewise.compose.writable import check_target
from edgewise.errors import DataError, InputError, MissingExtraError
from edgewise.routing.fitting import Calibrated, Cost, Recorded, Wanted, calibrate, watching
from edgewise.routing.losses import Details, judge_for
from edgewise.routing.page import to_html
from edgewise.routing.picture import require_matplotlib, tradeoff_png
from edgewise.routing.risk import Promise, least_samples
from edgewise.routing.rules.kinds import KINDS
from edgewise.routing.tradeoff import tradeoff_of
from edgewise.runtime.engine import Array
from edgewise.store.bundles import find_bundle, write_file
from edgewise.store.files import write_bytes
from edgewise.store.home import Home
from edgewise.trust.keys import PrivateKey
from edgewise.trust.verification import Verification

__all__ = ["Result", "calibrate_path"]

Progress = Callable[[str, int, int], None]
_MILLI = 1e-3
_MINIMISE = ("latency", "bytes", "energy", "money")


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it. told: what a person should know besides, in sentences. output: the bundle that was written; None where
    nothing may be kept under the promise. released: whether it is a new release.
    """

    ref: str
    calibrated: Calibrated
    samples: Samples
    upstream: Upstreamed
    minimise: str
    told: tuple[str, ...] = ()
    output: Path | None = None
    released: bool = False

    @property
    def kept(self) -> bool:
        return self.calibrated.chosen.chosen.offload < 1

    @property
    def promise(self) -> str:
        """The promise in words."""
        return promise_of(self.calibrated.chosen)

    def to_json(self) -> dict[str, Any]:
        return {
            "ref": self.ref, **to_json(self.calibrated, self.minimise), "data": self.samples.facts(),
            "upstream": {
                "name": self.upstream.against.name, "version": self.upstream.against.version, "told": self.upstream.told,
                "seconds": self.upstream.seconds,
            },
            "told": list(self.told), "output": None if self.output is None else str(self.output), "released": self.released,
        }  # fmt: skip


def calibrate_path(
    options: Namespace, progress: Progress, note: Callable[[str], None], clock: Clock | None = None
) -> Result:
    """Fit, sign and write what the options of `edgewise calibrate` name.

    Raises DataError with how many more samples are needed where there are too few for the promise, InputError for what does not fit
    together, and what opening, running and asking raise.
    """
    work = _prepared(options)
    bundle, document, samples, home = work.bundle, work.bundle.document, work.samples, work.home
    # What is asked for nothing is looked at first; a URL when everything else is known to be right.
    free = not is_url(options.upstream)
    upstream = ask_upstream(options, document, samples, home, note, progress) if free else None
    answers, failed = run_variants(bundle, work.path, work.names, samples, home, work.verification, progress)
    upstream = upstream or ask_upstream(options, document, samples, home, note, progress)
    rows, told = np.arange(len(samples)), [f"Not looked at: {name}: {error.what}" for name, error in failed.items()]
    told += filter(None, (not_finite(each.variant, each.outputs[each.decision]) for each in answers))
    headed = None
    if options.head:
        headed = _heads().with_heads(bundle, answers, upstream.answers, samples, home, options, progress)
        answers, rows = headed.answers, headed.rows
    wanted = Wanted(
        work.promise, options.against, (options.rule,), options.per_class, work.weights, _cost(options, samples, upstream),
        options.cascade, samples.group[rows] if options.block and samples.group is not None else None, work.details,
    )  # fmt: skip
    calibrated = calibrate(
        [Recorded(each.variant, each.outputs, each.seconds, each.bytes) for each in answers], upstream.answers[rows], wanted,
        task=document.task, decision=answers[0].decision, labels=document.labels,
        y=None if samples.y is None else samples.y[rows], seed=options.seed,
    )  # fmt: skip
    if headed is not None:
        bundle, more = headed.used(calibrated)
        told += more
    result = Result(bundle.ref, calibrated, samples, upstream, options.minimise, tuple(told))
    _show(result, options)
    if not result.kept:
        return result
    watched = _watched(calibrated, answers, upstream.answers[rows], document, work.details)
    return _written(result, bundle, work, watched, options, clock or SystemClock())


@dataclass(frozen=True, slots=True)
class _Work:
    """What a calibration starts from, all of it checked."""

    home: Home
    path: Path
    bundle: Bundle
    verification: Verification | None
    key: PrivateKey
    promise: Promise
    weights: Mapping[str, float]
    details: Details
    samples: Samples
    names: list[str]


def _prepared(options: Namespace) -> _Work:
    home = Home.default()
    for target in (options.output, options.plot, options.page):
        if target is not None:
            check_target(target)
    if options.plot is not None:
        require_matplotlib()
    path = find_bundle(options.bundle, home)
    bundle, verification = open_verified(
        path, options.trust, home, unsafe_no_verification=options.unsafe_no_verification
    )
    key = load_private(options.key) if options.key else default_signing_key(home)
    if options.head:
        _heads().check_head(bundle, key, verification)
    names = list(dict.fromkeys(options.variant)) or [variant.name for variant in bundle.document.variants]
    for name in names:
        bundle.variant(name)  # raises with the names there are
    _check_options(options, names)
    promise = Promise(options.epsilon / 100, options.delta / 100)
    weights = _weights(options.weight)
    details = _details(options, bundle.document, weights)
    samples = read_samples(options.data, bundle.document, path)
    _check_samples(options, samples, promise)
    return _Work(home, path, bundle, verification, key, promise, weights, details, samples, names)


def _heads() -> ModuleType:
    try:
        return import_module("edgewise.compose.calibrating_head")  # extra: pack; nothing else here edits graphs
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"--head needs {error.name}", remedy="pip install 'edgewise[pack]'") from None


def _weights(words: list[str]) -> dict[str, float]:
    """``LABEL=COST`` each. Raises InputError for what is no cost."""
    found: dict[str, float] = {}
    for word in words:
        label, equals, cost = word.rpartition("=")
        try:
            found[label] = float(cost)
        except ValueError:
            equals = ""
        if not equals or not label:
            raise InputError(
                f"--weight {word}: a label and its cost are needed", remedy="Write it as --weight defect=20."
            )
    return found


def _details(options: Namespace, document: Document, weights: Mapping[str, float]) -> Details:
    """What the task needs to be told. Raises InputError where that is missing, or weights are of labels that there are not."""
    details = Details(cut=options.cut, tolerance=options.tolerance, cosine=options.cosine)
    judge_for(document.task, document.labels, weights, details)
    return details


def _check_samples(options: Namespace, samples: Samples, promise: Promise) -> None:
    """What can be told before anything runs, and before anything leaves."""
    if options.against == "gap" and samples.y is None:
        raise DataError(
            f"{samples.name} has no labels, and a promise about accuracy (--against gap) needs them",
            remedy="Add an array y, or take --against agreement, which needs none.",
        )
    if options.block and samples.group is None:
        raise DataError(
            f"--block keeps samples of one origin together, and {samples.name} does not say where its samples come from",
            remedy="Add an array group (N,): the camera, person or recording of each sample.",
        )
    least, units, what = least_samples(promise), len(samples), "samples"
    if options.block and samples.group is not None:
        units, what = len(np.unique(samples.group)), "groups of samples that belong together"
    if units < least:
        raise DataError(
            f"{units} {what} are too few to promise {options.epsilon:g} points with {options.delta:g} % to fail",
            remedy=f"About {least - units} more are needed before anything can be kept at all, or a larger --epsilon.",
        )


def _check_options(options: Namespace, names: list[str]) -> None:
    """What contradicts itself, before a sample leaves for it."""
    faults = [
        (
            not (0 < options.epsilon < 100 and 0 < options.delta < 100),
            f"--epsilon {options.epsilon:g} and --delta {options.delta:g} are points and percent, between 0 and 100",
            "One point at 95 % is --epsilon 1 --delta 5. No loss at all cannot be promised from samples.",
        ),
        (
            options.rule != "auto" and options.rule not in KINDS, f"there is no deferral rule {options.rule!r}",
            f"There are {', '.join(KINDS)}.",
        ),
        (
            bool(options.weight) and options.against in ("agreement", "gap"),
            f"--weight says what a loss costs, and --against {options.against} counts all alike",
            "Take --against loss, or leave the weights out.",
        ),
        (
            options.cascade and (options.per_class or len(names) < 2),
            "--cascade makes one promise for two variants and all classes together",
            "Leave --per-class out, and name two variants or none.",
        ),
        (
            options.minimise == "money" and options.price is None, "what a question costs is not said",
            "Say it: --price 0.002, in USD for one call.",
        ),
        (
            not all(0 <= value < math.inf for value in (options.price or 0, options.upstream_ms or 0)),
            "--price and --upstream-ms are finite and not below 0", None,
        ),
    ]  # fmt: skip
    for fault, what, remedy in faults:
        if fault:
            raise InputError(what, remedy=remedy)


def _cost(options: Namespace, samples: Samples, upstream: Upstreamed) -> Cost:
    seconds = options.upstream_ms * _MILLI if options.upstream_ms is not None else upstream.seconds
    weights = {name: float(name == options.minimise) for name in _MINIMISE}
    size = float(sum(array[:1].nbytes for array in samples.inputs.values()))
    cost = Cost(**weights, upstream_bytes=size, price=options.price or 0.0)
    return cost if seconds is None else replace(cost, upstream_seconds=seconds)


def _show(result: Result, options: Namespace) -> None:
    """The picture and the page: of a refusal too, since they show what is missing."""
    title = f"{result.ref}, {result.calibrated.chosen.name}"
    if options.plot is not None:
        write_bytes(options.plot, tradeoff_png(tradeoff_of(result.calibrated), title))
    if options.page is not None:
        story = story_of(
            result.ref, result.calibrated, result.samples.facts(), result.upstream.told, result.minimise, result.told
        )
        write_bytes(options.page, to_html(story).encode())


def _watched(
    calibrated: Calibrated, answers: Sequence[Answers], upstream: Array, document: Document, details: Details
) -> dict[str, dict[str, Any]]:
    """Name of a fit -> what a device needs to watch over its promise."""
    judge = judge_for(document.task, document.labels, details=details)
    told = {name: getattr(details, name) for name in ("cut", "tolerance", "cosine")}
    told = {name: value for name, value in told.items() if value is not None}
    said = {each.variant: each for each in answers}
    found: dict[str, dict[str, Any]] = {}
    for fit in (*calibrated.each, calibrated.chosen):
        first = said[fit.variant]
        found[fit.name] = watching(fit, first.outputs, judge.disagree(first.outputs[first.decision], upstream))
        if told:
            found[fit.name]["details"] = told
    return found


def _written(
    result: Result, bundle: Bundle, work: _Work, watched: Mapping[str, dict[str, Any]], options: Namespace, clock: Clock
) -> Result:
    data = {"name": result.samples.name, "digest": result.samples.digest}
    calibrations = calibrations_of(
        result.calibrated, data, result.upstream.against, options.minimise, clock.timestamp(), watched
    )
    signed, released = with_calibrations(bundle, calibrations, work.key, work.verification)
    write_file(signed, options.output)
    return replace(result, output=options.output, released=released)
