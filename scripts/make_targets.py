"""Writes src/edgewise/compress/targets/profiles: which operators run where, each with where that is known from.

    python scripts/make_targets.py            (needs tests/web/node_modules: make web; and OpenVINO)

Two kinds of sources: a runtime that is here is asked (its registry of kernels, or whether it opens ONNX's own test models), and
vendors' tables are written down below with the version that they were read in.
"""

import json
import re
import sys
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import onnxruntime
from onnx import defs
from onnxruntime.capi import onnxruntime_pybind11_state as native

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "src/edgewise/compress/targets/profiles"
WEB = ROOT / "tests/web/node_modules/onnxruntime-web"
OPEN = 2**31 - 1
DOMAINS = ("", "com.microsoft")
NAMES = {"float": "float32", "double": "float64", "string": "str"}
NAMES |= {f"float8{kind}": f"float8_{kind}" for kind in ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz")}
#: What the registry does not tell.
NOTES = dict.fromkeys(("GRU", "LSTM", "RNN"), "layout 1 (batch first) is left out")

COREML = """\
Add ArgMax AveragePool:2-D_only Cast Clip Concat Conv:1-D_and_2-D;_bias_constant
ConvTranspose:weight_and_bias_constant;_no_SAME,_output_shape_or_output_padding Cos DepthToSpace Ceil Div Elu Erf Exp
GatherND:batch_dims_0 Gemm:B_constant Gelu GlobalAveragePool:2-D_only GlobalMaxPool:2-D_only
GridSample:4-D,_linear_or_zeros GroupNormalization HardSigmoid Identity InstanceNormalization LayerNormalization
LeakyRelu MatMul MaxPool:2-D_only Max Mul Pow:both_float32 PRelu Range Reciprocal ReduceSum ReduceMean ReduceMax Relu
Reshape Resize:many_forms_are_left_out Round Shape Sin Slice:bounds_constant Softplus Split:sizes_constant Sub Sigmoid
Softmax Sqrt Squeeze Tanh Tile:rank_up_to_5 Transpose Unsqueeze com.microsoft:QuickGelu com.microsoft:FusedConv
"""

QNN = """\
Abs Add And ArgMax ArgMin Asin Atan AveragePool BatchNormalization Cast CastLike Ceil Clip Concat Conv
ConvInteger:only_behind_DynamicQuantizeLinear ConvTranspose Cos CumSum DepthToSpace DequantizeLinear
DynamicQuantizeLinear:only_before_ConvInteger_and_MatMulInteger Div Einsum Elu Equal Exp Expand Flatten Floor
Gather:indices_not_negative GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual
GridSample GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization IsNaN LRN LSTM LayerNormalization
LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization:p_2 MatMul MatMulInteger:only_behind_DynamicQuantizeLinear
Max MaxPool Mean Min Mod Mul Neg NonZero Not Or PRelu Pad Pow QuantizeLinear RandomNormalLike RandomUniformLike
Reciprocal ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu RMSNormalization Reshape Resize RoiAlign
Round RotaryEmbedding:HTP_only STFT ScatterElements ScatterND Sigmoid Sign Sin Slice Softmax Softplus SpaceToDepth
Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Unsqueeze Upsample Where
com.microsoft:DequantizeLinear com.microsoft:FusedMatMul com.microsoft:Gelu com.microsoft:MatMulNBits
com.microsoft:QuantizeLinear com.microsoft:QuickGelu com.microsoft:RotaryEmbedding:HTP_only
com.microsoft:SimplifiedLayerNormalization
"""

TENSORRT = """\
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool:2-D_and_3-D BatchNormalization Cast Ceil Celu
Clip Concat Constant ConstantOfShape:float32 Conv:2-D_and_3-D;_weights_stored
ConvTranspose:2-D_and_3-D;_weights_stored Cos Cosh CumSum:axis_stored DepthToSpace DequantizeLinear:zero_point_0 Div
Dropout Einsum:no_ellipsis,_diagonal_or_broadcasting Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather
GatherElements GatherND Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GRU HardSigmoid
Identity If InstanceNormalization:scale_and_bias_stored IsNaN LeakyRelu Less LessOrEqual Log LogSoftmax Loop LRN LSTM
LpNormalization LpPool MatMul Max MaxPool:2-D_and_3-D;_no_indices Mean Min Mul Neg NonMaxSuppression:experimental Not
Or Pad Pow PRelu QuantizeLinear:zero_point_0 RandomUniform RandomUniformLike Range ReduceL1 ReduceL2 ReduceLogSum
ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape
Resize:nearest_or_linear ReverseSequence RNN Round Scan Scatter ScatterElements ScatterND Selu Shape Sigmoid Sign Sin
Sinh Size Slice:axes_stored Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze:axes_stored Sub Sum Tan Tanh
ThresholdedRelu Tile TopK:K_stored Transpose Unsqueeze:axes_constant Upsample Where Xor
"""


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    cpu = kernels()
    version = onnxruntime.__version__
    registry = f"the registry of kernels in the wheel of onnxruntime {version}"
    web = json.loads((WEB / "package.json").read_text())["version"]
    write(
        "onnxruntime-cpu", "onnxruntime, CPU", cpu, otherwise="fails", sources=[registry], half=True,
        checked="opening ONNX's own test models",
    )  # fmt: skip
    write(
        "ort-web-wasm", "ONNX Runtime Web, WASM", {}, like="onnxruntime-cpu", otherwise="fails", half=True,
        sources=[f"{registry}: the same kernels are built for WASM"], checked=f"opening models under node with {web}",
        limits={"modelBytes": 2**31 - 1, "memoryBytes": 2**32},
    )  # fmt: skip
    for name, title in (("webgpu", "WebGPU"), ("webnn", "WebNN")):
        write(
            f"ort-web-{name}", f"ONNX Runtime Web, {title}", page(WEB / f"docs/{name}-operators.md"),
            otherwise="falls back to WASM",
            sources=[f"docs/{name}-operators.md of the npm package onnxruntime-web {web}"],
        )  # fmt: skip
    write(
        "openvino-cpu", "OpenVINO, CPU", *openvino(), otherwise="fails", checked="compiling ONNX's own test models",
    )  # fmt: skip
    write(
        "coreml", "onnxruntime, CoreML (ML Program)", table(COREML), otherwise="falls back to the CPU",
        sources=["microsoft/onnxruntime at 04f568d869ec: tools/ci_build/github/apple/coreml_supported_mlprogram_ops.md"],
    )  # fmt: skip
    write(
        "qnn", "onnxruntime, Qualcomm QNN", table(QNN), otherwise="falls back to the CPU", fixed=True,
        sources=["onnxruntime/onnxruntime-qnn at 0131740f3180: docs/execution_providers/QNN-ExecutionProvider.md"],
    )  # fmt: skip
    write(
        "tensorrt", "TensorRT 8.4", table(TENSORRT), otherwise="falls back to the CPU", opset=13,
        sources=["onnx/onnx-tensorrt at 009d6541b4ee: docs/operators.md (TensorRT 8.4)"],
    )  # fmt: skip
    return 0


def write(
    name: str, title: str, operators: dict[str, Any], sources: list[str], *, otherwise: str, checked: str = "",
    opset: int | None = None, fixed: bool = False, limits: dict[str, int] | None = None, like: str = "",
    half: bool = False,
) -> None:  # fmt: skip
    """One line for each operator, so that a new version shows what changed."""
    value = {
        "name": name, "title": title, "sources": sources, "checked": checked, "otherwise": otherwise, "like": like,
        "highestOpset": opset, "fixedShapes": fixed, "castsHalf": half, "limits": limits or {},
    }  # fmt: skip
    path = FOLDER / f"{name}.json"
    head = json.dumps(value, indent=1)[:-2]
    rows = ",\n".join(f"  {json.dumps(key)}: {json.dumps(entry)}" for key, entry in sorted(operators.items()))
    path.write_text(f'{head},\n "operators": {{\n{rows}\n }}\n}}\n')
    print(f"{path.name}: {len(operators)} operators, {path.stat().st_size} bytes")


def kernels() -> dict[str, Any]:
    """Operator -> version ranges, and element types of its first input, of the CPU provider."""
    ranges: dict[str, set[tuple[int, int | None]]] = defaultdict(set)
    types: dict[str, set[str]] = defaultdict(set)
    for kernel in native.get_all_opkernel_def():
        if kernel.provider != "CPUExecutionProvider" or kernel.domain not in DOMAINS:
            continue
        low, high = kernel.version_range
        key = f"{kernel.domain}:{kernel.op_name}" if kernel.domain else kernel.op_name
        ranges[key].add((low, None if high == OPEN else high))
        types[key] |= {
            NAMES.get(text[7:-1], text[7:-1]) for text in kernel.type_constraints.get(first_type(kernel), ())
        }
    found: dict[str, Any] = {}
    for key, spans in ranges.items():
        found[key] = {"since": sorted(spans, key=lambda span: span[0]), "types": sorted(types[key])}
        found[key] |= {"note": NOTES[key]} if key in NOTES else {}
    return found


def first_type(kernel: Any) -> str:
    try:
        return str(defs.get_schema(kernel.op_name, kernel.version_range[0], kernel.domain).inputs[0].type_str)
    except (defs.SchemaError, IndexError):
        return "T"


def page(path: Path) -> dict[str, Any]:
    """The table of operators in a page of onnxruntime-web."""
    found: dict[str, Any] = {}
    for line in path.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) < 2 or "(" not in cells[1]:
            continue
        for domain, text in re.findall(r"([\w.]+)\(([^)]*)\)", cells[1]):
            if domain not in ("ai.onnx", "com.microsoft"):
                continue
            ranges = [part.strip() for part in text.split(",") if part.strip()]
            key = cells[0] if domain == "ai.onnx" else f"{domain}:{cells[0]}"
            note = cells[-1] if len(cells) > 2 else ""
            found[key] = {"since": [span(part) for part in ranges], **({"note": note} if note else {})}
    return found


def span(text: str) -> tuple[int, int | None]:
    low, dash, high = text.rstrip("+").partition("-")
    return int(low), None if text.endswith("+") else int(high if dash else low)


def table(text: str) -> dict[str, Any]:
    found = {}
    for word in text.split():
        head, _, tail = (
            word.rpartition(":") if word.startswith("com.microsoft:") and word.count(":") > 1 else word.partition(":")
        )
        name, note = (word, "") if word.startswith("com.microsoft:") and word.count(":") == 1 else (head, tail)
        if name == "only":
            continue
        found[name] = {"note": note.replace("_", " ")} if note else {}
    return found


def openvino() -> tuple[dict[str, Any], list[str]]:
    """What OpenVINO compiles of ONNX's test models with one node."""
    import openvino as ov
    from onnx.backend.test.case.node import collect_testcases

    core, tried, done = ov.Core(), defaultdict(int), defaultdict(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    for case in cases:
        if len(case.model.graph.node) != 1 or case.model.graph.node[0].domain:
            continue
        name = case.model.graph.node[0].op_type
        tried[name] += 1
        try:
            core.compile_model(core.read_model(case.model.SerializeToString()), "CPU")
            done[name] += 1
        except Exception:
            continue
    found: dict[str, Any] = {}
    for name, count in tried.items():
        if done[name]:
            whole = done[name] == count
            found[name] = {} if whole else {"note": f"{done[name]} of {count} of ONNX's test models"}
    return found, [
        f"what openvino {ov.__version__.split('-')[0]} compiles of ONNX's node tests, opset {defs.onnx_opset_version()}"
    ]


if __name__ == "__main__":
    sys.exit(main())
