"""Fitting a rule to calibration samples. Not for the samples that the promise is made on: a rule has to be fixed before those are
looked at, or the promise is about something that was chosen for them.
"""

from collections.abc import Callable, Mapping

from edgewise.errors import DataError, InputError
from edgewise.routing.rule import Rule
from edgewise.routing.rules.classes import Logits, forms_of, make
from edgewise.routing.rules.kinds import KINDS
from edgewise.routing.rules.source import find_source
from edgewise.routing.scores import fit_temperature, fit_vector
from edgewise.runtime.engine import Array

__all__ = ["fit_rule"]


def fit_rule(
    name: str,
    outputs: Mapping[str, Array],
    decision: str,
    *,
    y: Array | None = None,
    scale: tuple[float, int] = (1.0, 0),
) -> Rule:
    """The rule ``name``, fitted to what a model answered on samples that nothing else rests on.

    outputs: by the interface's name, (N, ...). decision: the one that decides. y: (N,) the class of each sample, true or decided
    upstream; without it, what needs none is left at its default. scale: of a quantized deciding output.
    Raises InputError for a name that is not known, DataError where outputs or ``y`` do not fit the rule.
    """
    if name not in KINDS:
        raise InputError(f"there is no deferral rule {name!r}", remedy=f"There are {', '.join(KINDS)}.")
    return _FITS[KINDS[name].module](name, outputs, decision, y, scale)


def _fit_classes(
    name: str, outputs: Mapping[str, Array], decision: str, y: Array | None, scale: tuple[float, int]
) -> Rule:
    source = find_source(outputs, decision, scale)
    if source.form not in forms_of(name):
        raise DataError(
            f"{name} needs {' or '.join(forms_of(name))}, and the output {source.output!r} has {source.form}",
            remedy="Keep the scores before softmax as an output, or take another rule.",
        )
    if name.startswith("vector-"):
        if y is None:
            raise DataError(f"{name} is fitted to classes: the true ones, or those that upstream decided")
        each, bias = fit_vector(Logits(source).unscaled(outputs), y)
        return make(name, Logits(source, 1.0, tuple(each.tolist()), tuple(bias.tolist())))
    if y is None or source.form == "winner" or name == "max-logit":
        return make(name, Logits(source))
    return make(name, Logits(source, fit_temperature(Logits(source).unscaled(outputs), y)))


_FITS: Mapping[str, Callable[[str, Mapping[str, Array], str, Array | None, tuple[float, int]], Rule]] = {
    "classes": _fit_classes,
}
