"""Profiles say what really runs, where this machine can tell; and a check names node, operator and reason."""

import json
import os
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import onnxruntime as ort
import pytest
from onnx import ModelProto, helper

from edgewise.compress.targets.check import Fit, check_target_fit
from edgewise.compress.targets.profile import Entry, find_profile, profiles
from edgewise.digits import model_bytes
from edgewise.errors import NotFoundError
from edgewise.graph.inspect import read_model

WEB = Path(__file__).resolve().parent.parent.parent / "web"
#: Element types that ONNX's tests have and hardly anybody's model.
RARE = {"float8", "float4", "bfloat16", "int4", "uint4", "int2", "uint2"}


@cache
def node_tests() -> dict[str, ModelProto]:
    """ONNX's own test models of one node in its own domain."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    return {
        case.name: case.model for case in cases
        if len(case.model.graph.node) == 1 and not case.model.graph.node[0].domain
        and not any(kind in case.name.lower() for kind in RARE)
    }  # fmt: skip


def one_of_each() -> Iterator[tuple[str, ModelProto]]:
    seen = set()
    for name, model in node_tests().items():
        if (operator := model.graph.node[0].op_type) not in seen:
            seen.add(operator)
            yield name, model


def opens(model: ModelProto) -> bool:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:
        return False
    return True


def state(fit: Fit) -> str:
    return fit.nodes[0].state if fit.nodes else "runs"


def test_the_profile_of_the_cpu_says_what_onnxruntime_opens() -> None:
    """What it says runs, opens; what it says is missing, does not. Types of a second input are not looked at."""
    profile = find_profile("onnxruntime-cpu")
    wrong = []
    for name, model in node_tests().items():
        said = state(check_target_fit(model, profile))
        if said != "limited" and (said == "runs") != opens(model):
            wrong.append(name)
    assert len(node_tests()) > 1000
    assert not [name for name in wrong if "strnormalizer" not in name and "pow_types" not in name]


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
        # An operator that OpenVINO has not may be defined by others; the check says that much.
        if said != "limited" and (said == "runs") != done:
            wrong.append(name)
    assert wrong == []


def test_the_profile_of_the_web_says_what_opens_under_node(tmp_path: Path) -> None:
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
    said = {}
    profile = find_profile("ort-web-wasm")
    for name, model in one_of_each():
        if model.opset_import[0].version <= 24:  # what the pinned runtime knows
            (tmp_path / f"{name}.onnx").write_bytes(model.SerializeToString())
            said[f"{name}.onnx"] = state(check_target_fit(model, profile))
    done = subprocess.run(
        ["node", "open_models.mjs", str(tmp_path)], cwd=WEB, capture_output=True, check=True, timeout=120
    )
    found = json.loads(done.stdout)
    assert len(found) > 100
    wrong = [name for name, error in found.items() if said[name] != "limited" and (said[name] == "runs") != (not error)]
    assert wrong == []


@pytest.mark.parametrize("name", profiles())
def test_every_profile_is_read_and_names_its_sources(name: str) -> None:
    profile = find_profile(name)
    assert profile.sources
    assert profile.otherwise == "fails" or profile.otherwise.startswith("falls back to")
    for operator in ("Conv", "Relu", "Softmax", "Gemm"):
        assert operator in profile.operators


def test_a_kernel_is_not_for_versions_that_it_did_not_know() -> None:
    entry = Entry(((7, 12), (13, None)))
    assert [entry.has(version) for version in (6, 7, 9, 12, 13, 14)] == [False, True, True, True, True, False]
    assert Entry().has(99)


def test_what_is_missing_is_named_with_its_reason() -> None:
    nodes = [helper.make_node("Mish", ["x"], ["a"], "odd"), helper.make_node("Det", ["a"], ["y"], "rare")]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, ["n", 3, 3])], [helper.make_tensor_value_info("y", 1, ["n"])]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    fit = check_target_fit(model, find_profile("qnn"))
    assert [(node.node, node.operator) for node in fit.missing] == [("rare", "Det")]
    assert "no such operator" in fit.missing[0].why
    assert "taken apart" in fit.nodes[0].why
    assert fit.problems == ("dimensions that vary: x (n, 3, 3)",)
    assert not fit.runs
    assert check_target_fit(model, find_profile("coreml")).runs, "what is missing falls back"
    with pytest.raises(NotFoundError, match="there is no target"):
        find_profile("abacus")


def test_opset_and_size_are_held_against_the_target() -> None:
    model = read_model(model_bytes("fp32"))
    model.opset_import[0].version = 17
    assert "opset 13 at most" in check_target_fit(model, find_profile("tensorrt")).problems[0]
    assert check_target_fit(model, find_profile("onnxruntime-cpu")).runs
    assert check_target_fit(model, find_profile("ort-web-webgpu")).missing == ()
