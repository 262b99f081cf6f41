"""The deferral rules that there are, by name, and which task each is for."""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Protocol, cast

from edgewise.bundle.fields import Form
from edgewise.errors import InputError
from edgewise.records import dataclass
from edgewise.routing.rules.source import NeedyRule

__all__ = ["KINDS", "Family", "Kind", "default_rule", "load", "rules_for"]


@dataclass(frozen=True, slots=True)
class Kind:
    """module: of this package, that has the rule. tasks: that it is for, in the words of a bundle's document, and "sequence" for
    scores at each step. learns: "y" where so much is fitted (to the classes or values of samples, true or upstream's) that the
    rule looks better on those samples than on others, else "". scope: whether it tells inputs that belong to no class.
    """

    module: str
    tasks: tuple[str, ...]
    learns: str = ""
    scope: bool = False


class Family(Protocol):
    """A module that has rules. ``read`` gives the rule ``name`` from a form, in which it notes every problem."""

    def read(self, name: str, form: Form) -> NeedyRule | None: ...


_CLASSES = ("classification",)

#: Name -> kind. The first of a task is its default.
KINDS: Mapping[str, Kind] = MappingProxyType({
    "max-probability": Kind("classes", _CLASSES),
    "margin": Kind("classes", _CLASSES),
    "entropy": Kind("classes", _CLASSES),
    "energy": Kind("classes", _CLASSES, scope=True),
    "max-logit": Kind("classes", _CLASSES, scope=True),
    "vector-max-probability": Kind("classes", _CLASSES, "y"),
    "vector-margin": Kind("classes", _CLASSES, "y"),
    "vector-entropy": Kind("classes", _CLASSES, "y"),
    "vector-energy": Kind("classes", _CLASSES, "y", scope=True),
    "box-confidence": Kind("boxes", ("detection",), "y"),
    "least-label": Kind("labels", ("multilabel",)),
    "label-set": Kind("labels", ("multilabel",)),
    "threshold-distance": Kind("quantities", ("anomaly",)),
    "residual-scale": Kind("quantities", ("regression",), "y"),
    "interval-width": Kind("quantities", ("regression",)),
    "prototype-ratio": Kind("prototypes", ("embedding",), "y"),
    "prototype-similarity": Kind("prototypes", ("embedding", "classification"), "y", scope=True),
    "mahalanobis": Kind("prototypes", ("embedding", "classification"), "y", scope=True),
    "with-scope": Kind("joined", _CLASSES, "y", scope=True),
    "sequence-mean": Kind("sequences", ("sequence",)),
    "sequence-min": Kind("sequences", ("sequence",)),
    "graph-output": Kind("joined", ()),
})  # fmt: skip


def rules_for(task: str) -> tuple[str, ...]:
    """Names of the rules that fit a task, its default first; empty where only a score that the model itself gives could be one."""
    return tuple(name for name, kind in KINDS.items() if task in kind.tasks)


def default_rule(task: str) -> str:
    """The rule that a task has where nobody says otherwise. Raises InputError where nothing can be known of the outputs."""
    names = rules_for(task)
    if not names:
        raise InputError(
            f"no deferral rule knows what the outputs of a {task} model mean",
            remedy='State the task when packing, or name an output that says how sure it is: rule "graph-output".',
        )
    return names[0]


def load(name: str) -> Family:
    """The module of a rule. A node loads what its own rule needs and no other's: its start is counted in milliseconds."""
    return cast("Family", import_module(f"edgewise.routing.rules.{KINDS[name].module}"))
