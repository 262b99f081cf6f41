"""Choosing by name: shell patterns, and an error that helps where one matches nothing."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from edgewise.errors import InputError

__all__ = ["matching"]

_SHOWN = 5


def matching(patterns: Sequence[str], names: Iterable[str], what: str) -> tuple[str, ...]:
    """The ``names`` that one of the shell patterns (``*``, ``?``, ``[...]``) or exact names means, in their own order.

    what: plural of what is chosen, for messages. Raises InputError where a pattern matches nothing, with names near it; the
    pattern ``*`` alone may match nothing.
    """
    names = list(names)
    lost = [p for p in patterns if p != "*" and not any(name == p or fnmatchcase(name, p) for name in names)]
    if lost:
        near = [name for p in lost for name in get_close_matches(p.strip("*"), names, _SHOWN, 0.4)]
        shown = ", ".join(dict.fromkeys(near or names[:_SHOWN])) or "none"
        raise InputError(
            f"no {what} match {', '.join(map(repr, lost))}; {'near are' if near else 'there are'}: {shown}",
            remedy="Correct the pattern; * stands for any part of a name.",
            patterns=lost,
            near=near,
        )
    return tuple(name for name in names if any(name == p or fnmatchcase(name, p) for p in patterns))
