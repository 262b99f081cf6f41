"""Cases of reductions, running sums and choices of the largest."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from tests.autodiff.drawing import Array, Builder, Draw, apart, flag, positive, random_of, shape_of, side
from tests.autodiff.finite_differences import Case, Stored, call

__all__ = ["REDUCTION"]


def axes_of(draw: Draw, rank: int) -> list[int]:
    chosen = draw(st.lists(st.integers(0, rank - 1), min_size=1, max_size=rank, unique=True))
    return [axis - rank if flag(draw) else axis for axis in chosen]


def reduction(operator: str, *, above_zero: bool = False, opset: int = 18, **more: Any) -> Builder:
    def build(draw: Draw) -> Case:
        random, shape = random_of(draw), shape_of(draw)
        x: Array = positive(random, shape) if above_zero else apart(random, shape)
        if operator == "ReduceProd":
            x = np.sign(x) * (0.5 + np.abs(x))
        given: dict[str, Any] = {"keepdims": draw(st.integers(0, 1))} if flag(draw) else {}
        how = draw(st.sampled_from(["axes", "axes", "axes", "all", "empty"]))
        if how == "axes":
            return call(operator, x, Stored(np.array(axes_of(draw, len(shape)))), opset=opset, **given, **more)
        if how == "empty":
            given["noop_with_empty_axes"] = 0  # what 1 means is not agreed on: refused
            return call(operator, x, Stored(np.zeros(0, np.int64)), opset=opset, **given, **more)
        return call(operator, x, opset=opset, **given, **more)

    return build


def running(operator: str, opset: int) -> Builder:
    def build(draw: Draw) -> Case:
        shape = shape_of(draw)
        axis = Stored(np.array(draw(st.integers(-len(shape), len(shape) - 1))))
        given = {"exclusive": draw(st.integers(0, 1)), "reverse": draw(st.integers(0, 1))}
        return call(operator, positive(random_of(draw), shape), axis, opset=opset, reference=opset > 24, **given)

    return build


def top_k(draw: Draw) -> Case:
    shape = shape_of(draw)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    k = Stored(np.array([side(draw, 1, shape[axis])]))
    given = {"largest": draw(st.integers(0, 1)), "sorted": 1, "axis": axis}
    return call("TopK", apart(random_of(draw), shape), k, outputs=2, **given)


REDUCTION: dict[str, Builder] = {
    "CumProd": running("CumProd", 26), "CumSum": running("CumSum", 18), "ReduceL1": reduction("ReduceL1"),
    "ReduceL2": reduction("ReduceL2"), "ReduceLogSum": reduction("ReduceLogSum", above_zero=True),
    "ReduceLogSumExp": reduction("ReduceLogSumExp"), "ReduceMax": reduction("ReduceMax"),
    "ReduceMean": reduction("ReduceMean"), "ReduceMin": reduction("ReduceMin"), "ReduceProd": reduction("ReduceProd"),
    "ReduceSum": reduction("ReduceSum"), "ReduceSumSquare": reduction("ReduceSumSquare"), "TopK": top_k,
}  # fmt: skip
