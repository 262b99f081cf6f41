"""What an engine is: the protocol that onnxruntime, OpenVINO and LiteRT stand behind, and the table of engines.

``edgewise.testing.engine_conformance`` is the suite that every engine passes; a third party's can run it too.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgewise.errors import MissingExtraError
from edgewise.records import dataclass

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
else:
    Array = np.ndarray  # numpy.typing takes a millisecond to import

__all__ = [
    "ENGINES",
    "NOT_RECORDED",
    "Array",
    "Engine",
    "EngineSession",
    "OpenOptions",
    "PlacedNode",
    "Placement",
    "Provider",
    "TensorInfo",
    "find_engine",
    "installed_engines",
]

#: What to do where placement was not recorded; every engine says the same.
NOT_RECORDED = 'Load it with require={"provider": NAME}, which proves the placement; engines take record_placement.'


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor as the engine reports it; dtype in NumPy's spelling; dimensions that vary are names or -1."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Provider:
    """Something an engine can run nodes on, and the devices behind it (``cpu: AMD``, ``gpu: NVIDIA H200``)."""

    name: str
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlacedNode:
    """One node of the graph that really runs (after fusion), and the provider it was given to."""

    provider: str
    operator: str
    name: str


@dataclass(frozen=True, slots=True)
class Placement:
    """Which node runs on which provider, as the engine itself reports it for one session."""

    nodes: tuple[PlacedNode, ...]

    def counts(self) -> dict[str, int]:
        """Provider -> number of nodes."""
        return dict(Counter(node.provider for node in self.nodes))

    def share(self, provider: str) -> float:
        """Share of the nodes that run on ``provider``, 0..1."""
        return self.counts().get(provider, 0) / len(self.nodes) if self.nodes else 0.0

    def elsewhere(self, provider: str) -> list[str]:
        """Operators of the nodes that do not run on ``provider``, each once."""
        return sorted({node.operator for node in self.nodes if node.provider != provider})


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """How to open a model. ``cache`` is a folder for this very (model, engine version, device), or None for no cache."""

    provider: str = ""
    threads: int = 1
    cache: Path | None = None
    record_placement: bool = False
    provider_options: Mapping[str, str] = field(default_factory=dict)


class EngineSession(Protocol):
    """An opened model."""

    inputs: Sequence[TensorInfo]
    outputs: Sequence[TensorInfo]

    def run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """Every output by name. The arrays belong to the caller. Safe to call from several threads."""
        ...

    def placement(self) -> Placement:
        """Which node runs where. Needs ``record_placement``."""
        ...

    def close(self) -> None:
        """Release what the engine holds; the session cannot be used again."""
        ...


class Engine(Protocol):
    """A runtime that opens models."""

    name: str
    formats: tuple[str, ...]

    def version(self) -> str:
        """The runtime's version; part of every cache key."""
        ...

    def providers(self) -> tuple[Provider, ...]:
        """What it can run on here, best first. Never a remote service."""
        ...

    def open(self, files: Mapping[str, bytes], options: OpenOptions) -> EngineSession:
        """Open a model; ``files`` holds the model first, then what it refers to.

        Raises ModelError where the runtime cannot open it, UnsupportedError where it cannot run on the provider.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Entry:
    module: str  # what must be importable
    home: str  # module and class of ours
    extra: str  # how to install it
    distributions: tuple[str, ...]  # packages that may provide it


#: Every engine, in order of preference where two are equally fast.
ENGINES: dict[str, _Entry] = {
    "onnxruntime": _Entry(
        "onnxruntime",
        "edgewise.runtime.onnxruntime_engine:OnnxRuntimeEngine",
        "",
        ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml"),
    ),
    "openvino": _Entry("openvino", "edgewise.runtime.openvino_engine:OpenVinoEngine", "openvino", ("openvino",)),
    "litert": _Entry("ai_edge_litert", "edgewise.runtime.litert_engine:LiteRtEngine", "litert", ("ai-edge-litert",)),
}


def installed_engines() -> list[str]:
    """Names of the engines whose runtime is installed; none is imported for it."""
    return [name for name, entry in ENGINES.items() if find_spec(entry.module) is not None]


def find_engine(name: str) -> Engine:
    """The engine called ``name``. Raises MissingExtraError where its runtime is not installed."""
    entry = ENGINES.get(name)
    if entry is None:
        raise MissingExtraError(
            f"no engine is called {name!r}; there are {', '.join(ENGINES)}", remedy="Choose one of those."
        )
    if find_spec(entry.module) is None:
        raise MissingExtraError(
            f"the engine {name} needs {entry.module}", remedy=f"pip install 'edgewise[{entry.extra or 'all'}]'"
        )
    module, attribute = entry.home.split(":")
    engine: Engine = getattr(import_module(module), attribute)()
    return engine
