"""Third-party runtimes that report usage by default are told not to, before they are imported.

onnxruntime 1.32's wheels keep a database below the user's cache and start a thread (its Privacy.md); the variable below
stops both, but only if it is set before the import. A value that the user has set already is left alone.
"""

import os
import sys

__all__ = ["SWITCHES", "disable", "state"]

#: Environment variable -> value that turns reporting off -> the module it belongs to.
SWITCHES = {"ORT_DISABLE_TELEMETRY": ("1", "onnxruntime")}
_imported_first: set[str] = set()


def disable() -> None:
    """Set every switch that is not set yet, and remember which modules were there too early for it."""
    for variable, (value, module) in SWITCHES.items():
        if variable not in os.environ:
            os.environ[variable] = value
            if module in sys.modules:
                _imported_first.add(module)


def state() -> dict[str, str]:
    """Module -> ``off``, ``on`` (the user's own setting) or ``unknown`` (imported before edgewise could switch it off)."""
    found: dict[str, str] = {}
    for variable, (value, module) in SWITCHES.items():
        off = os.environ.get(variable) == value
        found[module] = "unknown" if module in _imported_first else "off" if off else "on"
    return found
