"""Fewer nodes, the same answers: constants computed, normalisations and scalings drawn into the layers before them.

By onnxruntime's own basic optimisation, which knows every operator that it runs and writes standard ones only; its other levels
write forms for this machine alone. What it leaves in the header is taken out again.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from onnx import ModelProto

from edgewise.compress.passes import Watch, nobody
from edgewise.compress.samples import Samples
from edgewise.errors import UnsupportedError
from edgewise.graph.order import pruned
from edgewise.graph.walk import is_default_domain, nodes
from edgewise.runtime import telemetry

telemetry.disable()

import onnxruntime as ort  # noqa: E402  (the switch above must come first)

__all__ = ["Simplify", "simplified"]


def simplified(model: ModelProto) -> ModelProto:
    """``model`` with fewer nodes. Raises UnsupportedError where onnxruntime does not open it, with its words."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        try:
            ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common class
            raise UnsupportedError(f"onnxruntime does not open the model: {str(error)[:300]}") from None
        result = onnx.load(str(path))
    used = {node.domain for node in nodes(result) if not is_default_domain(node.domain)}
    kept = [entry for entry in result.opset_import if is_default_domain(entry.domain) or entry.domain in used]
    del result.opset_import[:]
    result.opset_import.extend(kept)
    result.ir_version = model.ir_version
    result.producer_name, result.producer_version = model.producer_name, model.producer_version
    return pruned(result)


@dataclass(frozen=True, slots=True)
class Simplify:
    """The pass of ``simplified``."""

    @property
    def name(self) -> str:
        return "simplify"

    def describe(self) -> str:
        return "constants folded, normalisations drawn into the layers before them"

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:  # noqa: ARG002  (the protocol)
        return simplified(model)
