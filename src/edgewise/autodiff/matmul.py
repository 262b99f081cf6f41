"""Gradients of matrix products. Transposes are written out: onnxruntime fuses them into its matrix product."""

from edgewise.autodiff.broadcast import reshape_like, same, unbroadcast
from edgewise.autodiff.call import Call, Gradients

__all__ = ["gemm", "matmul"]


def matmul(c: Call, dy: str) -> Gradients:
    a, b = c.x(0), c.x(1)
    rank_a, rank_b = c.rank(a), c.rank(b)
    if rank_a == 1 or rank_b == 1:
        raise LookupError("products with a vector are left to the general rule")
    result: dict[int, str] = {}
    if c.wants(0):
        product = c.op("MatMul", dy, _transposed(c, b, rank_b))
        result[0] = unbroadcast(c, product, a, c.y()) if rank_b > 2 else product
    if c.wants(1):
        if rank_b == 2 and rank_a > 2:
            # One long product instead of one per row of the batch and a sum.
            rows = c.op("Reshape", a, c.w.ints(-1, c.size(a, -1)))
            errors = c.op("Reshape", dy, c.w.ints(-1, c.size(b, 1)))
            result[1] = c.op("Gemm", rows, errors, transA=1)
        elif rank_b == 2:
            result[1] = c.op("Gemm", a, dy, transA=1)
        else:
            product = c.op("MatMul", _transposed(c, a, rank_a), dy)
            result[1] = _batch_unbroadcast(c, product, b, rank_b)
        return result
    return result


def gemm(c: Call, dy: str) -> Gradients:
    a, b = c.x(0), c.x(1)
    flip_a, flip_b, alpha = int(c.attr("transA", 0)), int(c.attr("transB", 0)), float(c.attr("alpha", 1.0))
    result: dict[int, str] = {}
    if c.wants(0):
        # Y = a(A) b(B): dA = dY b(B)^T, or its transpose where A is used transposed.
        result[0] = (
            c.op("Gemm", b, dy, transA=flip_b, transB=1, alpha=alpha)
            if flip_a
            else c.op("Gemm", dy, b, transB=1 - flip_b, alpha=alpha)
        )
    if c.wants(1):
        result[1] = (
            c.op("Gemm", dy, a, transA=1, transB=flip_a, alpha=alpha)
            if flip_b
            else c.op("Gemm", a, dy, transA=1 - flip_a, alpha=alpha)
        )
    if c.x(2) and c.wants(2):
        beta = float(c.attr("beta", 1.0))
        part = dy if beta == 1 else c.op("Mul", dy, c.number(beta, c.y()))
        result[2] = unbroadcast(c, part, c.x(2), c.y())
    return result


def _transposed(c: Call, name: str, rank: int) -> str:
    perm = [*range(rank - 2), rank - 1, rank - 2]
    return c.op("Transpose", name, perm=perm)


def _batch_unbroadcast(c: Call, product: str, operand: str, rank: int) -> str:
    """The gradient of the second factor, summed over the batch axes along which it was repeated."""
    whole = c.shape(c.y())
    own = c.shape(operand)
    if whole is None or own is None:
        raise LookupError("the rank of a factor is not known")
    if same(whole[:-2], own[:-2]):
        return product
    lead = len(whole) - rank
    axes = [*range(lead), *(lead + at for at in range(rank - 2) if own[at] == 1 and whole[lead + at] != 1)]
    if any(not isinstance(own[at], int) and (own[at] is None or own[at] != whole[lead + at]) for at in range(rank - 2)):
        raise LookupError("batch axes of a factor are not known")
    summed = c.op("ReduceSum", product, c.w.ints(*axes), keepdims=1)
    return reshape_like(c.w, summed, operand) if lead else summed
