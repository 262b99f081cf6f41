"""From recorded answers to what is stored: which variant, which rule, which threshold, for the least cost under the promise.

**Why the choice costs the promise nothing.** Some samples choose (``split``): each variant's rule, what is called a loss where
that is open, the test, the path of a cascade, and at last which of the variants is cheapest. The threshold of each comes from the
other samples, by a test at level delta. Given what the first samples chose, the second ones are as random as ever, so each
variant's promise holds with 1 - delta, and the chosen one is *one* of them, named before they were looked at. Had the cheapest
been named by the offload that the promise's samples came to, it would be the luckiest of several, and a luck of delta each would
add up. So it can happen that another variant came out cheaper in the end; it is shown, and may be taken at the next calibration.

Where nothing is to be chosen (one variant, one rule without parameters, one test) all samples are for the promise.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from edgewise.errors import DataError, InputError
from edgewise.measure.npz import Array
from edgewise.routing.fitting.cascade import fit_cascade, plan_cascade
from edgewise.routing.fitting.judging import Judged, judge, losses_for, tests_for
from edgewise.routing.fitting.single import Choice, Scored, choose_rule, fit_single
from edgewise.routing.fitting.split import CHOOSING, Split, split
from edgewise.routing.fitting.types import Calibrated, Fit, Loss, Recorded, Wanted
from edgewise.routing.losses import judge_for
from edgewise.routing.risk import least_samples
from edgewise.routing.rule import HEAD_OUTPUT, Rule
from edgewise.routing.rules.fit import Hints, fit_rule
from edgewise.routing.rules.kinds import KINDS, rules_for
from edgewise.runtime.decision import winners

__all__ = ["calibrate"]

_AUTO = "auto"
_HEAD = Hints(output=HEAD_OUTPUT)  # the only output of which it is known beforehand that it says how sure a model is


def calibrate(
    recorded: Sequence[Recorded], upstream: Array, wanted: Wanted, *, task: str, decision: str,
    labels: tuple[str, ...] = (), y: Array | None = None, seed: int = 0,
) -> Calibrated:  # fmt: skip
    """The cheapest variant, rule and threshold that keep the promise, and every other variant's beside it.

    recorded: what each variant answered; upstream: (N, ...) its deciding output on the same samples. task, decision, labels: of the
    bundle's document. y: (N, ...) the truth where it is known, in the form of ``losses``. seed: of the split, and of bets.
    Raises DataError where samples are too few, with how many more are needed; InputError for what cannot be wanted together.
    """
    _check(recorded, upstream, wanted, y)
    meaning = judge_for(task, labels, wanted.weights, wanted.details)
    losses = losses_for(wanted, labels=y is not None)
    judged = [
        judge(
            each, upstream, decision, meaning, losses, y=y, labels=labels, by_class=wanted.by_class
        )
        for each in recorded
    ]  # fmt: skip
    names = rules_for(task) if wanted.rules == (_AUTO,) else wanted.rules
    chance, notes = _chance(judged, names, len(upstream), wanted, seed)
    taught = y if y is not None else winners(upstream) if task == "classification" else upstream
    scored = [_scored(each, names, decision, taught, chance, wanted) for each in judged]

    def chosen_among(losses: tuple[Loss, ...]) -> list[Choice]:
        pairs = zip(judged, scored, strict=True)
        return [
            choose_rule(each, own, losses, chance, wanted.promise, wanted.cost, wanted.block) for each, own in pairs
        ]

    choices = chosen_among(losses)
    fits = [fit_single(choice, chance, wanted.promise, wanted.cost, wanted.block, seed) for choice in choices]
    cheapest = min(range(len(fits)), key=lambda at: (choices[at].cost, fits[at].bytes, at))
    chosen, cascade = fits[cheapest], None
    if wanted.cascade:
        # One promise for two variants is about one meaning of loss, so here they choose for each meaning by itself.
        cascade, expected = _cascade([chosen_among((loss,)) for loss in losses], chance, wanted, seed)
        if expected < choices[cheapest].cost:
            chosen = cascade
    return Calibrated(chosen, tuple(fits), cascade, (*notes, *_notes(chosen, fits, judged, wanted)))


def _check(recorded: Sequence[Recorded], upstream: Array, wanted: Wanted, y: Array | None) -> None:
    if not recorded or len({each.variant for each in recorded}) != len(recorded):
        raise InputError("a fit needs the recorded answers of at least one variant, each variant once")
    if wanted.cascade and wanted.by_class:
        raise InputError(
            "a cascade has one promise for all classes together", remedy="Leave out either the cascade or the classes."
        )
    if wanted.cascade and len(recorded) < 2:
        raise InputError("a cascade needs two variants", remedy="Record a second one, or leave the cascade out.")
    lengths = {len(upstream), *(len(array) for each in recorded for array in each.outputs.values())}
    lengths |= {len(array) for array in (y, wanted.block) if array is not None}
    if len(lengths) != 1 or 0 in lengths:
        raise DataError(f"answers, truth and blocks are of the same samples, not of {sorted(lengths)}")
    least = least_samples(wanted.promise)
    units = len(upstream) if wanted.block is None else len(np.unique(wanted.block))
    if units < least:
        what = "samples" if wanted.block is None else "blocks of samples that belong together"
        raise DataError(
            f"{units} {what} are too few to promise {wanted.promise.epsilon:g} with a chance of {wanted.promise.delta:g} to fail",
            remedy=f"About {least - units} more are needed before anything can be kept, or a larger epsilon.",
        )


def _chance(
    judged: Sequence[Judged], names: Sequence[str], samples: int, wanted: Wanted, seed: int
) -> tuple[Split, list[str]]:
    """Who chooses and who promises. Where there are not enough for both, the first rule is taken and all are for the promise."""
    if not _is_choice(judged, names, samples, wanted):
        return split(samples, choice=False), []
    chance, block = split(samples, choice=True, block=wanted.block, seed=seed), wanted.block
    least, kept = least_samples(wanted.promise), chance.promising
    left = len(kept) if block is None else len(np.unique(block[kept]))
    if left >= least:
        return chance, []
    if len(judged) > 1 or _learns(names[0]):
        what = "samples" if block is None else "blocks"
        raise DataError(
            f"{left} {what} are left for the promise where some choose among variants and rules, and {least} are the least",
            remedy=f"About {math.ceil((least - left) / (1 - CHOOSING))} more are needed, or name one variant and one rule.",
        )
    return split(samples, choice=False), [
        f"There are too few samples to choose with, so {names[0]} was taken as the rule."
    ]


def _learns(name: str) -> bool:
    return name in KINDS and bool(KINDS[name].learns)


def _is_choice(judged: Sequence[Judged], names: Sequence[str], samples: int, wanted: Wanted) -> bool:
    """Whether anything is left open, or a rule has something to learn."""
    tests = [
        test
        for each in judged
        for loss, values in each.losses.items()
        for test in tests_for(loss, values, samples, blocks=wanted.block is not None)
    ]
    return len(judged) > 1 or len(names) > 1 or len(tests) > 1 or any(map(_learns, names))


def _scored(each: Judged, names: Sequence[str], decision: str, y: Array, chance: Split, wanted: Wanted) -> list[Scored]:
    """The rules that fit this variant's outputs, fitted to the samples that choose."""
    outputs, rows = each.recorded.outputs, chance.choosing
    if wanted.rules == (_AUTO,) and HEAD_OUTPUT in outputs:
        names = (*names, "graph-output")
    found, faults = [], []
    for name in names if len(rows) else names[:1]:
        try:
            few = not len(rows)
            hints = _hints(wanted)
            rule = (
                fit_rule(name, outputs, decision, hints=hints) if few else _fitted(name, each, decision, y, rows, hints)
            )
            score = _scores(rule, outputs)
            found.append(
                Scored(rule, score, _on_trial(name, each, decision, y, rows, hints) if _learns(name) else score[rows])
            )
        except InputError as error:
            if wanted.rules != (_AUTO,):
                raise
            faults.append(error)
    if not found:
        nothing = InputError(
            "no rule fits this task", remedy='Name one: "graph-output" takes a score that the model itself gives.'
        )
        raise faults[0] if faults else nothing
    return found


def _hints(wanted: Wanted) -> Hints:
    return _HEAD if wanted.details is None else replace(_HEAD, cut=wanted.details.cut)


def _fitted(name: str, each: Judged, decision: str, y: Array, rows: Array, hints: Hints) -> Rule:
    lost = next(iter(each.losses.values()))[rows]
    outputs = {key: array[rows] for key, array in each.recorded.outputs.items()}
    return fit_rule(name, outputs, decision, y=y[rows], lost=np.maximum(lost, 0), hints=hints)


def _on_trial(name: str, each: Judged, decision: str, y: Array, rows: Array, hints: Hints) -> Array:
    """Each half of the samples that choose by a rule that was fitted to the other half: what was learnt by heart does not count."""
    found, halves = np.zeros(len(rows)), np.arange(len(rows)) % 2 == 0
    for half in (halves, ~halves):
        rule = _fitted(name, each, decision, y, rows[half], hints)
        found[~half] = _scores(rule, {key: array[rows[~half]] for key, array in each.recorded.outputs.items()})
    return found


def _scores(rule: Rule, outputs: Mapping[str, Array]) -> Array:
    """What is not sure at all lies below the rest: a threshold may reach it, and a node still does not keep it."""
    score = np.asarray(rule.scores(outputs), np.float64)
    sure = np.isfinite(score)
    return np.where(sure, score, float(score[sure].min(initial=0.0)) - 1.0)


def _cascade(each: Sequence[Sequence[Choice]], chance: Split, wanted: Wanted, seed: int) -> tuple[Fit, float]:
    """The best of all pairs, the quicker first, by the samples that choose; ``each``: the variants' choices, by meaning of loss."""
    plans = []
    for choices in each:
        ranked = sorted(choices, key=lambda choice: choice.judged.recorded.seconds)
        plans += [
            plan_cascade(first, second, chance, wanted.promise, wanted.cost, wanted.block)
            for first, second in combinations(ranked, 2)
        ]
    best = min(plans, key=lambda plan: plan.cost)
    return fit_cascade(best, chance, wanted.promise, wanted.cost, wanted.block, seed), best.cost


def _notes(chosen: Fit, fits: Sequence[Fit], judged: Sequence[Judged], wanted: Wanted) -> list[str]:
    notes = []
    what = "blocks" if chosen.blocks else "samples"
    if chosen.chosen.offload >= 1:
        notes.append(f"{chosen.name} keeps nothing under this promise: every input is passed on.")
    elif chosen.to_near:
        now = chosen.blocks or chosen.samples
        notes.append(
            f"About {chosen.to_near - now:,} more {what} would bring the share passed on within 1.3 times what an oracle passes on."
        )
    cheaper = [fit for fit in fits if fit.cost < chosen.cost and fit is not chosen]
    if cheaper:
        notes.append(
            f"{cheaper[0].name} came out cheaper than {chosen.name}, which was named before: calibrate it alone to take it."
        )
    if wanted.by_class:
        for each in judged:
            if each.recorded.variant == chosen.variant and each.group is not None:
                kept = set(chosen.stages[0].by_group)
                named = {label for label in kept if chosen.stages[0].by_group[label] is not None}
                if kept - named:
                    notes.append(
                        f"Always passed on, for too few samples or too many errors: {', '.join(sorted(kept - named)[:20])}."
                    )
    return notes
