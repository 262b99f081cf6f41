"""Several losses at once."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgewise.errors import InputError
from edgewise.graph.writer import Writer
from edgewise.training.losses.loss import Loss, known, require
from edgewise.training.run.step_spec import ValueSpec

__all__ = ["Sum"]


@dataclass(frozen=True, slots=True)
class Sum:
    """Sum of losses, each times its weight. Inputs of the same name, dtype and shape are one input for all that ask for it."""

    parts: tuple[tuple[float, Loss], ...]

    def __post_init__(self) -> None:
        require(bool(self.parts), "a sum of losses needs at least one")

    def targets(self, writer: Writer, outputs: Mapping[str, str]) -> tuple[ValueSpec, ...]:
        """The inputs of all parts, each once. Raises InputError where two parts ask for different ones under one name."""
        found: dict[str, ValueSpec] = {}
        for _, loss in self.parts:
            for spec in loss.targets(writer, outputs):
                held = found.setdefault(spec.name, spec)
                if (held.dtype, held.shape) != (spec.dtype, spec.shape):
                    raise InputError(
                        f"two losses ask for different inputs of one name: {held} and {spec}",
                        remedy="Give each loss its own target name.",
                    )
        return tuple(found.values())

    def write(self, writer: Writer, outputs: Mapping[str, str]) -> str:
        """The weighted sum of the means."""
        self.targets(writer, outputs)
        dtype = known(writer, next(iter(outputs.values())))[0]
        total = ""
        for weight, loss in self.parts:
            term = loss.write(writer, outputs)
            if weight != 1:
                term = writer.node("Mul", term, writer.constant(weight, dtype))
            total = writer.node("Add", total, term) if total else term
        return total
