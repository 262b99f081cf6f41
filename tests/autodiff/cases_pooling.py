"""Cases of pooling and resampling."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx import helper
from tests.autodiff.cases_linear import windows
from tests.autodiff.drawing import Builder, Draw, apart, flag, positive, random_of, side
from tests.autodiff.finite_differences import Case, Stored, call
from tests.autodiff.reference_operators import Windows

__all__ = ["POOLING"]


def _window(draw: Draw, *, automatic: bool = True) -> tuple[tuple[int, ...], dict[str, Any]]:
    rank = draw(st.sampled_from([1, 2, 2, 2, 3]))
    kernel = [side(draw, 1, 3) for _ in range(rank)]
    source = [k + draw(st.integers(0, 4)) for k in kernel]
    given = windows(draw, rank, kernel, source, most=0)
    if given.get("auto_pad", "VALID") != "VALID" and not automatic:
        del given["auto_pad"]
    if "pads" in given:
        given["pads"] = [draw(st.integers(0, k // 2)) for k in (*kernel, *kernel)]
    return (side(draw, 1, 2), side(draw, 1, 2), *source), {"kernel_shape": kernel, **given}


def _agreed(shape: tuple[int, ...], given: dict[str, Any]) -> bool:
    """No window of ceil_mode starts behind the input: that case is refused."""
    windows = Windows(
        shape[2:], given["kernel_shape"], given.get("strides"), given.get("dilations"), given.get("pads"), None, 1
    )
    return "auto_pad" not in given and not windows.dropped


def max_pool(draw: Draw) -> Case:
    random = random_of(draw)
    shape, given = _window(draw)
    if flag(draw):
        given["strides"] = given["kernel_shape"]
    if flag(draw) and _agreed(shape, given):
        given["ceil_mode"] = 1
    if draw(st.integers(0, 9)) == 0:
        given["storage_order"] = 1
    return call("MaxPool", apart(random, shape), outputs=["y0", "places"] if flag(draw) else 1, **given)


def average_pool(draw: Draw) -> Case:
    shape, given = _window(draw)
    if flag(draw):
        given["count_include_pad"] = 1
    if flag(draw) and _agreed(shape, given):
        given["ceil_mode"] = 1
    # onnxruntime counts a window that ceil_mode cut off otherwise than the specification says before opset 19.
    return call("AveragePool", apart(random_of(draw), shape), opset=19, **given)


def lp_pool(draw: Draw) -> Case:
    shape, given = _window(draw, automatic=False)
    given.pop("dilations", None)
    return call("LpPool", positive(random_of(draw), shape), p=draw(st.sampled_from([1, 2, 3])), **given)


def whole(operator: str) -> Builder:
    def build(draw: Draw) -> Case:
        shape = (side(draw, 1, 2), side(draw, 1, 3), *(side(draw, 1, 4) for _ in range(draw(st.integers(1, 3)))))
        given = {"p": draw(st.sampled_from([1, 2, 3]))} if operator == "GlobalLpPool" else {}
        return call(operator, positive(random_of(draw), shape), **given)

    return build


def unpool(draw: Draw) -> Case:
    """MaxPool and back: the places come from another branch than the values."""
    random, stride = random_of(draw), side(draw, 2, 3)
    x, y = apart(random, (1, 2, 2 * stride, 3 * stride)), apart(random, (1, 2, 2, 3))
    attributes = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
    nodes = [
        helper.make_node("MaxPool", ["x"], ["most", "places"], **attributes),
        helper.make_node("Add", ["most", "y"], ["sum"]),
        helper.make_node("MaxUnpool", ["sum", "places"], ["z"], **attributes),
    ]
    return Case(nodes, {"x": x, "y": y}, ["z"])


def resize(draw: Draw) -> Case:
    random, rank = random_of(draw), draw(st.sampled_from([1, 2]))
    mode = draw(st.sampled_from(["nearest", "nearest", "linear", "cubic"]))
    if mode == "cubic":
        rank = 2
    source = [side(draw, 2, 4) for _ in range(rank)]
    given: dict[str, Any] = {
        "mode": mode,
        "coordinate_transformation_mode": draw(
            st.sampled_from(["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
        ),
    }
    if mode == "nearest":
        given["nearest_mode"] = draw(st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]))
    # Linear: differences with a large step are exact, and onnxruntime has it in float32.
    x = apart(random, (1, side(draw, 1, 2), *source)).astype(np.float32)
    given |= {"step": 0.5, "tolerance": 1e-5}
    how = draw(st.sampled_from(["factor", "scales", "sizes"]))
    if how == "sizes":
        sizes = [side(draw, 1, 3) * n if flag(draw) else n + 1 for n in source]
        return call("Resize", x, None, None, Stored(np.array([*x.shape[:2], *sizes])), **given)
    factors = [float(side(draw, 1, 4)) if how == "factor" else draw(st.sampled_from([0.5, 1.5, 2.3])) for _ in source]
    return call("Resize", x, None, Stored(np.array([1, 1, *factors], np.float32)), **given)


def roi_align(draw: Draw) -> Case:
    random = random_of(draw)
    boxes = np.array([[0.3, 0.2, 3.1, 2.7], [0.9, 1.1, 2.2, 3.4]])
    given = {"output_height": 2, "output_width": 2, "sampling_ratio": draw(st.sampled_from([1, 2]))}
    return call("RoiAlign", apart(random, (2, 2, 4, 4)), Stored(boxes), Stored(np.array([0, 1])), **given)


def grid_sample(draw: Draw) -> Case:
    random = random_of(draw)
    given = {
        "mode": draw(st.sampled_from(["linear", "nearest", "cubic"])),
        "padding_mode": draw(st.sampled_from(["zeros", "border", "reflection"])),
        "align_corners": draw(st.integers(0, 1)),
    }
    grid = random.uniform(-0.85, 0.85, (1, 2, 3, 2))
    return call("GridSample", apart(random, (1, 2, 3, 4)), grid, opset=20, tolerance=1e-5, **given)


def affine_grid(draw: Draw) -> Case:
    theta = apart(random_of(draw), (2, 2, 3))
    return call("AffineGrid", theta, Stored(np.array([2, 3, 2, 4])), opset=20, align_corners=draw(st.integers(0, 1)))


POOLING: dict[str, Builder] = {
    "AffineGrid": affine_grid, "AveragePool": average_pool, "GlobalAveragePool": whole("GlobalAveragePool"),
    "GlobalLpPool": whole("GlobalLpPool"), "GlobalMaxPool": whole("GlobalMaxPool"), "GridSample": grid_sample, "LpPool": lp_pool,
    "MaxPool": max_pool, "MaxUnpool": unpool, "Resize": resize, "RoiAlign": roi_align,
}  # fmt: skip
