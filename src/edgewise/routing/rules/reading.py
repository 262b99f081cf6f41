"""Reading a deferral rule from what a calibration stores: input from outside."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, cast

from edgewise.bundle.fields import Form
from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import DocumentError
from edgewise.routing.rule import Rule
from edgewise.routing.rules.kinds import KINDS
from edgewise.routing.rules.source import NeedyRule, refuse_unknown

__all__ = ["read_rule"]


def read_rule(value: Mapping[str, Any], outputs: Iterable[TensorSpec] = ()) -> Rule:
    """The rule that ``Rule.to_json`` gave as ``value``; with the interface's ``outputs`` (of the document), those it looks at are
    sought among them and its vectors held against their shapes.

    Raises DocumentError with every fault of it at once; for a name that is not known, with those that are.
    """
    form = Form(dict(value) if isinstance(value, Mapping) else value, "deferral rule")
    name = form.text("name", one_of=KINDS)
    if name not in KINDS:
        form.finish()
    # A node loads what its own rule needs, and no other's: there is one rule in a process, and its start is counted in ms.
    rule = import_module(f"edgewise.routing.rules.{KINDS[name].module}").read(name, form)
    refuse_unknown(form)
    form.finish()
    _check_interface(rule, tuple(outputs))
    return cast("Rule", rule)


def _check_interface(rule: NeedyRule, outputs: tuple[TensorSpec, ...]) -> None:
    if not outputs:
        return
    there = {spec.name: spec for spec in outputs}
    problems = []
    for name, width in rule.needs():
        if name not in there:
            problems.append(f"of: the model has no output {name!r}; it has {', '.join(there)}")
            continue
        last = there[name].shape[-1] if len(there[name].shape) > 1 else 1
        if width and isinstance(last, int) and last != width:
            problems.append(f"of: the output {name!r} has {last} values a row, and the rule {width}")
    if problems:
        raise DocumentError("deferral rule", problems)
