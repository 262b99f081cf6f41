"""`edgewise diff A B`: two forms of a model side by side, from files and from a bundle."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgewise.cli.main import main
from edgewise.compress.graph.compact import compacted
from edgewise.digits import load_split, model_bytes


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    for form in ("fp32", "int8"):
        (tmp_path / f"{form}.onnx").write_bytes(model_bytes(form))
    x, y = load_split("eval")
    np.savez(tmp_path / "eval.npz", x=(x[:, None] / 16).astype(np.float32), y=y)
    return tmp_path / "fp32.onnx", tmp_path / "int8.onnx", tmp_path / "eval.npz"


def test_two_files_are_compared_on_data(
    files: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, data = map(str, files)
    assert main(["diff", first, second, "--data", data, "--samples", "100", "--html", str(tmp_path / "d.html")]) == 0
    shown = capsys.readouterr().out
    for words in ("fp32.onnx", "int8.onnx", "points, p", "decisions that differ", "Conv", "conv6"):
        assert words in shown
    assert (tmp_path / "d.html").read_text().startswith("<!doctype html>")
    assert main(["diff", first, second, "--data", data, "--samples", "100", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["samples"] == 100
    assert told["decisions"]["accuracy"][0] > 0.9


def test_without_data_inputs_are_made_up_and_nothing_is_said_of_accuracy(
    files: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", str(files[0]), str(files[0]), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["worstDifference"] == 0
    assert told["decisions"]["accuracy"] is None
    assert told["decisions"]["flips"] == []


def test_bytes_are_those_of_the_files(
    files: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # No shapes are stored here, and reading a model infers them.
    small = tmp_path / "small.onnx"
    small.write_bytes(compacted(onnx.load(str(files[0]))).SerializeToString())
    assert main(["diff", str(files[0]), str(small), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    for side, path in (("first", files[0]), ("second", small)):
        assert told[side]["bytes"] == path.stat().st_size
        assert sum(share["bytes"] for share in told[side]["sizes"]) == path.stat().st_size


def test_variants_of_a_bundle_are_named_behind_a_colon(
    files: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = str(tmp_path / "d.bundle")
    packed = [
        "pack",
        str(files[0]),
        str(files[1]),
        "--name",
        "digits",
        "--version",
        "1.0.0",
        "--unsigned",
        "-o",
        bundle,
    ]
    assert main([*packed, "--task", "classification", "--golden-count", "0"]) == 0
    capsys.readouterr()
    assert main(["diff", f"{bundle}:fp32", f"{bundle}:int8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["second"]["name"] == "digits:int8"
    assert main(["diff", bundle, f"{bundle}:int8"]) == 1
    assert "there are fp32, int8" in capsys.readouterr().err


def test_what_cannot_be_compared_is_said(files: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(files[0]), "nothing.onnx"]) == 1
    assert "nothing.onnx" in capsys.readouterr().err
    assert main(["diff", str(files[0]), str(files[1]), "--samples", "0"]) == 1
    assert main(["diff", str(files[0]), str(files[1]), "--output", "nothing"]) == 1
    assert "logits" in capsys.readouterr().err
