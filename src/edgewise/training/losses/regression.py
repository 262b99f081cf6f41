"""Losses of models that give numbers, and of models that imitate another one's features."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgewise.errors import InputError
from edgewise.graph.writer import Writer
from edgewise.training.losses.loss import ask, chosen, known, require, sample_mean, weight_spec
from edgewise.training.run.step_spec import ValueSpec

__all__ = ["FeatureMatching", "Huber", "MeanSquaredError", "huber"]

_SMALL = 1e-12  # least squared length that a vector is divided by the root of


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanSquaredError:
    """Mean of (output - target)^2. ``target`` may be the name of one of the model's own inputs: an autoencoder."""

    output: str = ""
    target: str = "target"
    weighted: bool = False

    def targets(self, writer: Writer, outputs: Mapping[str, str]) -> tuple[ValueSpec, ...]:
        """A target of the output's shape, and the weights of the samples where ``weighted``."""
        return _same_shape(writer, outputs, self.output, self.target, self.weighted)

    def write(self, writer: Writer, outputs: Mapping[str, str]) -> str:
        """Mean over everything but the samples, then over the samples."""
        wanted, weight = [*(ask(writer, spec) for spec in self.targets(writer, outputs)), ""][:2]
        value = chosen(outputs, self.output)
        dtype, shape = known(writer, value)
        error = writer.node("Sub", value, wanted)
        return sample_mean(writer, writer.node("Mul", error, error), len(shape), dtype, weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Huber:
    """Squares of small errors, absolute values of those beyond ``delta`` (Huber 1964): e^2/2, or delta (|e| - delta/2)."""

    output: str = ""
    target: str = "target"
    delta: float = 1.0
    weighted: bool = False

    def __post_init__(self) -> None:
        require(self.delta > 0, f"delta must be above 0, not {self.delta}")

    def targets(self, writer: Writer, outputs: Mapping[str, str]) -> tuple[ValueSpec, ...]:
        """A target of the output's shape, and the weights of the samples where ``weighted``."""
        return _same_shape(writer, outputs, self.output, self.target, self.weighted)

    def write(self, writer: Writer, outputs: Mapping[str, str]) -> str:
        """Mean over everything but the samples, then over the samples."""
        wanted, weight = [*(ask(writer, spec) for spec in self.targets(writer, outputs)), ""][:2]
        value = chosen(outputs, self.output)
        dtype, shape = known(writer, value)
        each = huber(writer, writer.node("Sub", value, wanted), self.delta, dtype)
        return sample_mean(writer, each, len(shape), dtype, weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureMatching:
    """Mean squared error between values inside the model and targets, summed over the pairs (Romero et al. 2015, FitNets).

    pairs: name of a value of the graph -> name of the input that it should equal. normalised: both are divided by their
    length per sample first, so that only their direction counts (Zagoruyko & Komodakis 2017); then squares are summed.
    """

    pairs: tuple[tuple[str, str], ...]
    normalised: bool = False
    weighted: bool = False

    def __post_init__(self) -> None:
        require(bool(self.pairs), "feature matching needs at least one pair of a value and a target")

    def targets(self, writer: Writer, outputs: Mapping[str, str]) -> tuple[ValueSpec, ...]:
        """One target for each pair, and the weights of the samples where ``weighted``."""
        found = []
        for value, target in self.pairs:
            if writer.shape(outputs.get(value, value)) is None:
                raise InputError(f"the graph has no value {value!r} with a known shape", remedy="Name an inner value.")
            dtype, shape = known(writer, outputs.get(value, value), 2)
            found.append(ValueSpec(target, dtype, shape))
        return (*found, weight_spec(found[0].dtype, found[0].shape[0])) if self.weighted else tuple(found)

    def write(self, writer: Writer, outputs: Mapping[str, str]) -> str:
        """Sum over the pairs of the mean over the samples."""
        names = [ask(writer, spec) for spec in self.targets(writer, outputs)]
        weight = names.pop() if self.weighted else ""
        terms = []
        for (inner, _), target in zip(self.pairs, names, strict=True):
            value = outputs.get(inner, inner)
            dtype, shape = known(writer, value, 2)
            if self.normalised:
                error = writer.node("Sub", _direction(writer, value, dtype), _direction(writer, target, dtype))
                squares = writer.node("ReduceSum", writer.node("Mul", error, error), writer.ints(1), keepdims=0)
                terms.append(sample_mean(writer, squares, 1, dtype, weight))
            else:
                error = writer.node("Sub", value, target)
                terms.append(sample_mean(writer, writer.node("Mul", error, error), len(shape), dtype, weight))
        total = terms[0]
        for term in terms[1:]:
            total = writer.node("Add", total, term)
        return total


def huber(writer: Writer, error: str, delta: float, dtype: str) -> str:
    """c (e - c/2) with c = clip(e, -delta, delta): both branches, and the derivative c, without a condition."""
    bound = writer.node("Clip", error, writer.constant(-delta, dtype), writer.constant(delta, dtype))
    rest = writer.node("Sub", error, writer.node("Mul", bound, writer.constant(0.5, dtype)))
    return writer.node("Mul", bound, rest)


def _same_shape(
    writer: Writer, outputs: Mapping[str, str], output: str, target: str, weighted: bool
) -> tuple[ValueSpec, ...]:
    dtype, shape = known(writer, chosen(outputs, output))
    wanted = ValueSpec(target, dtype, shape)
    return (wanted, weight_spec(dtype, shape[0])) if weighted else (wanted,)


def _direction(writer: Writer, value: str, dtype: str) -> str:
    flat = writer.node("Flatten", value, axis=1)
    squares = writer.node("ReduceSum", writer.node("Mul", flat, flat), writer.ints(1), keepdims=1)
    return writer.node("Div", flat, writer.node("Sqrt", writer.node("Max", squares, writer.constant(_SMALL, dtype))))
