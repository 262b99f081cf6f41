"""The deferral rules that there are, by name, and which task each is for."""

from collections.abc import Mapping
from types import MappingProxyType

from edgewise.errors import InputError
from edgewise.records import dataclass

__all__ = ["KINDS", "Kind", "default_rule", "rules_for"]


@dataclass(frozen=True, slots=True)
class Kind:
    """module: of this package, that has the rule; a node loads only that of the rule it has. tasks: that it is for, in the words
    of a bundle's document. learns: what it has to be fitted with: "" nothing, "classes" the class of each sample (true or
    upstream's), "values" likewise, "losses" what each sample would lose, "either" classes if there are any.
    scope: whether it tells inputs that are like nothing that was learnt from those that are.
    """

    module: str
    tasks: tuple[str, ...]
    learns: str = ""
    scope: bool = False


_CLASSES = ("classification",)

#: Name -> kind. The first of a task is its default.
KINDS: Mapping[str, Kind] = MappingProxyType({
    "max-probability": Kind("classes", _CLASSES),
    "margin": Kind("classes", _CLASSES),
    "entropy": Kind("classes", _CLASSES),
    "energy": Kind("classes", _CLASSES, scope=True),
    "max-logit": Kind("classes", _CLASSES, scope=True),
    "vector-max-probability": Kind("classes", _CLASSES, "classes"),
    "vector-margin": Kind("classes", _CLASSES, "classes"),
    "vector-entropy": Kind("classes", _CLASSES, "classes"),
    "vector-energy": Kind("classes", _CLASSES, "classes", scope=True),
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
