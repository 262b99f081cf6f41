"""Third-party runtimes that report usage by default are kept from it, before they are imported.

onnxruntime 1.32's wheels keep a database below the user's cache and start a thread (its Privacy.md); the variable in
``SWITCHES`` stops both, but only if it is set before the import. A value that the user has set already is left alone.

``import openvino`` (2026.4) writes an identifier to ~/intel and sends an event to Google Analytics, both through the package
openvino_telemetry, which it depends on but can do without. Its only switch is a file in the user's home, so instead the
package is out of reach while openvino is imported, and openvino falls back to the stub that it brings for that case.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["REPORTERS", "SWITCHES", "disable", "state", "withheld"]

#: Environment variable -> value that turns reporting off -> the module it belongs to.
SWITCHES = {"ORT_DISABLE_TELEMETRY": ("1", "onnxruntime")}
#: Module -> the package through which it reports as soon as it is imported, and without which it works as well.
REPORTERS = {"openvino": "openvino_telemetry"}
_imported_first: set[str] = set()
_imported_quietly: set[str] = set()


def disable() -> None:
    """Set every switch that is not set yet, and remember which modules were there too early for it."""
    for variable, (value, module) in SWITCHES.items():
        if variable not in os.environ:
            os.environ[variable] = value
            if module in sys.modules:
                _imported_first.add(module)


@contextmanager
def withheld() -> Iterator[None]:
    """Import modules without the packages in ``REPORTERS``; afterwards those are there again for whoever else wants them."""
    _imported_first.update(module for module in REPORTERS if module in sys.modules and module not in _imported_quietly)
    before = {reporter: sys.modules.get(reporter) for reporter in REPORTERS.values()}
    # None in sys.modules makes `import` raise ModuleNotFoundError, as if the package were not installed.
    sys.modules.update(dict.fromkeys(before))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for reporter, module in before.items():
            sys.modules.pop(reporter)
            if module is not None:
                sys.modules[reporter] = module
        _imported_quietly.update(module for module in REPORTERS if module in sys.modules)
        _imported_quietly.difference_update(_imported_first)


def state() -> dict[str, str]:
    """Module -> ``off``, ``on`` (the user's own setting) or ``unknown`` (imported before edgewise could switch it off)."""
    found: dict[str, str] = {}
    for variable, (value, module) in SWITCHES.items():
        off = os.environ.get(variable) == value
        found[module] = "unknown" if module in _imported_first else "off" if off else "on"
    for module in REPORTERS:
        early = module in _imported_first or (module in sys.modules and module not in _imported_quietly)
        found[module] = "unknown" if early else "off"
    return found
