"""Cases of products and convolutions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from tests.autodiff.drawing import Array, Builder, Draw, apart, flag, random_of, side
from tests.autodiff.finite_differences import Case, Held, Stored, call

__all__ = ["LINEAR"]

EQUATIONS = [
    "ij,jk->ik", "bij,bjk->bik", "ij->ji", "ij->i", "ij->", "i,j->ij", "bhid,bhjd->bhij", "ij,ij->ij", "ij,kj,k->i",
    "...ij,...jk->...ik", "ab,bc,cd->ad", "ij,ij->", "ij,jk", "ba", "i...->...",
]  # fmt: skip


def kept(draw: Draw, array: Array) -> Any:
    """The array, or the array without a gradient."""
    return Held(array) if draw(st.integers(0, 4)) == 0 else array


def matmul(draw: Draw) -> Case:
    random, k = random_of(draw), side(draw)
    batch = [side(draw, 1, 3) for _ in range(draw(st.integers(0, 2)))]

    def factor(last: tuple[int, int]) -> Array:
        lead = tuple(n if flag(draw) else 1 for n in batch[draw(st.integers(0, len(batch))) :])
        return apart(random, (*lead, *last))

    a = apart(random, (k,)) if draw(st.integers(0, 5)) == 0 else factor((side(draw), k))
    b = apart(random, (k,)) if draw(st.integers(0, 5)) == 0 else factor((k, side(draw)))
    return call("MatMul", a, kept(draw, b))


def gemm(draw: Draw) -> Case:
    random = random_of(draw)
    m, k, n = side(draw), side(draw), side(draw)
    flip_a, flip_b = flag(draw), flag(draw)
    a, b = apart(random, (k, m) if flip_a else (m, k)), apart(random, (n, k) if flip_b else (k, n))
    shape = draw(st.sampled_from([None, (), (1,), (n,), (m, 1), (1, n), (m, n)]))
    c = None if shape is None else apart(random, shape)
    given: dict[str, Any] = {"transA": int(flip_a), "transB": int(flip_b)}
    if flag(draw):
        given |= {"alpha": draw(st.sampled_from([0.5, -2.0, 1.25])), "beta": draw(st.sampled_from([0.5, -1.5, 0.0]))}
    return call("Gemm", kept(draw, a), b, *([] if c is None else [c]), **given)


def einsum(draw: Draw) -> Case:
    random, equation = random_of(draw), draw(st.sampled_from(EQUATIONS))
    sizes = {letter: side(draw, 1, 3) for letter in sorted(set(equation) & set("abcdhijk"))}
    lead = tuple(side(draw, 1, 3) for _ in range(draw(st.integers(0, 2))))
    operands = []
    for term in equation.split("->")[0].split(","):
        front, dots, back = term.partition("...")
        own = tuple(n if flag(draw) else 1 for n in lead) if dots else ()
        shape = (*(sizes[x] for x in front), *own, *(sizes[x] for x in back))
        operands.append(apart(random, shape))
    return call("Einsum", *operands, equation=equation)


def windows(draw: Draw, rank: int, kernel: Sequence[int], source: Sequence[int], *, most: int = 3) -> dict[str, Any]:
    """Strides, dilations and pads (or auto_pad) with at least one output position."""
    given: dict[str, Any] = {}
    if flag(draw):
        given["strides"] = [side(draw, 1, 3) for _ in range(rank)]
    if flag(draw):
        given["dilations"] = [
            side(draw, 1, max(1, min(2, (n - 1) // (k - 1)))) if k > 1 else side(draw, 1, 2)
            for k, n in zip(kernel, source, strict=True)
        ]
    how = draw(st.sampled_from(["none", "pads", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if how == "pads":
        given["pads"] = [draw(st.integers(0, min(most, k))) for k in (*kernel, *kernel)]
    elif how != "none":
        given["auto_pad"] = how
        if how.startswith("SAME"):
            given.pop("dilations", None)
    return given


def conv(draw: Draw) -> Case:
    random, rank = random_of(draw), draw(st.sampled_from([1, 2, 2, 2, 3]))
    kernel = [side(draw, 1, 3) for _ in range(rank)]
    source = [k + draw(st.integers(0, 4)) for k in kernel]
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    many = rank == 2 and draw(st.integers(0, 4)) == 0  # enough channels for the form that goes position by position
    inner, outer = (9, 2) if many else (side(draw, 1, 2), side(draw, 1, 2))
    x = apart(random, (side(draw, 1, 2), groups * inner, *source))
    weight = apart(random, (groups * outer, inner, *kernel), 1.0)
    bias = [apart(random, (groups * outer,))] if flag(draw) else []
    given = windows(draw, rank, kernel, source)
    if flag(draw):
        given["kernel_shape"] = kernel
    return call("Conv", kept(draw, x), kept(draw, weight), *bias, group=groups, **given)


def conv_transpose(draw: Draw) -> Case:
    random, rank = random_of(draw), draw(st.sampled_from([1, 2, 2, 3]))
    kernel, source = [side(draw, 1, 3) for _ in range(rank)], [side(draw, 2, 4) for _ in range(rank)]
    groups, inner, outer = draw(st.sampled_from([1, 1, 2, 3])), side(draw, 1, 2), side(draw, 1, 2)
    x = apart(random, (side(draw, 1, 2), groups * inner, *source))
    weight = apart(random, (groups * inner, outer, *kernel), 1.0)
    bias = [apart(random, (groups * outer,))] if flag(draw) else []
    strides, dilations = [side(draw, 1, 3) for _ in range(rank)], [side(draw, 1, 2) for _ in range(rank)]
    given: dict[str, Any] = {"strides": strides, "dilations": dilations, "kernel_shape": kernel}
    given["pads"] = [draw(st.integers(0, (k - 1) * d // 2)) for k, d in zip(kernel, dilations, strict=True)] * 2
    if flag(draw):
        given["output_padding"] = [draw(st.integers(0, s - 1)) for s in strides]  # onnxruntime takes no more
    return call("ConvTranspose", kept(draw, x), kept(draw, weight), *bias, group=groups, **given)


def deform_conv(draw: Draw) -> Case:
    random, out = random_of(draw), (3, 2)
    x = apart(random, (1, 2, 4, 3))
    weight, offset = apart(random, (2, 2, 2, 2)), random.uniform(0.1, 0.4, (1, 8, *out))
    more = [apart(random, (2,)), apart(random, (1, 4, *out))] if flag(draw) else []
    return call("DeformConv", x, weight, offset, *more, opset=19, step=0.01, tolerance=5e-5)  # piecewise linear in all


def col2im(draw: Draw) -> Case:
    random, strides = random_of(draw), [side(draw, 1, 2), side(draw, 1, 2)]
    image = (4, 5)
    length = int(np.prod([(n - 2) // s + 1 for n, s in zip(image, strides, strict=True)]))
    x = apart(random, (1, 2 * 4, length))
    return call("Col2Im", x, Stored(np.array(image)), Stored(np.array([2, 2])), strides=strides)


LINEAR: dict[str, Builder] = {
    "Col2Im": col2im, "Conv": conv, "ConvTranspose": conv_transpose, "DeformConv": deform_conv, "Einsum": einsum, "Gemm": gemm,
    "MatMul": matmul,
}  # fmt: skip
