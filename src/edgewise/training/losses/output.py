"""The loss of models that give their own: an autoencoder's error, say."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgewise.graph.writer import Writer
from edgewise.training.losses.loss import chosen, known, sample_mean
from edgewise.training.run.step_spec import ValueSpec

__all__ = ["OutputMean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputMean:
    """The mean of one of the model's outputs over the batch; it needs no target."""

    output: str = ""

    def targets(self, writer: Writer, outputs: Mapping[str, str]) -> tuple[ValueSpec, ...]:  # noqa: ARG002  (the seam's)
        """None."""
        return ()

    def write(self, writer: Writer, outputs: Mapping[str, str]) -> str:
        """Mean over everything."""
        value = chosen(outputs, self.output)
        dtype, shape = known(writer, value)
        return sample_mean(writer, value, len(shape), dtype, "")
