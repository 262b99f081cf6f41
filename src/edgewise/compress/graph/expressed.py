"""Large constants that follow from small ones, as expressions: fewer bytes, the same graph once a runtime has opened the file."""

from dataclasses import dataclass

from onnx import ModelProto

from edgewise.compress.graph.forms.fourier import fourier_expressed
from edgewise.compress.graph.forms.sparse import sparse_expressed
from edgewise.compress.passes import Watch, nobody
from edgewise.compress.samples import Samples

__all__ = ["Express", "expressed"]


def expressed(model: ModelProto) -> ModelProto:
    """``model`` with Fourier bases and sparse matrices as expressions. Only compacting comes after: no pass finds weights there."""
    return sparse_expressed(fourier_expressed(model))


@dataclass(frozen=True, slots=True)
class Express:
    """The pass of ``expressed``."""

    @property
    def name(self) -> str:
        return "express"

    def describe(self) -> str:
        return "constants that follow from smaller ones computed when the file is opened"

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:  # noqa: ARG002  (the protocol)
        return expressed(model)
