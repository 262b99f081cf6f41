"""Reading typed fields out of a JSON object, collecting every problem instead of stopping at the first.

    form = Form(obj, "bundle document")
    name = form.text("name", pattern=NAME)
    form.finish()            # raises DocumentError with all problems, each with its path

Fields that nobody asked for are kept by ``rest()``, so that a document of a newer version survives a round trip.
"""

import math
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from edgewise.digests import is_digest
from edgewise.errors import DocumentError

__all__ = ["Form"]

T = TypeVar("T")
_MISSING: Any = object()
MAX_TEXT = 16_384  # characters; longer text belongs in a file of its own


class Form:
    """One JSON object being read; child forms share the list of problems."""

    def __init__(self, value: Any, kind: str, path: str = "", problems: list[str] | None = None) -> None:
        self.kind = kind
        self.path = path
        self.problems: list[str] = [] if problems is None else problems
        self._asked: set[str] = set()
        self._object: dict[str, Any] = value if isinstance(value, dict) else {}
        if not isinstance(value, dict):
            self.problems.append(f"{path or '(top)'}: an object is needed, not {_name(value)}")

    def problem(self, field: str, text: str) -> None:
        """Note that ``field`` of this object is at fault."""
        self.problems.append(f"{self._at(field)}: {text}")

    def finish(self) -> None:
        """Raise DocumentError if anything was noted, here or in a child."""
        if self.problems:
            raise DocumentError(self.kind, self.problems)

    def rest(self) -> dict[str, Any]:
        """The fields that were not asked for."""
        return {name: value for name, value in self._object.items() if name not in self._asked}

    def text(
        self,
        field: str,
        *,
        pattern: re.Pattern[str] | None = None,
        one_of: Iterable[str] | None = None,
        default: str = _MISSING,
        limit: int = MAX_TEXT,
    ) -> str:
        value = self._take(field, default)
        if value is default and default is not _MISSING:
            return str(default)
        if not isinstance(value, str):
            return self._wrong(field, value, "text", "")
        if len(value) > limit:
            self.problem(field, f"{len(value)} characters; at most {limit}")
        elif one_of is not None and value not in (allowed := list(one_of)):
            self.problem(field, f"{value[:60]!r} is not one of {', '.join(allowed)}")
        elif pattern is not None and not pattern.fullmatch(value):
            self.problem(field, f"{value[:60]!r} does not match {pattern.pattern}")
        return str(value)

    def digest(self, field: str) -> str:
        value = self._take(field, _MISSING)
        if not is_digest(value):
            return self._wrong(field, value, "a digest (sha256: and 64 hex digits)", "")
        return str(value)

    def integer(self, field: str, *, low: int = 0, high: int = 2**53 - 1, default: int = _MISSING) -> int:
        value = self._take(field, default)
        if value is default and default is not _MISSING:
            return int(default)
        if not isinstance(value, int) or isinstance(value, bool):
            return self._wrong(field, value, "an integer", low)
        if not low <= value <= high:
            self.problem(field, f"{value} is outside {low}..{high}")
        return int(value)

    def number(self, field: str, *, low: float = -math.inf, high: float = math.inf, default: float = _MISSING) -> float:
        value = self._take(field, default)
        if value is default and default is not _MISSING:
            return float(default)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
            return self._wrong(field, value, "a number", 0.0)
        if not low <= value <= high:
            self.problem(field, f"{value} is outside {low}..{high}")
        return float(value)

    def items(self, field: str, read: Callable[["Form"], T], *, limit: int = 4096, optional: bool = False) -> list[T]:
        """A list of objects, each read by ``read`` from its own form."""
        value = self._take(field, [] if optional else _MISSING)
        if not isinstance(value, list):
            return self._wrong(field, value, "a list", [])
        if len(value) > limit:
            self.problem(field, f"{len(value)} entries; at most {limit}")
        return [read(self._child(item, f"{field}[{at}]")) for at, item in enumerate(value[:limit])]

    def values(self, field: str, allowed: Callable[[Any], bool], what: str, *, limit: int = 65_536) -> list[Any]:
        """A list of plain values, optional; ``allowed`` says which."""
        value = self._take(field, [])
        if not isinstance(value, list) or len(value) > limit:
            return self._wrong(field, value, f"a list of at most {limit} entries", [])
        for at, item in enumerate(value):
            if not allowed(item):
                self.problem(f"{field}[{at}]", f"{what} is needed, not {_name(item)}")
        return value

    def child(self, field: str, read: Callable[["Form"], T]) -> T | None:
        """An optional object, read by ``read``."""
        value = self._take(field, None)
        return None if value is None else read(self._child(value, field))

    def mapping(self, field: str, *, limit: int = 1024) -> dict[str, str]:
        """An optional object whose values are all text."""
        value = self._take(field, {})
        if not isinstance(value, dict) or len(value) > limit:
            return self._wrong(field, value, f"an object of at most {limit} texts", {})
        for name, item in value.items():
            if not isinstance(item, str):
                self.problem(f"{field}[{_name(name)}]", f"text is needed, not {_name(item)}")
        return {name: item for name, item in value.items() if isinstance(item, str)}

    def anything(self, field: str) -> Any:
        """An optional value of any form."""
        return self._take(field, None)

    def _child(self, value: Any, at: str) -> "Form":
        return Form(value, self.kind, self._at(at), self.problems)

    def _at(self, field: str) -> str:
        return f"{self.path}.{field}" if self.path else field

    def _take(self, field: str, default: object) -> Any:
        self._asked.add(field)
        return self._object.get(field, default)

    def _wrong(self, field: str, value: object, needed: str, stand_in: T) -> T:
        self.problem(field, "is missing" if value is _MISSING else f"{needed} is needed, not {_name(value)}")
        return stand_in


def _name(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
