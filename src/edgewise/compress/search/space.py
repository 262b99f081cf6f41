"""What is tried: chains of passes, as a literal table by the kind of model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from onnx import ModelProto

from edgewise.compress.graph.simplify import Simplify
from edgewise.compress.passes import Pass
from edgewise.compress.search.candidate import Candidate
from edgewise.compress.search.fine_tune import FineTune
from edgewise.compress.search.halving import Effort
from edgewise.compress.tuning import Tuning
from edgewise.errors import InputError
from edgewise.graph.walk import nodes

__all__ = ["CHAINS", "LINKS", "Chain", "Kind", "Link", "chains_for", "distinct", "kind_of"]

Kind = Literal["convolutional", "recurrent", "transformer", "dense"]
#: Effort and the model as it came (a teacher, for those who want one) -> pass.
Link = Callable[[Effort, bytes], Pass]


def _tuned(effort: Effort, teacher: bytes) -> Pass:
    return FineTune(Tuning(epochs=effort.epochs, learning_rate=1e-3), teacher)


#: Word in a chain -> the pass that it stands for.
LINKS: Mapping[str, Link] = {
    "simplify": lambda effort, teacher: Simplify(),
    "tune": _tuned,
}
#: Kind of model -> chains, the plain ones first; words with ">" between them.
CHAINS: Mapping[Kind, tuple[str, ...]] = {
    "convolutional": ("simplify", "simplify > tune"),
    "recurrent": ("simplify", "simplify > tune"),
    "transformer": ("simplify", "simplify > tune"),
    "dense": ("simplify", "simplify > tune"),
}


@dataclass(frozen=True, slots=True)
class Chain:
    """One row of the table: links in order, by which effort becomes a candidate. name: the words, for people and journals."""

    name: str
    links: tuple[Link, ...]

    def candidate(self, origin: str, effort: Effort, teacher: bytes = b"") -> Candidate:
        """What is tried with so much effort."""
        return Candidate(origin, tuple(link(effort, teacher) for link in self.links), effort.samples)


def chains_for(
    kind: Kind, links: Mapping[str, Link] = LINKS, table: Mapping[Kind, tuple[str, ...]] = CHAINS
) -> tuple[Chain, ...]:
    """The chains for a kind of model. Raises InputError for a word that stands for no pass."""
    found = []
    for row in table[kind]:
        words = [word.strip() for word in row.split(">")]
        unknown = [word for word in words if word not in links]
        if unknown:
            raise InputError(f"no pass is called {', '.join(unknown)}; there are {', '.join(links)}")
        found.append(Chain(" > ".join(words), tuple(links[word] for word in words)))
    return tuple(found)


def distinct(chains: tuple[Chain, ...], origin: str, effort: Effort, teacher: bytes = b"") -> dict[str, Candidate]:
    """Chain's name -> candidate; of chains that come to the same, the first."""
    seen: dict[str, tuple[str, Candidate]] = {}
    for chain in chains:
        candidate = chain.candidate(origin, effort, teacher)
        seen.setdefault(candidate.digest, (chain.name, candidate))
    return dict(seen.values())


def kind_of(model: ModelProto) -> Kind:
    """By the operators that hold its weights."""
    found = {node.op_type for node in nodes(model)}
    if found & {"LSTM", "GRU", "RNN"}:
        return "recurrent"
    if "Softmax" in found and found & {"LayerNormalization", "SkipLayerNormalization", "Erf", "Gelu"}:
        return "transformer"
    return "convolutional" if any("Conv" in name for name in found) else "dense"
