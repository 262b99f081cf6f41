"""Reading a deferral rule from what a calibration stores: input from outside."""

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any, cast

from edgewise.bundle.fields import Form
from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import DocumentError
from edgewise.routing.rules.kinds import KINDS, load
from edgewise.routing.rules.source import Need, NeedyRule, refuse_unknown

__all__ = ["read_rule"]


def read_rule(value: Mapping[str, Any], outputs: Iterable[TensorSpec] = ()) -> NeedyRule:
    """The rule that ``Rule.to_json`` gave as ``value``; with the interface's ``outputs`` (of the document), those it looks at are
    sought among them and its vectors held against their shapes.

    Raises DocumentError with every fault of it at once; for a name that is not known, with those that are.
    """
    form = Form(dict(value) if isinstance(value, Mapping) else value, "deferral rule")
    name = form.text("name", one_of=KINDS)
    if name not in KINDS:
        form.finish()
    rule = load(name).read(name, form)
    refuse_unknown(form)
    form.finish()
    found = cast("NeedyRule", rule)  # None only where there were problems
    _check_interface(found, tuple(outputs))
    return found


def _check_interface(rule: NeedyRule, outputs: tuple[TensorSpec, ...]) -> None:
    there = {spec.name: spec for spec in outputs}
    problems = [fault for need in rule.needs() if (fault := _fault(need, there))] if there else []
    if problems:
        raise DocumentError("deferral rule", problems)


def _fault(need: Need, there: Mapping[str, TensorSpec]) -> str:
    spec = there.get(need.output)
    if spec is None:
        return f"of: the model has no output {need.output!r}; it has {', '.join(there)}"
    if spec.dtype == "str" or (need.whole and "int" not in spec.dtype):
        return f"of: the output {need.output!r} has values of {spec.dtype}"
    if need.rank and len(spec.shape) != need.rank:
        return f"of: the output {need.output!r} has {len(spec.shape)} axes, and the rule looks at {need.rank}"
    width = _width(spec.shape, need)
    if width is None or ((width == need.width or not need.width) and width >= need.least):
        return ""
    return f"of: the output {need.output!r} has {width} values a row, and the rule looks at {need.width or need.least}"


def _width(shape: tuple[int | str, ...], need: Need) -> int | None:
    """Values in a row: of the last axis where rows are tables themselves; None where it varies."""
    axes = shape[-1:] if need.table else shape[1:]
    sizes = [size for size in axes if isinstance(size, int)]
    return prod(sizes) if len(sizes) == len(axes) else None
