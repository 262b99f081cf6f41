"""Fitting a rule to samples. Not to those that the promise is made on: a rule has to be fixed before they are looked at, or the
promise is about something that was chosen for them.
"""

from collections.abc import Callable, Mapping

import numpy as np

from edgewise.errors import DataError, InputError
from edgewise.routing.rules.classes import Logits, forms_of, make
from edgewise.routing.rules.curve import Curve
from edgewise.routing.rules.fit_boxes import fit_boxes
from edgewise.routing.rules.fit_prototypes import fit_prototypes
from edgewise.routing.rules.fit_quantities import fit_quantity
from edgewise.routing.rules.joined import GraphOutput, WithScope
from edgewise.routing.rules.kinds import KINDS
from edgewise.routing.rules.labels import LabelSet, LeastLabel
from edgewise.routing.rules.samples import Hints, Samples
from edgewise.routing.rules.sequences import SequenceConfidence
from edgewise.routing.rules.source import NeedyRule, Source, find_source, sums_to_one
from edgewise.routing.scores import fit_temperature, fit_vector
from edgewise.runtime.answer import SET_FROM
from edgewise.runtime.engine import Array

__all__ = ["Hints", "fit_rule"]

_LEVELS = 65  # of a rank
_SMALLEST = 1e-6  # of a class's scale
_TOLD = Hints()


def fit_rule(
    name: str,
    outputs: Mapping[str, Array],
    decision: str,
    *,
    y: Array | None = None,
    lost: Array | None = None,
    scale: tuple[float, int] = (1.0, 0),
    hints: Hints = _TOLD,
) -> NeedyRule:
    """The rule ``name``, fitted to what a model answered on samples that nothing else rests on.

    outputs: by the interface's name, (N, ...). decision: the one that decides. y: (N,) the class of each sample, or its value for
    regression, or (N, m, 6 or 5) its objects: true, or by upstream. A class that the model does not have (-1) is none of those
    known. Without it, what can do without is left at its default. lost: (N,) what answering each sample would lose, as floats
    or bools. scale: of a quantized deciding output. hints: what outputs do not say themselves.

    Raises InputError for a name that is not known, DataError where it does not fit these outputs, or needs what was not given.
    """
    if name not in KINDS:
        raise InputError(f"there is no deferral rule {name!r}", remedy=f"There are {', '.join(KINDS)}.")
    if decision not in outputs:
        raise InputError(f"there is no output {decision!r}", remedy=f"The model has {', '.join(outputs)}.")
    return _fit(name, Samples(outputs, decision, y, lost, scale, hints))


def _fit(name: str, samples: Samples) -> NeedyRule:
    return _FITS[KINDS[name].module](name, samples)


def _fit_classes(name: str, samples: Samples) -> NeedyRule:
    source = find_source(samples.outputs, samples.decision, samples.scale)
    if source.form not in forms_of(name):
        raise DataError(
            f"{name} needs {' or '.join(forms_of(name))}, and the output {source.output!r} has {source.form}",
            remedy="Keep the scores before softmax as an output, or take another rule.",
        )
    bare = Logits(source)
    if source.form == "winner" or name == "max-logit" or (samples.y is None and not name.startswith("vector-")):
        return make(name, bare)
    rows = bare.unscaled(samples.outputs)
    known, classes = samples.known(rows.shape[1], decided=True)
    if not name.startswith("vector-"):
        return make(name, Logits(source, fit_temperature(rows[known], classes)))
    each, bias = fit_vector(rows[known], classes)
    # A class that is scaled by nothing at all would be one that no score speaks for.
    each = np.where(np.abs(each) < _SMALLEST, _SMALLEST, each)
    return make(name, Logits(source, 1.0, tuple(each.tolist()), tuple(bias.tolist())))


def _fit_labels(name: str, samples: Samples) -> NeedyRule:
    source = Source(samples.decision, "values", *samples.scale)
    rows = source.rows(samples.outputs)
    form = "each" if (rows >= 0).all() and (rows <= 1).all() else "scores"
    source = Source(samples.decision, form, *samples.scale)
    cut = SET_FROM if samples.hints.cut is None else samples.hints.cut
    if form == "each" and not 0 < cut < 1:
        raise DataError(f"labels are probabilities, and are never set from {cut:g} on")
    return LabelSet(source, cut) if name == "label-set" else LeastLabel(source, cut)


def _fit_sequence(name: str, samples: Samples) -> NeedyRule:
    steps = samples.outputs[samples.decision]
    if steps.ndim != 3 or steps.shape[2] < 2:
        raise DataError(f"scores of sequences are (N, steps, classes), not {steps.shape}")
    real = (steps.reshape(-1, steps.shape[2]).astype(np.float64) - samples.scale[1]) * samples.scale[0]
    source = Source(samples.decision, "probabilities" if sums_to_one(real) else "scores", *samples.scale)
    hints = samples.hints
    return SequenceConfidence(source, name == "sequence-min", hints.skip, hints.lengths)


def _fit_joined(name: str, samples: Samples) -> NeedyRule:
    hints = samples.hints
    if name == "graph-output":
        found = samples.outputs.get(hints.output)
        if found is None or found.dtype.kind != "f" or found[:1].size <= hints.column:
            raise DataError(
                f"no output {hints.output!r} with floats up to column {hints.column}",
                remedy=f"Name the output that says how sure the model is; it has {', '.join(samples.outputs)}.",
            )
        return GraphOutput(Source(hints.output, "values"), hints.column, hints.negate)
    scopes = [other for other, kind in KINDS.items() if kind.scope and other != name]
    if hints.scope not in scopes or hints.confidence not in KINDS or hints.confidence == name:
        raise InputError(
            f"{hints.confidence} and {hints.scope} are no rule of confidence and one of scope",
            remedy=f"Rules that tell what belongs to no class: {', '.join(scopes)}.",
        )
    confidence, scope = _fit(hints.confidence, samples), _fit(hints.scope, samples)
    outputs = samples.outputs
    if samples.y is not None:
        inside = samples.known(_width(outputs, samples), decided=True)[0]
        outputs = {output: values[inside] for output, values in outputs.items()}
    return WithScope(confidence, scope, _ranks(confidence.scores(outputs)), _ranks(scope.scores(outputs)))


def _width(outputs: Mapping[str, Array], samples: Samples) -> int:
    """How many classes a classifier has scores for."""
    return max(2, find_source(outputs, samples.decision, samples.scale).rows(outputs).shape[1])


def _ranks(score: Array) -> Curve:
    """Score -> share of these samples that have less."""
    levels = np.linspace(0, 1, _LEVELS)
    finite = score[np.isfinite(score)]
    if not len(finite):
        raise DataError("no sample has a finite score")
    at = np.quantile(finite, levels)
    last = np.append(at[1:] > at[:-1], True)
    return Curve(tuple(at[last].tolist()), tuple(levels[last].tolist()))


_FITS: Mapping[str, Callable[[str, Samples], NeedyRule]] = {
    "classes": _fit_classes, "labels": _fit_labels, "sequences": _fit_sequence, "joined": _fit_joined, "boxes": fit_boxes,
    "prototypes": fit_prototypes, "quantities": fit_quantity,
}  # fmt: skip
