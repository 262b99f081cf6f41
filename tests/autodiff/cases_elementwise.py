"""Cases of operators that work element by element."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tests.autodiff.drawing import Builder, Draw, apart, broadcastable, flag, positive, random_of, shape_of
from tests.autodiff.finite_differences import Case, Held, Stored, call

__all__ = ["ELEMENTWISE"]

NUMBERS = st.sampled_from([0.05, 0.3, 0.7, 1.0, 1.6])


def unary(
    operator: str,
    low: float | None = None,
    high: float = 2.0,
    opset: int = 18,
    *,
    reference: bool = False,
    **attributes: Any,
) -> Builder:
    """attributes: strategies, of which a random subset is set. low: values from low to high instead of both signs."""

    def build(draw: Draw) -> Case:
        random, shape = random_of(draw), shape_of(draw, 0, 3)
        x = apart(random, shape, 3.7) if low is None else positive(random, shape, low, high)
        given = {name: draw(values) for name, values in attributes.items() if flag(draw)}
        return call(operator, x, opset=opset, reference=reference, **given)

    return build


def binary(operator: str) -> Builder:
    def build(draw: Draw) -> Case:
        random = random_of(draw)
        a, b = broadcastable(draw)
        if operator == "Mul" and flag(draw):  # the same value twice
            return Case([helper.make_node("Mul", ["x0", "x0"], ["y0"])], {"x0": apart(random, a)}, ["y0"])
        right = positive(random, b) * random.choice([-1, 1]) if operator == "Div" else apart(random, b)
        held = Held(right) if flag(draw) else right
        return call(operator, apart(random, a), held) if flag(draw) else call(operator, held, apart(random, a))

    def div(draw: Draw) -> Case:
        random = random_of(draw)
        a, b = broadcastable(draw)
        return call(operator, apart(random, a), positive(random, b) * random.choice([-1, 1]))

    return div if operator == "Div" else build


def several(operator: str) -> Builder:
    def build(draw: Draw) -> Case:
        random = random_of(draw)
        shapes = broadcastable(draw, draw(st.integers(1, 4)))
        # Irrational offsets: no two operands are equal anywhere.
        return call(operator, *(apart(random, shape) + 0.0137 * np.sqrt(at + 2) for at, shape in enumerate(shapes)))

    return build


def power(draw: Draw) -> Case:
    random = random_of(draw)
    a, b = broadcastable(draw)
    how = draw(st.sampled_from(["constant", "computed", "vector", "float32", "integer"]))
    if how == "constant":
        exponent = draw(st.sampled_from([2.0, 3.0, 0.5, -1.0, 0.0, 1.0, 2.5]))
        return call("Pow", positive(random, a), Stored(np.array(exponent)))
    if how == "integer":
        return call("Pow", apart(random, a), Stored(np.array(draw(st.integers(0, 3)), np.int64)))
    if how == "float32":
        return call("Pow", positive(random, a), Stored(np.array([1.5], np.float32)))
    if how == "vector":
        return call("Pow", positive(random, a), Stored(apart(random, b)))
    return call("Pow", positive(random, a), apart(random, b))


def prelu(draw: Draw) -> Case:
    random, shape = random_of(draw), shape_of(draw, 1, 4)
    small = tuple(n if flag(draw) else 1 for n in shape)[draw(st.integers(0, len(shape) - 1)) :]
    slope = apart(random, small)
    return call("PRelu", apart(random, shape), Held(slope) if flag(draw) else slope)


def clip(draw: Draw) -> Case:
    random, shape = random_of(draw), shape_of(draw)
    low, high = np.array(-0.911), np.array(1.013)
    how = draw(st.sampled_from(["stored", "one", "none", "trained", "fed"]))
    x = apart(random, shape)
    if how == "none":
        return call("Clip", x)
    if how == "one":
        return call("Clip", x, None, Stored(high)) if flag(draw) else call("Clip", x, Stored(low))
    wrap = {"stored": Stored, "fed": Held, "trained": np.asarray}[how]
    return call("Clip", x, wrap(low), wrap(high))


def cast(draw: Draw) -> Case:
    # Linear, and exact in float32: numbers with few bits and a large step.
    random, shape = random_of(draw), shape_of(draw)
    x = np.round(apart(random, shape, 4) * 16) / 16
    to = draw(st.sampled_from([TensorProto.FLOAT, TensorProto.DOUBLE]))
    kind = draw(st.sampled_from([np.float32, np.float64]))
    if flag(draw):
        like = Held(np.zeros(1, np.float32 if to == TensorProto.FLOAT else np.float64))
        return call("CastLike", x.astype(kind), like, step=0.5, tolerance=1e-5)
    return call("Cast", x.astype(kind), to=to, step=0.5, tolerance=1e-5)


def cast_like(draw: Draw) -> Case:
    return call("CastLike", apart(random_of(draw), shape_of(draw)), Held(np.zeros(2)))


def where(draw: Draw) -> Case:
    random = random_of(draw)
    condition, a, b = broadcastable(draw, 3)
    x, y = apart(random, a), apart(random, b)
    choice = random.random(condition) < 0.5
    return call("Where", choice, Held(x) if flag(draw) else x, y)


def modulo(draw: Draw) -> Case:
    random = random_of(draw)
    a, b = broadcastable(draw)
    # Quotients stay away from whole numbers.
    divisor = random.choice([1.0, 2.0], b)
    x = random.integers(-3, 4, a) + random.uniform(0.2, 0.8, a)
    return call("Mod", x, divisor, fmod=1)


ELEMENTWISE: dict[str, Builder] = {
    "Abs": unary("Abs"), "Acos": unary("Acos", -0.9, 0.9), "Acosh": unary("Acosh", 1.2, 3), "Add": binary("Add"),
    "Asin": unary("Asin", -0.9, 0.9), "Asinh": unary("Asinh"), "Atan": unary("Atan"), "Atanh": unary("Atanh", -0.9, 0.9),
    "Cast": cast, "CastLike": cast_like, "Celu": unary("Celu", reference=True, alpha=NUMBERS), "Clip": clip, "Cos": unary("Cos"),
    "Cosh": unary("Cosh"), "Div": binary("Div"), "Elu": unary("Elu", alpha=st.sampled_from([-0.5, 0.3, 1.0, 1.7])),
    "Erf": unary("Erf", reference=True), "Exp": unary("Exp"),
    "Gelu": unary("Gelu", opset=20, reference=True, approximate=st.sampled_from(["none", "tanh"])),
    "HardSigmoid": unary("HardSigmoid", alpha=NUMBERS, beta=NUMBERS), "HardSwish": unary("HardSwish"),
    "Identity": unary("Identity"), "LeakyRelu": unary("LeakyRelu", alpha=st.sampled_from([-0.3, 0.1, 0.5])),
    "Log": unary("Log", 0.3), "Max": several("Max"), "Mean": several("Mean"), "Min": several("Min"), "Mish": unary("Mish"),
    "Mod": modulo, "Mul": binary("Mul"), "Neg": unary("Neg"), "PRelu": prelu, "Pow": power,
    "Reciprocal": unary("Reciprocal", 0.3), "Relu": unary("Relu"), "Selu": unary("Selu", alpha=NUMBERS, gamma=NUMBERS),
    "Shrink": unary("Shrink", reference=True, lambd=NUMBERS, bias=NUMBERS), "Sigmoid": unary("Sigmoid"), "Sin": unary("Sin"),
    "Sinh": unary("Sinh"), "Softplus": unary("Softplus"), "Softsign": unary("Softsign"), "Sqrt": unary("Sqrt", 0.3),
    "Sub": binary("Sub"), "Sum": several("Sum"), "Swish": unary("Swish", opset=24, alpha=NUMBERS), "Tan": unary("Tan", -1.2, 1.2),
    "Tanh": unary("Tanh"), "ThresholdedRelu": unary("ThresholdedRelu", alpha=NUMBERS), "Where": where,
}  # fmt: skip
