"""A target: a runtime on some kind of processor, the operators that it has, and where that is known from.

The profiles are data (``profiles/*.json``, made by ``scripts/make_targets.py``). What a runtime on this machine says of itself is
checked by tests; what vendors' tables say is as good as the tables, and each profile names them with their version.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from edgewise.errors import NotFoundError

__all__ = ["Entry", "Form", "Profile", "find_profile", "profiles"]


@dataclass(frozen=True, slots=True)
class Form:
    """Versions of an operator with the element types that it has there.

    since: first and last version, None for "and later"; empty for any. types: of the first input; empty where the source does not
    say. others: place of a further input, or -1 for the first output, with its types.
    """

    since: tuple[tuple[int, int | None], ...] = ()
    types: tuple[str, ...] = ()
    others: tuple[tuple[int, tuple[str, ...]], ...] = ()

    def has(self, version: int) -> bool:
        """Whether the operator as it is since opset ``version`` is there.

        An open end means this version until there is a later one: a kernel is not for versions that were not known to it.
        """
        if not self.since:
            return True
        return any(low == version or (high is not None and low < version <= high) for low, high in self.since)

    def takes(self, dtypes: Mapping[int, str]) -> bool:
        """Whether it is there for these types; a type that is not known ("") is no reason against it."""
        wanted = ((0, self.types), *self.others)
        return all(not types or not dtypes.get(place) or dtypes[place] in types for place, types in wanted)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a target has of one operator.

    needs: what a node has to meet, in the words of ``needs.py``. note: what else is left out, which no check can see.
    refuses: types that were tried and refused, where the source is a trial; types that are neither here nor in ``forms`` were not
    tried. None where the source is a table, and ``forms`` are all there are.
    """

    forms: tuple[Form, ...] = (Form(),)
    needs: tuple[str, ...] = ()
    note: str = ""
    refuses: tuple[str, ...] | None = None

    def lacks(self, version: int | None, dtypes: Mapping[int, str]) -> str:
        """Why the operator as it is since opset ``version`` (None: unknown) is not there for ``dtypes``; "" where it is.

        dtypes: place of an input, or -1 for the first output -> element type.
        """
        forms = [form for form in self.forms if version is None or form.has(version)]
        if not forms:
            return f"not in the form that it has since opset {version}"
        first = dtypes.get(0, "")
        if self.untried(first) or any(form.takes(dtypes) for form in forms):
            return ""
        types = sorted({name for form in forms for name in form.types})
        if first and first not in types:
            return f"not for {first}, but for {', '.join(types)}"
        named = ", ".join(name for place, name in sorted(dtypes.items(), key=lambda item: item[0] % 99) if name)
        return f"not for these types together: {named}"

    def untried(self, dtype: str) -> bool:
        """Whether nothing is known of a first input of this type, because the source is a trial without it."""
        known = {name for form in self.forms for name in form.types}
        return bool(self.refuses is not None and dtype and known and dtype not in known and dtype not in self.refuses)


@dataclass(frozen=True, slots=True)
class Profile:
    """operators: name (with ``com.microsoft:`` in front where it is one of those) -> what there is of it.

    sources: where the table is from, with version and date. checked: what was tried on a real one, "" where nothing was.
    unknown: what the sources do not say. otherwise: what becomes of a node that the target has not: ``fails``, or
    ``falls back to ...``. fallback: the profile of what it falls back to; None where nothing does.
    opsets: lowest and highest; None for no limit. ir_version: the highest. fixed_shapes: no dimension may vary. varying: what is to
    be said of dimensions that do.
    casts: type without a kernel -> type that is computed in, between casts. expands: what has no kernel is taken apart where ONNX
    defines it by other operators. folds: what is computed from stored values alone is computed before. quantized: only what lies
    between QuantizeLinear and DequantizeLinear is taken, as integers.
    limits: in bytes, ``modelBytes`` and ``memoryBytes``, where the source states them.
    """

    name: str
    title: str
    sources: tuple[str, ...]
    checked: str
    unknown: str
    otherwise: str
    fallback: str | None
    opsets: tuple[int | None, int | None]
    ir_version: int | None
    fixed_shapes: bool
    varying: str
    casts: dict[str, str]
    expands: bool
    folds: bool
    quantized: bool
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
    own = {key: _entry(entry) for key, entry in value["operators"].items()}
    operators = {**(find_profile(value["like"]).operators if value["like"] else {}), **own}
    low, high = value["opsets"]
    return Profile(
        value["name"], value["title"], tuple(value["sources"]), value["checked"], value["unknown"], value["otherwise"],
        value["fallback"], (low, high), value["irVersion"], value["fixedShapes"], value["varying"], dict(value["casts"]),
        value["expands"], value["folds"], value["quantized"], dict(value["limits"]), operators,
    )  # fmt: skip


def _entry(value: dict[str, Any]) -> Entry:
    forms = tuple(
        Form(
            tuple((low, high) for low, high in form.get("since", ())),
            tuple(form.get("types", ())),
            tuple((int(place), tuple(types)) for place, types in form.get("others", {}).items()),
        )
        for form in value.get("forms", ({},))
    )
    refuses = value.get("refuses")
    return Entry(
        forms, tuple(value.get("needs", ())), value.get("note", ""), None if refuses is None else tuple(refuses)
    )
