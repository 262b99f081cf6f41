"""Writes src/edgewise/compress/targets/profiles: which operators run where, each with where that is known from.

    python scripts/make_targets.py            (needs tests/web/node_modules: make web; OpenVINO and LiteRT)

Two kinds of sources: a runtime that is here is asked (its registry of kernels, or whether it opens ONNX's own test models), and
vendors' tables are written down in target_tables with the version that they were read in.
"""

import json
import re
import sys
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
NEEDS = {operator: ["@layout=0"] for operator in ("GRU", "LSTM", "RNN")}

TABLES = ROOT / "scripts/target_tables"
#: Letters of the tables for element types.
FLOATS, SIGNED = ("float32", "float16"), ("int8", "int16", "int32", "int64")
LETTERS = {
    "directml": {
        "F": FLOATS, "D": ("float64",), "S": SIGNED, "U": tuple(f"u{name}" for name in SIGNED), "B": ("bool",),
        "W": ("int32", "int64", "uint32", "uint64"),
    },
    "tensorrt": {"F": (*FLOATS, "bfloat16"), "H": FLOATS, "I": ("int32", "int64"), "B": ("bool",)},
    "tensorrt-8.4": {"F": FLOATS, "I": ("int32",), "B": ("bool",)},
    "coreml": {}, "qnn": {},
}  # fmt: skip
LETTERS["directml"]["N"] = FLOATS + SIGNED + LETTERS["directml"]["U"]
LETTERS["directml"]["A"] = (*LETTERS["directml"]["N"], "float64", "bool")
QDQ = ("QuantizeLinear", "DequantizeLinear")
HALF = {"float16": "float32"}
READ = "read 2026-11-25"
UNTRIED = (
    "forms of opsets before the tests' own; other converters; element types and attributes that the tests have not"
)
#: Highest opset and IR version that the runtimes open, of a model with nothing but a Relu (the tests try them).
CPU_OPSET, CPU_IR = 28, 14
WEB_OPSET, WEB_IR = 26, 13
LOWEST = 7  # opset that ONNX Runtime promises at least, by the page of WebNN's operators


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    version = onnxruntime.__version__
    registry = f"the registry of kernels in the wheel of onnxruntime {version}"
    web = json.loads((WEB / "package.json").read_text())["version"]
    write(
        "onnxruntime-cpu", "onnxruntime, CPU", kernels(), otherwise="fails", sources=[registry], casts=HALF, expands=True,
        checked="opening ONNX's own test models", unknown="which attributes and shapes a kernel leaves out",
        opsets=(None, CPU_OPSET), ir=CPU_IR,
    )  # fmt: skip
    write(
        "ort-web-wasm", "ONNX Runtime Web, WASM", {}, like="onnxruntime-cpu", otherwise="fails", casts=HALF, expands=True,
        sources=[f"{registry}: the same kernels are built for WASM"], checked=f"opening models under node with {web}",
        unknown="which attributes and shapes a kernel leaves out", opsets=(None, WEB_OPSET), ir=WEB_IR,
        limits={"modelBytes": 2**31 - 1, "memoryBytes": 2**32},
    )  # fmt: skip
    for name, title in (("webgpu", "WebGPU"), ("webnn", "WebNN")):
        write(
            f"ort-web-{name}", f"ONNX Runtime Web, {title}", page(WEB / f"docs/{name}-operators.md", by_opset=name == "webnn"),
            otherwise="falls back to WASM", fallback="ort-web-wasm", opsets=(None, WEB_OPSET), ir=WEB_IR, expands=True,
            sources=[f"docs/{name}-operators.md of the npm package onnxruntime-web {web}"],
            unknown="element types; what the browser's own implementation leaves out" if name == "webnn" else "element types",
        )  # fmt: skip
    operators, sources = openvino()
    # src/op/conv.cpp of its frontend refuses an input whose rank is not known (seen with Silero's voice detector).
    operators["Conv"]["needs"] = ["ranked", *operators["Conv"].get("needs", ())]
    write(
        "openvino-cpu", "OpenVINO, CPU", operators, otherwise="fails", checked="compiling ONNX's own test models", sources=sources,
        unknown="forms of opsets before the tests' own, and element types that the tests have not",
    )  # fmt: skip
    vendors()
    litert()
    return 0


def vendors() -> None:
    """Execution providers of onnxruntime that this machine has not, by their tables."""
    behind: dict[str, Any] = {"otherwise": "falls back to the CPU", "fallback": "onnxruntime-cpu", "expands": True}
    write(
        "coreml", "onnxruntime, CoreML (ML Program)", table("coreml"), **behind, unknown="element types, sizes",
        sources=["microsoft/onnxruntime at 04f568d869ec: tools/ci_build/github/apple/coreml_supported_mlprogram_ops.md"],
    )  # fmt: skip
    write(
        "qnn", "onnxruntime, Qualcomm QNN", table("qnn"), **behind, fixed=True,
        unknown="element types, attributes, sizes; they differ between its processors (HTP, GPU, CPU)",
        sources=["onnxruntime/onnxruntime-qnn at 0131740f3180: docs/execution_providers/QNN-ExecutionProvider.md"],
    )  # fmt: skip
    write(
        "directml", "onnxruntime, DirectML", table("directml"), **behind,
        unknown="attributes, shapes, sizes; the version of DirectML that each form needs",
        sources=[f"microsoft/onnxruntime at 001d12d2623f: docs/OperatorKernels.md, DmlExecutionProvider ({READ})"],
    )  # fmt: skip
    write(
        "tensorrt-8.4", "TensorRT 8.4", table("tensorrt-8.4"), **behind, opsets=(None, 13),
        casts={"int64": "int32", "float64": "float32"}, unknown="sizes; what onnxruntime hands to it",
        sources=["onnx/onnx-tensorrt at 009d6541b4ee: docs/operators.md (TensorRT 8.4)"],
    )  # fmt: skip
    write(
        "tensorrt", "TensorRT 10.15", table("tensorrt"), **behind, opsets=(9, 24), casts={"float64": "float32"},
        unknown="sizes; what onnxruntime hands to it",
        sources=[f"onnx/onnx-tensorrt: docs/operators.md, the one for TensorRT 10.15 ({READ})"],
    )  # fmt: skip


def litert() -> None:
    """LiteRT on the processor, by what onnx2tf makes of ONNX's test models."""
    import ai_edge_litert

    import litert_targets as tflite

    models = tflite.tried()
    by = f"what {tflite.ONNX2TF} makes of ONNX's node tests"
    version = f"ai-edge-litert {ai_edge_litert.__version__}"
    common: dict[str, Any] = {
        "varying": "tried with fixed ones alone; the converter may write more operators for others", "folds": True,
    }  # fmt: skip
    cpu = tflite.operators(models, tflite.opens, {})
    for name in QDQ:
        cpu[name]["note"] = "the converter writes it as arithmetic in float32, and so what is between"
    write(
        "litert-cpu", "LiteRT, CPU", cpu, otherwise="fails", unknown=UNTRIED, **common,
        sources=[f"{by}, and of that what {version} opens"], checked="opening the converted models",
    )  # fmt: skip
    common |= {"otherwise": "falls back to LiteRT's other kernels", "fallback": "litert-cpu"}
    xnnpack = tflite.operators(models, tflite.by_xnnpack, {})
    for name in QDQ:
        xnnpack.pop(name, None)  # that arithmetic has parts for other kernels (CAST) in every type that models use
    write(
        "litert-xnnpack", "LiteRT, XNNPACK", xnnpack, unknown=UNTRIED, **common,
        sources=[f"{by}, and of that what XNNPACK in {version} takes"],
        checked="where the interpreter places the converted models",
    )  # fmt: skip
    delegates(models, by, common)


def delegates(models: Any, by: str, common: dict[str, Any]) -> None:
    """Delegates that are not here, by their lists of TFLite's operators."""
    import litert_targets as tflite

    readme = "7d88950ea445: tflite/delegates/{}/README.md"
    compatibility = "007226f498a6: tflite/tools/versioning/gpu_compatibility.cc"
    for name, title, place, known, limits in (
        ("gpu", "GPU delegate", compatibility, tflite.GPU, tflite.GPU_LIMITS),
        ("coreml", "Core ML delegate", readme.format("coreml"), tflite.COREML, tflite.COREML_LIMITS),
        ("hexagon", "Hexagon delegate", readme.format("hexagon"), tflite.HEXAGON, tflite.HEXAGON_LIMITS),
    ):
        quantized = name == "hexagon"
        # README.md of the GPU delegate: floating-point numbers of 16 and 32 bits; that of Core ML's says nothing of types.
        types = {"gpu": ("float32", "float16"), "coreml": ("float32",), "hexagon": ("int8", "uint8")}[name]
        found = tflite.operators(models, tflite.by_list(known), limits, types)
        for operator in QDQ:
            found.pop(operator, None)
        if quantized:
            # Tests of floating-point operators tell what becomes of them; the quantized ones become the same operators.
            found[QDQ[0]] = {"forms": [{"types": ["float32"]}]}
            found[QDQ[1]] = {"forms": [{"types": ["int32", *types]}]}
        for entry in found.values() if quantized else ():
            entry["needs"] = ["rank<=4", *entry.get("needs", ())]
        for entry in found.values() if name == "coreml" else ():
            entry["refuses"] = []
        file = "what makes a quantized TFLite file of it; " if quantized else ""
        sources = [f"google-ai-edge/LiteRT at {place} ({READ})", by]
        if name == "gpu":
            sources.insert(1, f"types: google-ai-edge/LiteRT at 736f8a13637e: tflite/delegates/gpu/README.md ({READ})")
        write(
            f"litert-{name}", f"LiteRT, {title}", found, quantized=quantized, **common,
            sources=sources, unknown=f"sizes; shapes that vary; {file}{UNTRIED}",
        )  # fmt: skip


def write(
    name: str, title: str, operators: dict[str, Any], sources: list[str], *, otherwise: str, unknown: str, checked: str = "",
    opsets: tuple[int | None, int | None] = (None, None), ir: int | None = None, fixed: bool = False, varying: str = "",
    limits: dict[str, int] | None = None, like: str = "", fallback: str | None = None, casts: dict[str, str] | None = None,
    expands: bool = False, folds: bool = False, quantized: bool = False,
) -> None:  # fmt: skip
    """One line for each operator, so that a new version shows what changed."""
    value = {
        "name": name, "title": title, "sources": sources, "checked": checked, "unknown": unknown, "otherwise": otherwise,
        "fallback": fallback, "like": like, "opsets": opsets, "irVersion": ir, "fixedShapes": fixed, "varying": varying,
        "casts": casts or {}, "expands": expands, "folds": folds, "quantized": quantized, "limits": limits or {},
    }  # fmt: skip
    path = FOLDER / f"{name}.json"
    head = json.dumps(value, indent=1)[:-2]
    rows = ",\n".join(f"  {json.dumps(key)}: {json.dumps(entry)}" for key, entry in sorted(operators.items()))
    path.write_text(f'{head},\n "operators": {{\n{rows}\n }}\n}}\n')
    print(f"{path.name}: {len(operators)} operators, {path.stat().st_size} bytes")


def kernels() -> dict[str, Any]:
    """Operator -> version ranges, each with its element types, of the CPU provider."""
    found: dict[str, dict[Any, set[tuple[int, int | None]]]] = defaultdict(lambda: defaultdict(set))
    merged: dict[tuple[str, tuple[int, int | None], Any], set[str]] = defaultdict(set)
    for kernel in native.get_all_opkernel_def():
        if kernel.provider != "CPUExecutionProvider" or kernel.domain not in DOMAINS:
            continue
        low, high = kernel.version_range
        key = f"{kernel.domain}:{kernel.op_name}" if kernel.domain else kernel.op_name
        first, others = kernel_types(kernel)
        merged[key, (low, None if high == OPEN else high), others] |= first
    for (key, span, others), first in merged.items():
        found[key][tuple(sorted(first)), others].add(span)
    operators: dict[str, Any] = {}
    for key, by in found.items():
        rows = [
            {
                "since": sorted(since, key=lambda span: span[0]), **({"types": list(types)} if types else {}),
                **({"others": {place: list(names) for place, names in others}} if others else {}),
            }
            for (types, others), since in by.items()
        ]  # fmt: skip
        operators[key] = {"forms": rows} | ({"needs": NEEDS[key]} if key in NEEDS else {})
    return operators


def kernel_types(kernel: Any) -> tuple[set[str], tuple[tuple[int, tuple[str, ...]], ...]]:
    """Element types of the first input; and place -> types for those whose type is free of it and narrower than ONNX allows."""
    allowed = {
        name: {NAMES.get(text[7:-1], text[7:-1]) for text in texts} for name, texts in kernel.type_constraints.items()
    }
    try:
        schema = defs.get_schema(kernel.op_name, kernel.version_range[0], kernel.domain)
    except defs.SchemaError:
        return allowed.get("T", set()), ()
    if not schema.inputs:
        return allowed.get("T", set()), ()
    first, others = schema.inputs[0].type_str, {}
    places = [*enumerate(schema.inputs), (-1, schema.outputs[0])] if schema.outputs else list(enumerate(schema.inputs))
    for place, value in places:
        names, said = allowed.get(value.type_str), {each.type_str for at, each in places if at in others}
        if place == 0 or not names or value.type_str == first or value.type_str in said:
            continue
        if value.option == defs.OpSchema.FormalParameterOption.Variadic:
            continue
        if len(names) < len({text for text in value.types if text.startswith("tensor(")}):
            others[place] = tuple(sorted(names))
    return allowed.get(first, set()), tuple(others.items())


def forms(spans: dict[tuple[int, int | None], list[str]]) -> list[dict[str, Any]]:
    """Versions with the same types together."""
    by: dict[tuple[str, ...], list[tuple[int, int | None]]] = defaultdict(list)
    for span, names in sorted(spans.items(), key=lambda item: item[0][0]):
        by[tuple(names)].append(span)
    return [{"since": since, **({"types": list(names)} if names else {})} for names, since in by.items()]


def page(path: Path, *, by_opset: bool) -> dict[str, Any]:
    """The table of operators in a page of onnxruntime-web.

    by_opset: its numbers are opsets (7, the lowest that is promised, stands for all before; ``13+`` for all later ones), and
    not the versions that kernels are registered for.
    """
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
            spans = [span(part) for part in ranges]
            if by_opset:
                spans = [(1 if low == LOWEST else low, WEB_OPSET if high is None else high) for low, high in spans]
            found[key] = {"forms": [{"since": spans}], **({"note": note} if note else {})}
    return found


def span(text: str) -> tuple[int, int | None]:
    low, dash, high = text.rstrip("+").partition("-")
    return int(low), None if text.endswith("+") else int(high if dash else low)


def table(name: str) -> dict[str, Any]:
    """target_tables/NAME.txt: a line for each operator, ``operator | version:types ... | needs | note``."""
    found: dict[str, Any] = {}
    for line in (TABLES / f"{name}.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        operator, kinds, needs, note, *_ = [*(cell.strip() for cell in line.split("|")), "", "", ""]
        spans: dict[tuple[int, int | None], list[str]] = {}
        for word in kinds.split():
            since, _, types = word.partition(":")
            spans[(0, None) if since == "*" else (int(since), None)] = sorted(named(types, LETTERS[name]))
        entry: dict[str, Any] = {"forms": forms(spans)}
        if (0, None) in spans:
            entry = {"forms": [{"types": spans[0, None]}]} if spans[0, None] else {}
        found[operator] = entry | ({"needs": needs.split("; ")} if needs else {}) | ({"note": note} if note else {})
    return found


def named(text: str, letters: dict[str, tuple[str, ...]]) -> set[str]:
    """``F,int8`` -> element types."""
    words = [word for word in text.split(",") if word]
    spelled = [word for word in words if any(each.islower() for each in word)]
    short = "".join(word for word in words if word not in spelled)
    return {name for letter in short for name in letters[letter]} | set(spelled)


def openvino() -> tuple[dict[str, Any], list[str]]:
    """What OpenVINO compiles of the test models, in the same way as for LiteRT."""
    import openvino as ov

    import litert_targets as trials

    core = ov.Core()

    def compiles(data: bytes) -> list[tuple[str, bool]] | None:
        try:
            core.compile_model(core.read_model(data), "CPU")
        except Exception:
            return None
        return []

    version = ov.__version__.split("-")[0]
    return trials.operators(trials.tried(compiles), trials.opens, {}), [
        f"what openvino {version} compiles of ONNX's node tests of opset {defs.onnx_opset_version()}, with inputs fed and stored"
    ]


if __name__ == "__main__":
    sys.exit(main())
