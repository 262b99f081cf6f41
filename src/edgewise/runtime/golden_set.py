"""The golden set as arrays, checked against the interface: inputs with one row per sample, outputs per variant."""

from collections.abc import Mapping

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.safetensors import parse_arrays
from edgewise.errors import HostileBundleError
from edgewise.records import dataclass
from edgewise.runtime.engine import Array
from edgewise.runtime.rows import row_at

__all__ = ["GoldenSet", "read_golden"]


@dataclass(frozen=True, slots=True)
class GoldenSet:
    """inputs: input name -> rows. outputs: variant -> output name -> rows. count: samples."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Mapping[str, Array]]
    count: int
    ranks: Mapping[str, int]

    def sample(self, at: int) -> dict[str, Array]:
        """The inputs of one sample, as a batch of one where the interface has a batch axis."""
        return {name: row_at(rows, at, self.ranks[name]) for name, rows in self.inputs.items()}


def read_golden(bundle: Bundle) -> GoldenSet | None:
    """The golden set of a bundle, None where it has none.

    Raises HostileBundleError where the file names tensors that the interface lacks, leaves an input or a variant out, or where
    the numbers of rows differ.
    """
    document = bundle.document
    if document.golden is None:
        return None
    arrays = parse_arrays(bundle.read(document.golden.file), "the golden set", bundle.limits)
    states = {state.input for state in document.states}
    ranks = {spec.name: len(spec.shape) for spec in document.inputs if spec.name not in states}
    names = {spec.name for spec in document.outputs}
    inputs: dict[str, Array] = {}
    outputs: dict[str, dict[str, Array]] = {variant.name: {} for variant in document.variants}
    for name, array in arrays.items():
        kind, _, rest = name.partition("/")
        variant, _, output = rest.partition("/")
        if kind == "in" and rest in ranks and array.ndim in {ranks[rest], ranks[rest] + 1} and array.ndim:
            inputs[rest] = array
        elif kind == "out" and variant in outputs and output in names and array.ndim:
            outputs[variant][output] = array
        else:
            _refuse(f"has a tensor {name[:80]!r} that does not fit the interface")
    missing = [f"in/{name}" for name in ranks if name not in inputs]
    missing += [f"out/{variant}/..." for variant, found in outputs.items() if not found]
    if missing:
        _refuse(f"lacks {', '.join(missing[:4])}")
    count = len(next(iter(inputs.values())))
    if count < 1 or any(len(rows) != count for rows in inputs.values()):
        _refuse("has inputs with different numbers of rows, or none")
    return GoldenSet(inputs, outputs, count, ranks)


def _refuse(what: str) -> None:
    raise HostileBundleError("golden-malformed", f"the golden set {what}")
