"""edgewise: local first, cloud when unsure.

>>> import edgewise
>>> model = edgewise.load("digits")          # doctest: +SKIP
>>> model.predict(image).label               # doctest: +SKIP
'7'
"""

from typing import TYPE_CHECKING, Any

# Before anything imports a runtime: onnxruntime reports usage to its vendor unless it is told not to.
from edgewise.runtime import telemetry as _telemetry

if TYPE_CHECKING:
    from edgewise.compose.loading import load
    from edgewise.errors import EdgewiseError
    from edgewise.runtime.answer import Answer
    from edgewise.runtime.session import Session

__all__ = ["Answer", "EdgewiseError", "Session", "__version__", "load"]
__version__ = "0.1.0"

_telemetry.disable()

_HOMES = {
    "load": "edgewise.compose.loading",
    "Answer": "edgewise.runtime.answer",
    "Session": "edgewise.runtime.session",
    "EdgewiseError": "edgewise.errors",
}


def __getattr__(name: str) -> Any:
    # PEP 562: `import edgewise` loads next to nothing; the first use of a name loads what it needs.
    if name not in _HOMES:
        raise AttributeError(f"module 'edgewise' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
