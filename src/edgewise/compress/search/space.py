"""What is tried: chains of passes, as a literal table by the kind of model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from onnx import ModelProto

from edgewise.compress.distill.distil import Distil
from edgewise.compress.distill.student import Slimmed
from edgewise.compress.graph.compact import Compact
from edgewise.compress.graph.expressed import Express
from edgewise.compress.graph.simplify import Simplify
from edgewise.compress.graph.streamline import Streamline
from edgewise.compress.passes import Pass
from edgewise.compress.prune.layers import LeaveOut
from edgewise.compress.prune.lowrank import LowRank
from edgewise.compress.prune.prune import Prune
from edgewise.compress.quantize.adaround import Adaround
from edgewise.compress.quantize.aware import Aware
from edgewise.compress.quantize.dynamic import Dynamic
from edgewise.compress.quantize.half import Half
from edgewise.compress.quantize.mixed import Mixed
from edgewise.compress.quantize.static import Static
from edgewise.compress.quantize.timed import Timed
from edgewise.compress.quantize.weight_only import Blocks, Storage
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


def _aware(bits: Literal[8, 4], effort: Effort) -> Aware:
    static = Static(bias="float32", weight_bits=bits, weight_ranges="max" if bits == 8 else "mse")
    return Aware(static=static, tuning=Tuning(epochs=effort.epochs, learning_rate=5e-4, weight_decay=0.0))


def _distilled(share: float) -> Link:
    # A narrow copy has more to learn again than what was pruned.
    return lambda effort, teacher: Distil(
        student=Slimmed(share=share), tuning=Tuning(epochs=2 * effort.epochs, learning_rate=3e-3)
    )


def _pruned(share: float, multiple: int = 4) -> Link:
    return lambda effort, teacher: Prune(
        share=share, tuning=_relearning(effort), multiple=multiple, count=min(512, effort.samples)
    )


def _relearning(effort: Effort) -> Tuning:
    return Tuning(epochs=effort.epochs, learning_rate=3e-3)


def _turned(share: float) -> Link:
    # It starts from nearly the same answers: a high rate would throw away more than it finds.
    return lambda effort, teacher: LowRank(
        share=share, count=min(4096, effort.samples),
        tuning=Tuning(epochs=effort.epochs, batch=128, learning_rate=3e-4, weight_decay=0.0, mix=0.9),
    )  # fmt: skip


def _divided(share: float) -> Link:
    return lambda effort, teacher: LowRank(
        share=share, of="multiply-adds", divide=True, multiple=4, count=min(2048, effort.samples),
        tuning=Tuning(epochs=effort.epochs, learning_rate=1e-3, weight_decay=0.0),
    )  # fmt: skip


#: Word in a chain -> the pass that it stands for.
LINKS: Mapping[str, Link] = {
    "simplify": lambda effort, teacher: Simplify(),
    "streamline": lambda effort, teacher: Streamline(),
    "streamline-unscaled": lambda effort, teacher: Streamline(scales=False),  # in front of what learns
    "express": lambda effort, teacher: Express(),
    "compact": lambda effort, teacher: Compact(),
    "tune": _tuned,
    "distil-50": _distilled(0.5),
    "distil-25": _distilled(0.25),
    "int8-aware": lambda effort, teacher: _aware(8, effort),
    "int4-aware": lambda effort, teacher: _aware(4, effort),
    "int8-adaround": lambda effort, teacher: Adaround(static=Static(bias="float32", weight_ranges="mse")),
    "prune-75": _pruned(0.75),
    "prune-50": _pruned(0.5),
    "prune-25": _pruned(0.25),
    "prune-12": _pruned(0.12),
    # Blocks of sixteen are what onnxruntime's kernels on floats work in: narrower gains nothing there, and odd widths cost.
    "prune-50-x16": _pruned(0.5, 16),
    "prune-25-x16": _pruned(0.25, 16),
    "leave-out-1": lambda effort, teacher: LeaveOut(
        blocks=1, tuning=_relearning(effort), count=min(256, effort.samples)
    ),
    "lowrank-50": _turned(0.5),
    "lowrank-25": _turned(0.25),
    "lowrank-12": _turned(0.125),
    "divide-50": _divided(0.5),
    "divide-30": _divided(0.3),
    "int8": lambda effort, teacher: Static(),
    "int8-s8": lambda effort, teacher: Static(activations="s8"),
    "int8-float-bias": lambda effort, teacher: Static(bias="float32"),
    "int8-percentile": lambda effort, teacher: Static(bias="float32", ranges="percentile"),
    "int8-entropy": lambda effort, teacher: Static(bias="float32", ranges="entropy"),
    "int8-mse": lambda effort, teacher: Static(bias="float32", ranges="mse", weight_ranges="mse"),
    "int8-corrected": lambda effort, teacher: Static(bias="float32", equalize=True, correct=True),
    "int8-timed": lambda effort, teacher: Timed(inner=Static(bias="float32")),
    "int8-front-timed": lambda effort, teacher: Timed(inner=Static(bias="float32", front=True)),
    "int8-timed-aware": lambda effort, teacher: Timed(inner=_aware(8, effort)),
    "int8-mixed": lambda effort, teacher: Mixed(share=0.2, inner=Static(bias="float32")),
    "int8-dynamic": lambda effort, teacher: Dynamic(),
    "int8-storage": lambda effort, teacher: Storage(bits=8),
    "int4-storage": lambda effort, teacher: Storage(bits=4),
    "int8-blocks": lambda effort, teacher: Blocks(bits=8),
    "int4-blocks": lambda effort, teacher: Blocks(bits=4),
    "fp16": lambda effort, teacher: Half(),
}
_EVERYWHERE = (
    "simplify > compact", "streamline > express > compact", "simplify > fp16 > compact", "int8-storage > compact",
    "int4-storage > compact", "streamline > int8-storage > express > compact", "streamline > int4-storage > express > compact",
)  # fmt: skip
_STATIC = (
    "int8 > compact", "int8-float-bias > compact", "int8-percentile > compact", "int8-entropy > compact", "int8-mse > compact",
    "int8-corrected > compact", "int8-mixed > compact", "int8-adaround > compact", "int8-aware > compact", "int4-aware > compact",
    "streamline > int8-timed > express > compact", "streamline > int8-front-timed > express > compact",
    "streamline-unscaled > int8-timed-aware > express > compact", "simplify > tune > int8-float-bias > compact",
)  # fmt: skip
# What is cut away learns again; behind it either plain rounding, or learning with the rounding in the way.
_NARROWED = (
    *(f"prune-{share} > streamline > {form} > express > compact"
      for share in ("75", "50", "25", "12", "50-x16", "25-x16") for form in ("int8-storage", "int8-timed")),
    *(f"prune-{share} > streamline > int8-front-timed > express > compact" for share in ("50", "25", "12")),
    *(f"prune-{share} > streamline > int4-storage > express > compact" for share in ("50", "25")),
    *(f"prune-{share} > int8-aware > compact" for share in ("75", "50", "25")),
    *(f"prune-{share} > int4-aware > compact" for share in ("75", "50")),
    "prune-50 > compact",
    *(f"lowrank-{share} > {form}compact"
      for share in ("50", "25") for form in ("", "streamline > int4-storage > express > ", "streamline > int8-timed > express > ")),
    *(f"divide-{share} > {form}compact" for share in ("50", "30") for form in ("int8-float-bias > ", "int4-aware > ")),
    *(f"leave-out-1 > {narrower}streamline > int8-timed > express > compact"
      for narrower in ("", "prune-50-x16 > ", "prune-25 > ")),
    "distil-50 > streamline > int8-timed > express > compact", "distil-25 > streamline > int8-storage > express > compact",
    "distil-50 > int8-aware > compact", "distil-25 > int8-aware > compact", "distil-50 > int4-aware > compact",
    "distil-50 > prune-75 > int8-aware > compact",
)  # fmt: skip
_DYNAMIC = ("int8-dynamic > compact", "simplify > tune > int8-dynamic > compact")
_BLOCKS = ("int8-blocks > compact", "int4-blocks > compact", "simplify > tune > int4-blocks > compact")
#: Kind of model -> chains, the plain ones first; words with ">" between them.
CHAINS: Mapping[Kind, tuple[str, ...]] = {
    "convolutional": (*_EVERYWHERE, *_STATIC, *_DYNAMIC, *_NARROWED),
    "recurrent": (*_EVERYWHERE, *_DYNAMIC, *_STATIC, *_NARROWED),
    "transformer": (*_EVERYWHERE, *_DYNAMIC, *_BLOCKS, *_STATIC, *_NARROWED),
    "dense": (*_EVERYWHERE, *_STATIC, *_DYNAMIC, *_BLOCKS, *_NARROWED),
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
