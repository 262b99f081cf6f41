"""Losses that place samples near those they belong with and far from the others."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgewise.errors import InputError
from edgewise.graph.writer import Writer
from edgewise.training.losses.loss import ask, chosen, known, number_of, require, sample_mean, weight_spec
from edgewise.training.run.step_spec import ValueSpec

__all__ = ["Contrastive", "CosineDistance", "CosineEmbedding", "InfoNce", "Triplet"]

_NORM = 1e-8  # least length that a vector is divided by, as torch.nn.functional.cosine_similarity has it
_APART = 1e-6  # added to differences before the distance, as torch.nn.TripletMarginLoss does: no slope of sqrt at 0
_FAR = -1e9  # the score of a column that does not count


@dataclass(frozen=True, slots=True, kw_only=True)
class CosineDistance:
    """Mean of 1 - cos(output, target) along the last axis; the target has the output's shape."""

    output: str = ""
    target: str = "target"
    weighted: bool = False

    def targets(self, writer: Writer, outputs: Mapping[str, str]) -> tuple[ValueSpec, ...]:
        """A target of the output's shape, and the weights of the samples where ``weighted``."""
        dtype, shape = known(writer, chosen(outputs, self.output), 2)
        wanted = ValueSpec(self.target, dtype, shape)
        return (wanted, weight_spec(dtype, shape[0])) if self.weighted else (wanted,)

    def write(self, writer: Writer, outputs: Mapping[str, str]) -> str:
        """Mean over the samples."""
        wanted, weight = [*(ask(writer, spec) for spec in self.targets(writer, outputs)), ""][:2]
        value = chosen(outputs, self.output)
        dtype, shape = known(writer, value, 2)
        each = writer.node("Sub", writer.constant(1, dtype), _cosine(writer, value, wanted, dtype))
        return sample_mean(writer, each, len(shape) - 1, dtype, weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class CosineEmbedding:
    """Pairs of vectors that belong together (target 1: 1 - cos) or do not (-1: cos - margin where above 0).

    first, second: the outputs (N, D) with the two sides; with ``second`` empty they are the halves of one output's batch.
    The target is int64 (N,).
    """

    first: str = ""
    second: str = ""
    target: str = "target"
    margin: float = 0.0
    weighted: bool = False

    def targets(self, writer: Writer, outputs: Mapping[str, str]) -> tuple[ValueSpec, ...]:
        """Which pairs belong together, and the weights of the pairs where ``weighted``."""
        return _pair_targets(writer, outputs, (self.first, self.second), self.target, self.weighted)

    def write(self, writer: Writer, outputs: Mapping[str, str]) -> str:
        """Mean over the pairs."""
        together, weight = [*(ask(writer, spec) for spec in self.targets(writer, outputs)), ""][:2]
        (first, second), dtype, _ = _parts(writer, outputs, (self.first, self.second))
        cosine = _cosine(writer, first, second, dtype)
        apart = writer.node("Relu", writer.node("Sub", cosine, writer.constant(self.margin, dtype)))
        near = writer.node("Sub", writer.constant(1, dtype), cosine)
        positive = writer.node("Greater", together, writer.constant(0, "int64"))
        return sample_mean(writer, writer.node("Where", positive, near, apart), 1, dtype, weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrastive:
    """Pairs at distance d: d^2 where they belong together (target 1), max(0, margin - d)^2 where not (0).

    Hadsell, Chopra & LeCun 2006, without their factor 1/2. Sides as in CosineEmbedding; the target is int64 (N,).
    """

    first: str = ""
    second: str = ""
    target: str = "target"
    margin: float = 1.0
    weighted: bool = False

    def __post_init__(self) -> None:
        require(self.margin > 0, f"margin must be above 0, not {self.margin}")

    def targets(self, writer: Writer, outputs: Mapping[str, str]) -> tuple[ValueSpec, ...]:
        """Which pairs belong together, and the weights of the pairs where ``weighted``."""
        return _pair_targets(writer, outputs, (self.first, self.second), self.target, self.weighted)

    def write(self, writer: Writer, outputs: Mapping[str, str]) -> str:
        """Mean over the pairs."""
        together, weight = [*(ask(writer, spec) for spec in self.targets(writer, outputs)), ""][:2]
        (first, second), dtype, _ = _parts(writer, outputs, (self.first, self.second))
        distance = _distance(writer, first, second, dtype)
        short = writer.node("Relu", writer.node("Sub", writer.constant(self.margin, dtype), distance))
        positive = writer.node("Greater", together, writer.constant(0, "int64"))
        each = writer.node("Where", positive, writer.node("Mul", distance, distance), writer.node("Mul", short, short))
        return sample_mean(writer, each, 1, dtype, weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Triplet:
    """max(0, |anchor - positive| - |anchor - negative| + margin) (Schroff et al. 2015; distances as in torch).

    The three outputs (N, D); with only ``anchor`` given they are the thirds of its batch, in this order. No target.
    """

    anchor: str = ""
    positive: str = ""
    negative: str = ""
    margin: float = 1.0
    weighted: bool = False

    def targets(self, writer: Writer, outputs: Mapping[str, str]) -> tuple[ValueSpec, ...]:
        """Nothing but the weights of the triplets where ``weighted``."""
        return _only_weights(writer, outputs, (self.anchor, self.positive, self.negative), self.weighted)

    def write(self, writer: Writer, outputs: Mapping[str, str]) -> str:
        """Mean over the triplets."""
        weight = "".join(ask(writer, spec) for spec in self.targets(writer, outputs))
        (anchor, positive, negative), dtype, _ = _parts(writer, outputs, (self.anchor, self.positive, self.negative))
        nearer = writer.node(
            "Sub", _distance(writer, anchor, positive, dtype), _distance(writer, anchor, negative, dtype)
        )
        each = writer.node("Relu", writer.node("Add", nearer, writer.constant(self.margin, dtype)))
        return sample_mean(writer, each, 1, dtype, weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class InfoNce:
    """Each row of ``first`` must find its own row of ``second`` among all rows of the batch, by cosine over ``temperature``.

    van den Oord et al. 2018. symmetric: in both directions, averaged, as CLIP does (Radford et al. 2021). Sides as in
    CosineEmbedding. No target. Rows of weight 0 are nobody's negatives either.
    """

    first: str = ""
    second: str = ""
    temperature: float = 0.07
    symmetric: bool = True
    weighted: bool = False

    def __post_init__(self) -> None:
        require(self.temperature > 0, f"temperature must be above 0, not {self.temperature}")

    def targets(self, writer: Writer, outputs: Mapping[str, str]) -> tuple[ValueSpec, ...]:
        """Nothing but the weights of the pairs where ``weighted``."""
        return _only_weights(writer, outputs, (self.first, self.second), self.weighted)

    def write(self, writer: Writer, outputs: Mapping[str, str]) -> str:
        """Mean over the pairs."""
        weight = "".join(ask(writer, spec) for spec in self.targets(writer, outputs))
        (first, second), dtype, _ = _parts(writer, outputs, (self.first, self.second))
        left, right = _unit(writer, first, dtype), _unit(writer, second, dtype)
        close = writer.node("MatMul", left, writer.node("Transpose", right, perm=[1, 0]))
        scores = writer.node("Div", close, writer.constant(self.temperature, dtype))
        directions = [scores, *([writer.node("Transpose", scores, perm=[1, 0])] if self.symmetric else [])]
        each = [self._surprise(writer, side, weight, dtype) for side in directions]
        both = writer.node("Add", *each) if self.symmetric else each[0]
        loss = sample_mean(writer, both, 1, dtype, weight)
        return writer.node("Mul", loss, writer.constant(-0.5 if self.symmetric else -1, dtype))

    @staticmethod
    def _surprise(writer: Writer, scores: str, weight: str, dtype: str) -> str:
        if weight:
            unused = writer.node("LessOrEqual", weight, writer.constant(0, dtype))
            away = writer.node("Where", unused, writer.constant(_FAR, dtype), writer.constant(0, dtype))
            scores = writer.node("Add", scores, away)
        own = _diagonal(writer, scores, dtype)
        return writer.node(
            "ReduceSum", writer.node("Mul", writer.node("LogSoftmax", scores), own), writer.ints(1), keepdims=0
        )


def _diagonal(writer: Writer, square: str, dtype: str) -> str:
    count = number_of(writer, square, 0, "int64")
    rows = writer.node("Range", writer.constant(0, "int64"), count, writer.constant(1, "int64"))
    same = writer.node("Equal", writer.node("Unsqueeze", rows, writer.ints(1)), rows)
    return writer.node("Where", same, writer.constant(1, dtype), writer.constant(0, dtype))


def _parts(
    writer: Writer, outputs: Mapping[str, str], names: tuple[str, ...]
) -> tuple[tuple[str, ...], str, tuple[int | str, ...]]:
    """The sides of each sample, their dtype, and the shape of one."""
    given = [name for name in names[1:] if name]
    first = chosen(outputs, names[0])
    dtype, shape = known(writer, first, 2)
    if len(shape) != 2 or len(given) not in (0, len(names) - 1):
        raise InputError(f"this loss needs vectors (N, D), from {len(names)} outputs or from one; not {names} {shape}")
    if given:
        return (first, *(chosen(outputs, name) for name in given)), dtype, shape
    batch = shape[0] // len(names) if isinstance(shape[0], int) else f"{shape[0]}_per_{len(names)}"
    parts = writer.split("Split", len(names), first, axis=0, num_outputs=len(names))
    for part in parts:
        writer.declare(part, dtype, (batch, shape[1]))
    return parts, dtype, (batch, shape[1])


def _shape(writer: Writer, outputs: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, int | str]:
    dtype, shape = known(writer, chosen(outputs, names[0]), 2)
    if any(names[1:]):
        return dtype, shape[0]
    return dtype, shape[0] // len(names) if isinstance(shape[0], int) else f"{shape[0]}_per_{len(names)}"


def _pair_targets(
    writer: Writer, outputs: Mapping[str, str], names: tuple[str, ...], target: str, weighted: bool
) -> tuple[ValueSpec, ...]:
    dtype, batch = _shape(writer, outputs, names)
    return ValueSpec(target, "int64", (batch,)), *([weight_spec(dtype, batch)] if weighted else [])


def _only_weights(
    writer: Writer, outputs: Mapping[str, str], names: tuple[str, ...], weighted: bool
) -> tuple[ValueSpec, ...]:
    return (weight_spec(*_shape(writer, outputs, names)),) if weighted else ()


def _cosine(writer: Writer, first: str, second: str, dtype: str) -> str:
    product = writer.node("ReduceSum", writer.node("Mul", first, second), writer.ints(-1), keepdims=0)
    lengths = writer.node("Mul", _length(writer, first, dtype, 0), _length(writer, second, dtype, 0))
    return writer.node("Div", product, lengths)


def _unit(writer: Writer, value: str, dtype: str) -> str:
    return writer.node("Div", value, _length(writer, value, dtype, 1))


def _length(writer: Writer, value: str, dtype: str, keepdims: int) -> str:
    squares = writer.node("ReduceSum", writer.node("Mul", value, value), writer.ints(-1), keepdims=keepdims)
    return writer.node("Sqrt", writer.node("Max", squares, writer.constant(_NORM**2, dtype)))


def _distance(writer: Writer, first: str, second: str, dtype: str) -> str:
    apart = writer.node("Add", writer.node("Sub", first, second), writer.constant(_APART, dtype))
    return writer.node("Sqrt", writer.node("ReduceSum", writer.node("Mul", apart, apart), writer.ints(1), keepdims=0))
