"""Do the variants of one bundle answer alike? Said with numbers when they are packed; a broken one is refused.

By their recorded golden outputs. Whether a variant is good enough is for the receipts: this finds the file that was quantized
to nonsense, or that is another model.
"""

from edgewise.bundle.document import Document
from edgewise.bundle.safetensors import parse_arrays
from edgewise.errors import MismatchError, ModelError
from edgewise.importing.check import Comparison, measure_outputs, require_faithful
from edgewise.runtime.decision import are_indices, winners
from edgewise.runtime.engine import Array

__all__ = ["compare_recorded"]

_REMEDY = (
    "Do not ship this variant: quantize it again with calibration data like that of use. If the difference is meant "
    "(another training), pass --allow-unfaithful."
)


def compare_recorded(document: Document, golden: bytes, *, allow_unfaithful: bool) -> list[str]:
    """A sentence for each variant after the first: how its recorded golden outputs differ from the first one's.

    Raises MismatchError with the numbers for one below a cosine of 0.9 in the deciding output, unless ``allow_unfaithful``, or its
    derivation says that it passed a test on samples held out: what was trained anew may give other scores and decide alike.
    """
    arrays = parse_arrays(golden, "the golden set")
    decision = document.decision or document.outputs[0].name
    first, *others = [variant.name for variant in document.variants]
    tested = {v.name for v in document.variants if v.derivation and v.derivation.judged and v.derivation.judged.passes}
    kind = "seeded" if document.golden and document.golden.extra.get("source") == "seeded" else "golden"
    notes = []
    for other in others:
        what = f"{other} against {first} on {kind} inputs"
        want, got = arrays.get(f"out/{first}/{decision}"), arrays.get(f"out/{other}/{decision}")
        if want is None or got is None:  # text, which is not recorded
            continue
        if are_indices(want) and want.shape == got.shape:
            notes.append(f"{what}: same decision {float((winners(want) == winners(got)).mean()):.1%}")
            continue
        notes.append(_judged(want, got, decision, what, allow_unfaithful=allow_unfaithful or other in tested))
    return notes


def _judged(want: Array, got: Array, decision: str, what: str, *, allow_unfaithful: bool) -> str:
    if want.dtype != got.dtype:
        raise ModelError(f"{what}: {decision} is {got.dtype}, not {want.dtype}")
    return _sentence(
        measure_outputs({decision: want}, {decision: got}, what=what), what, allow_unfaithful=allow_unfaithful
    )


def _sentence(compared: Comparison, what: str, *, allow_unfaithful: bool) -> str:
    if not allow_unfaithful:
        try:
            require_faithful(compared, what, what.partition(" ")[0])
        except MismatchError as error:
            raise MismatchError(error.what, remedy=_REMEDY, **error.details) from None
    return f"{what}: {compared}"
