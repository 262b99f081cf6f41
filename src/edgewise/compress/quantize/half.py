"""Numbers as halves: stored so, and computed in floats; or computed so too, where a device has the units for it.

Stored halves are cast back when a session opens, once, by constant folding: half the bytes of whatever else a file still keeps
in float32, at no cost in time. Computing in halves is onnxruntime's converter; processors without such units (most CPUs)
convert at every layer and are no faster.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, TensorProto, helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from edgewise.compress.passes import Watch, nobody
from edgewise.compress.quantize.preparation import prepare
from edgewise.compress.samples import Samples
from edgewise.errors import UnsupportedError
from edgewise.graph.order import captured, pruned
from edgewise.graph.writer import Writer
from edgewise.measure.npz import Array
from edgewise.training.rewrites.opening import closed, opened

__all__ = ["Half", "halved"]

_LEAST = 32  # values; the Cast of a smaller tensor takes what its halves save
_HIGHEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True)
class Half:
    """The pass. compute: False stores weights as halves and computes in float32. Inputs and outputs stay as they are."""

    compute: bool = False

    @property
    def name(self) -> str:
        return f"fp16:{'compute' if self.compute else 'storage'}"

    def describe(self) -> str:
        return f"float32 weights stored{' and computed' if self.compute else ''} as float16"

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:  # noqa: ARG002  (the protocol)
        """Raises UnsupportedError where nothing is stored in float32, or where a weight is beyond what a half holds."""
        prepared = prepare(model)
        return prepared.parts.whole(
            _computing(prepared.core) if self.compute else halved(prepared.core, prepared.fixed)
        )


def halved(core: ModelProto, keep: Collection[str] = ()) -> ModelProto:
    """``core`` with its float32 weights stored as halves, each cast back before it is read; but for those in ``keep``.

    Scales of integers stay exact. Raises UnsupportedError where there is nothing to store so, or a weight is too large.
    """
    writer = opened(core)
    exact = {name for node in writer.graph.node if "Quant" in node.op_type for name in node.input[1:]}
    hidden = {name for node in writer.graph.node for name in captured(node) - set(node.input)}
    fixed = exact | hidden | set(keep) | {value.name for value in writer.graph.output}
    found = {
        tensor.name: np.asarray(writer.array(tensor.name)) for tensor in writer.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in fixed
    }  # fmt: skip
    chosen = {name: array for name, array in found.items() if array.size >= _LEAST}
    if not chosen:
        raise UnsupportedError(f"no tensor of {_LEAST} or more values is stored in float32")
    _check(chosen)
    _store(writer, chosen)
    return closed(writer)


def _store(writer: Writer, chosen: dict[str, Array]) -> None:
    kept = [tensor for tensor in writer.graph.initializer if tensor.name not in chosen]
    del writer.graph.initializer[:]
    writer.graph.initializer.extend(kept)
    for name, array in chosen.items():
        stored = writer.store(writer.fresh(f"{name}/half"), array.astype(np.float16))
        writer.append(helper.make_node("Cast", [stored], [name], writer.fresh("Cast"), to=TensorProto.FLOAT))


def _check(arrays: dict[str, Array]) -> None:
    for name, array in arrays.items():
        most = float(np.abs(array[np.isfinite(array)]).max(initial=0.0))
        if most > _HIGHEST:
            raise UnsupportedError(
                f"{name!r} goes up to {most:.3g}, and a half to {_HIGHEST:.0f}", remedy="Keep float32."
            )


def _computing(core: ModelProto) -> ModelProto:
    floats = [tensor.name for tensor in core.graph.initializer if tensor.data_type == TensorProto.FLOAT]
    writer = opened(core)
    if not floats:
        raise UnsupportedError("nothing is stored in float32")
    _check({name: np.asarray(writer.array(name)) for name in floats})
    copy = ModelProto()
    copy.CopyFrom(core)
    try:
        result: ModelProto = convert_float_to_float16(copy, keep_io_types=True)
    except (ValueError, AttributeError, RuntimeError) as error:
        raise UnsupportedError(
            f"onnxruntime's converter to halves does not take the model: {str(error)[:300]}"
        ) from None
    return pruned(result)
