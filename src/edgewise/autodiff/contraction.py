"""The gradient of Einsum: for each operand, the Einsum of the error with all other operands."""

from string import ascii_letters

from edgewise.autodiff.broadcast import expand_like, reduce_sum
from edgewise.autodiff.call import Call, Gradients

__all__ = ["einsum"]


def einsum(c: Call, dy: str) -> Gradients:
    terms, target = _labels(c)
    result: dict[int, str] = {}
    for at, own in enumerate(terms):
        if not c.wants(at):
            continue
        if len(set(own)) != len(own):
            raise LookupError("a diagonal is left to the general rule")
        others = [(c.x(j), term) for j, term in enumerate(terms) if j != at]
        there = set(target).union(*(term for _, term in others))
        kept = "".join(label for label in own if label in there)
        equation = ",".join([target, *(term for _, term in others)]) + "->" + kept
        value = c.op("Einsum", dy, *(name for name, _ in others), equation=equation)
        # What only this operand has was summed: every element along it gets the same.
        missing = [axis for axis, label in enumerate(own) if label not in there]
        if missing:
            value = c.op("Unsqueeze", value, c.w.ints(*missing))
        repeated = [axis for axis, dim in enumerate(c.shape(c.x(at)) or ()) if dim == 1 and own[axis] in there]
        value = reduce_sum(c.w, value, repeated, len(own))
        result[at] = expand_like(c.w, value, c.x(at)) if missing else value
    return result


def _labels(c: Call) -> tuple[list[str], str]:
    """The labels of each operand and of the result, one per axis, with "..." written out."""
    left, arrow, right = str(c.attr("equation")).replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow:
        letters = left.replace("...", "").replace(",", "")
        once = sorted(letter for letter in letters if letters.count(letter) == 1)
        right = ("..." if "..." in left else "") + "".join(once)
    free = [letter for letter in ascii_letters if letter not in left]
    lengths = [c.rank(c.x(at)) - len(term.replace("...", "")) if "..." in term else 0 for at, term in enumerate(terms)]
    if any(None in (c.shape(c.x(at)) or ()) for at in range(len(terms))):
        raise LookupError("a dimension is not known")
    longest = free[: max(lengths)]
    written = [
        term.replace("...", "".join(longest[len(longest) - n :])) for term, n in zip(terms, lengths, strict=True)
    ]
    return written, right.replace("...", "".join(longest))
