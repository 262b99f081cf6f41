"""`edgewise train`: what samples are to what learns from them."""

from edgewise.errors import InputError
from edgewise.measure.npz import Array
from edgewise.training.recipes.front import Kind

__all__ = ["kind_of"]


def kind_of(x: Array, takes: str) -> Kind:
    """What samples ``x`` are to something that takes "image", "sequence", "bag" or "history", or any array ("").

    Raises InputError where the two do not go together.
    """
    if x.dtype.kind in "UOT":
        if takes in ("bag", "sequence", ""):
            return "text"
        raise InputError(
            f"the data is text, and this network takes {takes} data", remedy="Take text-bag, gru or encoder."
        )
    if takes == "history":
        return "history"
    if takes == "bag" or (takes == "sequence" and x.ndim == 2 and x.dtype.kind in "iu" and x.dtype.itemsize > 2):
        return "tokens"
    if x.ndim == 2:
        return "audio" if (x.dtype.kind in "fi" and takes != "") or x.shape[1] >= 1000 else "table"
    return "image" if takes == "image" or x.ndim == 4 else "sensor"
