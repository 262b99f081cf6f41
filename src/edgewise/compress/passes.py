"""What a pass is: one way to make a model smaller or faster, ONNX in, ONNX out.

A pass is a frozen value: equal passes do the same to equal models. It knows nothing of the search that tries it, writes no file
and never changes its argument. Inputs and outputs of the model keep their names, types and shapes.
"""

from collections.abc import Callable
from typing import Protocol

from onnx import ModelProto

from edgewise.compress.samples import Samples

__all__ = ["Pass", "Watch", "nobody"]

#: Told how far a pass is: what it does, steps done, steps in all.
Watch = Callable[[str, int, int], None]


def nobody(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""


class Pass(Protocol):
    """One way to make a model smaller or faster. Implementations are frozen dataclasses."""

    @property
    def name(self) -> str:
        """Short, and with every setting that matters, as in ``int8-static:u8s8,percentile``: for tables and journals."""
        ...

    def describe(self) -> str:
        """What was done, in one sentence for a receipt."""
        ...

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:
        """The smaller model. Raises UnsupportedError, naming operator, node and reason, where there is nothing that it can do."""
        ...
