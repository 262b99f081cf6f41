"""That a head changed nothing: the model before and after beside each other, and the head apart from both."""

from collections.abc import Iterable, Mapping

import numpy as np

from edgewise.errors import MismatchError
from edgewise.routing.head.head import SCORE, Head
from edgewise.routing.head.join import tapped
from edgewise.runtime.engine import Array, OpenOptions, find_engine

__all__ = ["CLOSE", "prove_joined"]

#: How far a score in float32 may be from the same in float64, relative to 1 or to what is larger.
CLOSE = 1e-5
_HALF = 2  # bytes
_CLOSE_IN_HALVES = (
    1e-2  # scores of 11 bits, which onnxruntime rounds for whoever takes the output, and not for nodes behind it
)


def prove_joined(
    before: bytes, joined: bytes, head: Head, feeds: Iterable[Mapping[str, Array]], external: Mapping[str, bytes] | None = None
) -> float:  # fmt: skip
    """Run both models and the head by itself on ``feeds`` (input -> batch); the largest difference of a score, as ``CLOSE`` has it.

    external: files beside ``before``. Raises MismatchError where another output changed by a bit, or a score by more than that.
    """
    read = tapped(before, head.output, external)
    files = ({"model.onnx": before, **(external or {})}, {"model.onnx": joined}, {"model.onnx": read.model})
    sessions = [find_engine("onnxruntime").open(each, OpenOptions(threads=1)) for each in files]
    try:
        worst, close = 0.0, CLOSE
        for feed in feeds:
            was, now, values = (session.run(dict(feed)) for session in sessions)
            changed = [name for name, array in was.items() if name != SCORE and not _same(array, now[name])]
            if changed:
                raise MismatchError(
                    f"with the head in the graph {', '.join(changed)} comes out otherwise",
                    remedy="Learn a head that reads the scores alone (read_hidden=False).",
                    outputs=changed,
                )
            close = CLOSE if was[head.output].dtype.itemsize != _HALF else _CLOSE_IN_HALVES
            wanted = head.scores(values[read.scores], values.get(read.hidden))
            worst = max(worst, float((np.abs(now[SCORE][:, 0] - wanted) / np.maximum(np.abs(wanted), 1)).max()))
    finally:
        for session in sessions:
            session.close()
    if not worst <= close:
        raise MismatchError(
            f"the head in the graph differs by {worst:.3g} from the head by itself", remedy="Report this as a bug, with the model.",
            difference=worst,
        )  # fmt: skip
    return worst


def _same(left: Array, right: Array) -> bool:
    if left.dtype.kind in "OUS":
        return bool(np.array_equal(left, right))
    return left.shape == right.shape and left.dtype == right.dtype and left.tobytes() == right.tobytes()
