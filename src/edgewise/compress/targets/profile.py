"""A target: a runtime on some kind of processor, the operators that it has, and where that is known from.

The profiles are data (``profiles/*.json``, made by ``scripts/make_targets.py``). What a runtime on this machine says of itself is
checked by tests; what vendors' tables say is as good as the tables, and each profile names them with their version.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from edgewise.errors import NotFoundError

__all__ = ["Entry", "Profile", "find_profile", "profiles"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What a target has of one operator.

    since: versions of the operator, first and last, None for "and later"; empty where the source does not say. types: element
    types of the first input; empty where the source does not say. note: what is left out.
    """

    since: tuple[tuple[int, int | None], ...] = ()
    types: tuple[str, ...] = ()
    note: str = ""

    def has(self, version: int) -> bool:
        """Whether the operator as it is since opset ``version`` is there.

        An open end means this version until there is a later one: a kernel is not for versions that were not known to it.
        """
        if not self.since:
            return True
        return any(low == version or (high is not None and low < version <= high) for low, high in self.since)


@dataclass(frozen=True, slots=True)
class Profile:
    """operators: name (with ``com.microsoft:`` in front where it is one of those) -> what there is of it.

    otherwise: what becomes of a node that the target has not: ``fails``, or ``falls back to ...``. sources: where the table is
    from. checked: what was tried on a real one, "" where nothing was. opset: the highest; None for no limit. fixed_shapes: no
    dimension may vary. casts_half: what has no float16 form is computed in float32 between casts.
    limits: in bytes, ``modelBytes`` and ``memoryBytes``, where the source states them.
    """

    name: str
    title: str
    sources: tuple[str, ...]
    checked: str
    otherwise: str
    opset: int | None
    fixed_shapes: bool
    casts_half: bool
    limits: dict[str, int]
    operators: dict[str, Entry]


def profiles() -> tuple[str, ...]:
    """The names of all profiles."""
    folder = files("edgewise.compress.targets").joinpath("profiles")
    return tuple(sorted(item.name.removesuffix(".json") for item in folder.iterdir() if item.name.endswith(".json")))


@cache
def find_profile(name: str) -> Profile:
    """The profile called ``name``. Raises NotFoundError with the names there are."""
    if name not in profiles():
        raise NotFoundError(f"there is no target {name!r}", remedy=f"There are: {', '.join(profiles())}.", name=name)
    text = files("edgewise.compress.targets").joinpath("profiles", f"{name}.json").read_text(encoding="utf-8")
    value = json.loads(text)
    own = {
        key: Entry(
            tuple((low, high) for low, high in entry.get("since", ())), tuple(entry.get("types", ())), entry.get("note", "")
        )
        for key, entry in value["operators"].items()
    }  # fmt: skip
    operators = {**(find_profile(value["like"]).operators if value["like"] else {}), **own}
    return Profile(
        value["name"], value["title"], tuple(value["sources"]), value["checked"], value["otherwise"], value["highestOpset"],
        value["fixedShapes"], value["castsHalf"], dict(value["limits"]), operators,
    )  # fmt: skip
