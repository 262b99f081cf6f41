"""`edgewise calibrate` for models that do not classify: what has to be told of them, and what a node then watches by."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgewise
from edgewise.cli.main import main
from edgewise.compose.nodes import find_calibration
from edgewise.importing.onnx_file import onnx_from_bytes
from edgewise.measure.dataset import Dataset
from edgewise.packing.pack import PackRequest, pack
from edgewise.store.bundles import open_path, write_file
from edgewise.store.home import Home
from edgewise.trust.keys import PrivateKey

WEIGHTS = np.random.default_rng(0).normal(size=(4, 1)).astype(np.float32)


def line(apart: float) -> bytes:
    """A linear model whose weights are so far from the truth."""
    off = apart * np.array([[1], [-1], [1], [-1]], np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["y"])], "line",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1])], [numpy_helper.from_array(WEIGHTS + off, "w")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


@pytest.fixture(scope="module")
def samples() -> Any:
    chance = np.random.default_rng(1)
    return (chance.normal(size=(1500, 4)) * chance.uniform(0, 1.5, size=(1500, 1))).astype(np.float32)


@pytest.fixture
def data(samples: Any, tmp_path: Path) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, x=samples)
    return path


def bundle_of(task: str, apart: float, samples: Any, key: PrivateKey, folder: Path) -> Path:
    golden = Dataset(samples[:40], np.zeros(40, np.float32), None, (), "golden")
    models = {"fp32": onnx_from_bytes("line.onnx", line(apart))}
    path = folder / f"{task}-{apart}.bundle"
    write_file(pack(PackRequest("line", "1", models, task=task, golden=golden), key).bundle, path)
    return path


@pytest.mark.parametrize(
    ("task", "told", "missing"),
    [("regression", ("--tolerance", 0.4), "tolerance"), ("anomaly", ("--cut", 1.0), "cut")],
)
def test_a_task_is_calibrated_by_what_it_has_to_be_told(
    task: str, told: tuple[str, float], missing: str, samples: Any, data: Path, signing_key: PrivateKey, trusting_home: Home,
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    small, big = (bundle_of(task, apart, samples, signing_key, tmp_path) for apart in (0.2, 0.01))
    key = tmp_path / "key"
    key.write_bytes(signing_key.to_pem())
    key.chmod(0o600)
    out = tmp_path / "out.bundle"
    base = ["calibrate", small, "--data", data, "--upstream", big, "--epsilon", 5, "--key", key, "-o", out]
    assert main(list(map(str, base))) == 1
    assert missing in capsys.readouterr().err
    assert main(list(map(str, [*base, *told]))) == 0
    calibration = find_calibration(open_path(out), None, "")
    assert calibration.threshold is not None
    assert 0 < calibration.offload < 1
    assert calibration.lost <= 0.05
    assert calibration.extra["details"] == {told[0].removeprefix("--"): told[1]}
    capsys.readouterr()
    with edgewise.load(out, upstream=big) as node:
        assert node.guard is not None, "whether two answers differ can be told in use, too"
        answer = node.predict(samples)
        assert abs(np.mean(answer.deferred) - calibration.offload) < 0.05


def test_a_threshold_cannot_be_learnt_where_nobody_can_tell_two_answers_apart(
    samples: Any, signing_key: PrivateKey, trusting_home: Home, tmp_path: Path
) -> None:
    path = bundle_of("anomaly", 0.2, samples, signing_key, tmp_path)
    with pytest.raises(edgewise.EdgewiseError, match="is missing"):
        edgewise.load(path, upstream=path, learn=1.0)


def test_samples_of_one_origin_count_once(
    samples: Any, signing_key: PrivateKey, trusting_home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small, big = (bundle_of("regression", apart, samples, signing_key, tmp_path) for apart in (0.2, 0.01))
    key, data, out = tmp_path / "key", tmp_path / "grouped.npz", tmp_path / "out.bundle"
    key.write_bytes(signing_key.to_pem())
    key.chmod(0o600)
    np.savez(data, x=samples, group=np.arange(len(samples)) // 3)
    base = [
        "calibrate",
        small,
        "--data",
        data,
        "--upstream",
        big,
        "--epsilon",
        10,
        "--tolerance",
        0.4,
        "--key",
        key,
        "-o",
        out,
    ]
    assert main([*map(str, base), "--against", "agreement", "--block"]) == 0
    assert "blocks" in capsys.readouterr().out
    calibration = find_calibration(open_path(out), None, "")
    assert calibration.test in ("hoeffding-bentkus", "betting")
    assert calibration.data["blocks"] == 400, "a fifth of 500 origins chooses"
    np.savez(data, x=samples)
    assert main([*map(str, base), "--block"]) == 1
    assert "group" in capsys.readouterr().err
