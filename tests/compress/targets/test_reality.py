"""Profiles say what really runs, where this machine can tell: right and wrong opset, type, shape and attribute."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest
from onnx import ModelProto, TensorProto, helper
from tests.compress.targets.node_models import node_tests, one_of_each, opens, variants

from edgewise.compress.targets.check import Fit, check_target_fit
from edgewise.compress.targets.profile import find_profile

WEB = Path(__file__).resolve().parent.parent.parent / "web"
LITERT = Path(__file__).resolve().parent / "litert_models.tar.xz"
#: Text needs a locale that is not everywhere; "linear" and "cubic" are no modes of GridSample in opset 16.
EXCEPTED = ("strnormalizer", "gridsample")


def state(fit: Fit) -> str:
    return fit.nodes[0].state if fit.nodes else "runs"


def wrongly_told(models: Iterable[tuple[str, ModelProto]]) -> tuple[list[str], int]:
    """Names of what is said to open and does not, or the other way; and how many were tried."""
    profile, wrong, count = find_profile("onnxruntime-cpu"), [], 0
    for name, model in models:
        count += 1
        if (state(check_target_fit(model, profile)) != "missing") != opens(model):
            wrong.append(name)
    return [name for name in wrong if not any(word in name for word in EXCEPTED)], count


def test_the_profile_of_the_cpu_says_of_other_opsets_and_types_what_onnxruntime_opens() -> None:
    """One model of each operator, in every older form and in six more types."""
    wrong, count = wrongly_told(variant for name, model in one_of_each() for variant in variants(name, model))
    assert count > 500
    assert wrong == []


@pytest.mark.long
def test_the_profile_of_the_cpu_says_what_onnxruntime_opens() -> None:
    wrong, count = wrongly_told(node_tests().items())
    assert count > 1000
    assert wrong == []
    wrong, count = wrongly_told(variant for name, model in node_tests().items() for variant in variants(name, model))
    assert count > 2000
    assert wrong == []


def of_versions(opset: int, ir_version: int) -> ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def test_the_cpu_opens_opsets_and_ir_versions_up_to_those_of_its_profile() -> None:
    profile = find_profile("onnxruntime-cpu")
    (_, opset), ir_version = profile.opsets, profile.ir_version
    assert opset is not None
    assert ir_version is not None
    for model in (
        of_versions(opset, ir_version),
        of_versions(opset + 1, ir_version),
        of_versions(opset, ir_version + 1),
    ):
        assert check_target_fit(model, profile).runs == opens(model)


@pytest.mark.long
def test_the_profile_of_openvino_says_what_it_compiles() -> None:
    ov = pytest.importorskip("openvino")
    core, profile, wrong = ov.Core(), find_profile("openvino-cpu"), []
    for name, model in one_of_each():
        said = state(check_target_fit(model, profile))
        try:
            core.compile_model(core.read_model(model.SerializeToString()), "CPU")
            done = True
        except Exception:
            done = False
        if said != "limited" and (said == "runs") != done:
            wrong.append(name)
    assert wrong == []


def opened_under_node(folder: Path) -> dict[str, str]:
    missing = [
        what
        for what, there in (
            ("node", shutil.which("node")),
            ("onnxruntime-web", (WEB / "node_modules/onnxruntime-web").is_dir()),
        )
        if not there
    ]
    if missing:
        assert "CI" not in os.environ, f"{' and '.join(missing)} not installed; `make web` installs it"
        pytest.skip(f"{' and '.join(missing)} not installed: make web")
    done = subprocess.run(
        ["node", "open_models.mjs", str(folder)], cwd=WEB, capture_output=True, check=True, timeout=120
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_the_profile_of_the_web_says_what_opens_under_node(tmp_path: Path) -> None:
    profile = find_profile("ort-web-wasm")
    (_, opset), ir_version = profile.opsets, profile.ir_version
    assert opset is not None
    assert ir_version is not None
    models = dict(one_of_each())
    models |= dict(
        variant for name, model in one_of_each() for variant in variants(name, model) if "DOUBLE" in variant[0]
    )
    models |= {
        f"opset {number} ir {ir}": of_versions(number, ir)
        for number in (opset, opset + 1)
        for ir in (ir_version, ir_version + 1)
    }
    said = {}
    for name, model in models.items():
        (tmp_path / f"{name}.onnx").write_bytes(model.SerializeToString())
        fit = check_target_fit(model, profile)
        said[f"{name}.onnx"] = fit.runs
    found = opened_under_node(tmp_path)
    assert len(found) > 200
    wrong = [name for name, error in found.items() if said[name] != (not error)]
    assert [name for name in wrong if not any(word in name for word in EXCEPTED)] == []


@cache
def litert_models() -> dict[str, bytes]:
    """NAME.onnx, and NAME.tflite where a converter made one of it (scripts/convert_for_litert.py)."""
    with tarfile.open(LITERT) as archive:
        return {member.name: file.read() for member in archive if (file := archive.extractfile(member)) is not None}


def placed(names: list[str], folder: Path) -> dict[str, list[tuple[str, bool]] | None]:
    """Name -> TFLite's operators with whether XNNPACK took them; None where it does not open.

    Some end the process: another goes on behind them.
    """
    files, found = litert_models(), {}
    for name in names:
        (folder / f"{name}.tflite").write_bytes(files[f"{name}.tflite"])
    left = list(names)
    while left:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("place_litert.py")), str(folder)], check=False,
            input="\n".join(left), text=True, capture_output=True, timeout=120,
        )  # fmt: skip
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        for line in lines:
            found |= line
        found |= dict.fromkeys(left[len(lines) : len(lines) + 1])
        left = left[len(lines) + 1 :]
    return found


def test_the_profiles_of_litert_say_what_it_opens_and_what_xnnpack_takes(tmp_path: Path) -> None:
    """Of what was converted: what is said to run is taken whole, what is said to be missing is not."""
    pytest.importorskip("ai_edge_litert")
    files = litert_models()
    names = sorted(name.removesuffix(".tflite") for name in files if name.endswith(".tflite"))[::2]
    found = placed(names, tmp_path)
    wrong = []
    for name in names:
        model, places = ModelProto.FromString(files[f"{name}.onnx"]), found[name]
        if model.graph.node[0].op_type in ("Constant", "QuantizeLinear", "DequantizeLinear") or not model.graph.input:
            continue
        for target, done in (
            ("litert-cpu", places is not None),
            ("litert-xnnpack", places is not None and all(took for _, took in places)),
        ):
            said = state(check_target_fit(model, find_profile(target)))
            if said != "limited" and (said == "runs") != done:
                wrong.append((target, name, said))
    assert len(names) > 700
    assert wrong == []
