"""What LiteRT and its delegates take of ONNX's operators, for make_targets.py.

The models of litert_models.tar.xz (convert_for_litert.py) are opened here, and the interpreter says which operators XNNPACK
took. Of the delegates that this machine has not, the lists are from their sources, in TFLite's operators; what an ONNX
operator becomes is known from the conversion.
"""

import json
import os
import subprocess
import sys
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import ModelProto, defs, helper

MODELS = Path(__file__).resolve().parent.parent / "tests/compress/targets/litert_models.tar.xz"
ONNX2TF = "onnx2tf 2.6.9 (flatbuffer_direct)"
#: tflite/tools/versioning/gpu_compatibility.cc of google-ai-edge/LiteRT.
GPU = """\
ABS ADD ADD_N ATAN2 AVERAGE_POOL_2D BATCH_MATMUL BITCAST CAST CEIL CONCATENATION CONV_2D COS CUMSUM DENSIFY
DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP FLOOR FLOOR_DIV
FLOOR_MOD FULLY_CONNECTED GATHER GELU GREATER GREATER_EQUAL HARD_SWISH LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND
LOGICAL_NOT LOGICAL_OR LOGISTIC LSTM MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL ONE_HOT PACK PAD
PADV2 POW PRELU QUANTIZE REDUCE_ALL REDUCE_ANY REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU RELU6 RELU_N1_TO_1 RESHAPE
RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 RIGHT_SHIFT ROUND RSQRT SELECT SELECT_V2 SIGN SIN SLICE SOFTMAX
SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE STRIDED_SLICE SUB SUM TANH TILE TOPK_V2 TRANSPOSE
TRANSPOSE_CONV
"""
#: tflite/delegates/coreml/README.md of google-ai-edge/LiteRT.
COREML = """\
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED HARD_SWISH LOGISTIC MAX_POOL_2D MIRROR_PAD
MUL PAD PADV2 RELU RELU6 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR SOFTMAX TANH TRANSPOSE_CONV
"""
#: tflite/delegates/hexagon/README.md of google-ai-edge/LiteRT.
HEXAGON = """\
ADD ARG_MAX ARG_MIN AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE FULLY_CONNECTED HARD_SWISH
L2_NORMALIZATION LOGISTIC MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG PACK PAD QUANTIZE RELU RELU6 RESHAPE
RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SLICE SOFTMAX SPACE_TO_DEPTH SPLIT SQUARED_DIFFERENCE STRIDED_SLICE SUB
TANH TRANSPOSE TRANSPOSE_CONV
"""
#: TFLite's operator -> (needs, note) of the ONNX operator that becomes it, as the same sources have it.
GPU_LIMITS = dict.fromkeys(("SLICE", "STRIDED_SLICE", "PAD", "PADV2", "MIRROR_PAD"), ("rank=3,4", ""))
GPU_LIMITS |= {"GATHER": ("", "indices 1-D, int32"), "TRANSPOSE_CONV": ("", "")}
COREML_LIMITS = dict.fromkeys(("PAD", "PADV2", "MIRROR_PAD"), ("rank=4; stored=1", "height and width only"))
COREML_LIMITS |= dict.fromkeys(("ADD", "MUL"), ("", "only some shapes broadcast"))
COREML_LIMITS |= dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), ("stored=1,2", ""))
COREML_LIMITS |= {
    "TRANSPOSE_CONV": ("stored=1", ""), "FULLY_CONNECTED": ("stored=1,2", "a batch of 1"), "RESHAPE": ("", "Core ML 2, not 3"),
}  # fmt: skip
HEXAGON_LIMITS = {
    "CONV_2D": ("@strides=1,2,3", ""), "TRANSPOSE_CONV": ("@strides=1,2,3; @dilations=1", ""),
    "DEPTHWISE_CONV_2D": ("@strides=1,2,3", "filters at least 2 high; dilation only with stride 1"),
    "RESIZE_BILINEAR": ("", "up to 65 high and wide"), "PAD": ("", "with zeros"),
}  # fmt: skip
#: All inputs but the first.
STORED = "stored=1+"
SPATIAL = {"AveragePool", "Conv", "ConvTranspose", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"}


#: Attributes that choose between ways of an operator.
WAYS = frozenset(
    (
        "antialias", "auto_pad", "batch_dims", "ceil_mode", "coordinate_transformation_mode", "count_include_pad", "direction",
        "exclude_outside", "keep_aspect_ratio_policy", "keepdims", "largest", "layout", "linear_before_reset", "mode",
        "nearest_mode", "noop_with_empty_axes", "p", "reduction", "select_last_index", "sorted", "storage_order",
        "training_mode",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tried:
    """One converted model. ways: attributes, with ONNX's defaults. placed: TFLite's operators, each with whether XNNPACK took it;
    None where it does not open.
    """

    operator: str
    form: str
    dtype: str
    rank: int
    outputs: int
    ways: dict[str, str]
    placed: tuple[tuple[str, bool], ...] | None


def tried(by: Callable[[bytes], list[tuple[str, bool]] | None] | None = None) -> list[Tried]:
    """Every model of the archive, by what ``by`` finds of its ONNX file; without, by what LiteRT makes of the other.

    The interpreter runs in processes of its own, since some models end it.
    """
    files = models()
    names = sorted(name.removesuffix(".onnx") for name in files if name.endswith(".onnx"))
    placed = placements(names) if by is None else {name: by(files[f"{name}.onnx"]) for name in names}
    return [_tried(name, ModelProto.FromString(files[f"{name}.onnx"]), placed.get(name)) for name in names]


def models() -> dict[str, bytes]:
    """File of the archive -> its bytes."""
    with tarfile.open(MODELS) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def _tried(name: str, model: ModelProto, placed: Any) -> Tried:
    from edgewise.graph.walk import DTYPES

    node = model.graph.node[0]
    tensor = model.graph.input[0].type.tensor_type if model.graph.input else None
    first = node.input and model.graph.input and node.input[0] == model.graph.input[0].name
    schema = defs.get_schema(node.op_type, model.opset_import[0].version, "")
    given = {each.name: each for each in node.attribute}
    ways = {}
    for way in WAYS & set(schema.attributes):
        attribute = given.get(way, schema.attributes[way].default_value)
        if attribute.type:
            value = helper.get_attribute_value(attribute)
            ways[way] = value.decode() if isinstance(value, bytes) else str(value)
    return Tried(
        node.op_type, name.rpartition(".")[2], DTYPES.get(tensor.elem_type, "") if tensor is not None and first else "",
        len(tensor.shape.dim) if tensor is not None else 0, sum(map(bool, node.output)), ways,
        None if placed is None else tuple((operator, bool(took)) for operator, took in placed),
    )  # fmt: skip


def placements(names: list[str]) -> dict[str, list[tuple[str, bool]]]:
    """Name -> operators with whether XNNPACK took them; without those that do not open."""
    found: dict[str, Any] = {}
    left = list(names)
    while left:
        done = subprocess.run(
            [sys.executable, __file__], input="\n".join(left), text=True, capture_output=True, check=False,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )  # fmt: skip
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        for line in lines:
            found |= line
        left = left[len(lines) + 1 :]  # the one after the last answer ended the process
    return {name: placed for name, placed in found.items() if placed is not None}


def main() -> int:
    from edgewise.errors import EdgewiseError
    from edgewise.runtime.engine import OpenOptions
    from edgewise.runtime.litert_engine import XNNPACK, LiteRtEngine

    engine = LiteRtEngine()
    files = models()
    for name in sys.stdin.read().splitlines():
        placed = None
        if f"{name}.tflite" in files:
            try:
                session = engine.open(
                    {"m.tflite": files[f"{name}.tflite"]}, OpenOptions(threads=1, record_placement=True)
                )
                placed = [(node.operator, node.provider == XNNPACK) for node in session.placement().nodes]
                session.close()
            except EdgewiseError:
                placed = None
        print(json.dumps({name: placed}), flush=True)
    return 0


def operators(
    models: list[Tried], takes: Callable[[Tried], bool], limits: dict[str, tuple[str, str]], types: tuple[str, ...] = ()
) -> dict[str, Any]:
    """ONNX's operator -> entry of a profile: the types that are taken, and what of the models with them is not.

    types: the only ones of the delegate; () for those of the models that it takes.
    """
    by: dict[str, list[Tried]] = defaultdict(list)
    for model in models:
        by[model.operator].append(model)
    found = {}
    for operator, rows in by.items():
        if operator != "Constant" and (entry := _entry(rows, takes, limits, types)):
            found[operator] = entry
    return found


def _entry(
    rows: list[Tried],
    takes: Callable[[Tried], bool],
    limits: dict[str, tuple[str, str]],
    types: tuple[str, ...],
) -> dict[str, Any]:
    kinds = {row.dtype for row in rows if takes(row)}
    if not kinds or (types and "float32" not in kinds):
        return {}
    refused = sorted({row.dtype for row in rows} - kinds - {""})
    rows = [row for row in rows if row.dtype in ({"float32"} if types else kinds)]
    needs = []
    for need, met in _differences(rows, takes):
        needs.append(need)
        rows = [row for row in rows if met(row)]
    took = [row for row in rows if takes(row)]
    notes = [f"{len(took)} of {len(rows)} of ONNX's test models"] if len(took) < len(rows) else []
    for name in sorted({name for row in took for name, _ in row.placed or ()}):
        more, note = limits.get(name, ("", ""))
        needs += [need for need in more.split("; ") if need and need not in needs]
        notes += [note] if note and note not in notes else []
    entry: dict[str, Any] = {"forms": [{"types": list(types) or sorted(kinds - {""})}]}
    if not types:
        entry["refuses"] = refused
    return entry | ({"needs": needs} if needs else {}) | ({"note": "; ".join(notes)} if notes else {})


def _differences(rows: list[Tried], takes: Callable[[Tried], bool]) -> Iterator[tuple[str, Callable[[Tried], bool]]]:
    """What all models that are taken have in common and others have not: a need, and whether a model meets it."""
    took, left = [row for row in rows if takes(row)], [row for row in rows if not takes(row)]
    if rows[0].operator in SPATIAL:
        dims = {row.rank - 2 for row in took}
        yield f"spatial={','.join(map(str, sorted(dims)))}", lambda row: row.rank - 2 in dims
    if {row.form for row in took} == {"stored"} and any(row.form == "fed" for row in left):
        yield STORED, lambda row: row.form == "stored"
    most = max(row.outputs for row in took)
    if any(row.outputs > most for row in left):
        yield f"outputs={most}", lambda row: row.outputs <= most
    for way in sorted({way for row in took for way in row.ways}):
        values = {row.ways[way] for row in took if way in row.ways}
        if any(row.ways.get(way, next(iter(values))) not in values for row in left):
            yield f"@{way}={','.join(sorted(values))}", _has_way(way, values)


def _has_way(way: str, values: set[str]) -> Callable[[Tried], bool]:
    return lambda row: way not in row.ways or row.ways[way] in values


def opens(model: Tried) -> bool:
    return model.placed is not None


def by_xnnpack(model: Tried) -> bool:
    return model.placed is not None and all(took for _, took in model.placed)


def by_list(text: str) -> Callable[[Tried], bool]:
    """Whether all that the model becomes is in a delegate's list. Changes of layout around it go away within a whole model."""
    known = frozenset(text.split())

    def takes(model: Tried) -> bool:
        free = {"TRANSPOSE"} if model.operator != "Transpose" else set()
        return model.placed is not None and all(name in known or name in free for name, _ in model.placed)

    return takes


if __name__ == "__main__":
    sys.exit(main())
