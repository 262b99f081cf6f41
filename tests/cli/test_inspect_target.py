"""`edgewise inspect --target`: what of a model a runtime has."""

import json
from pathlib import Path

import pytest

from edgewise.cli.main import main
from edgewise.digits import model_bytes


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "d.onnx").write_bytes(model_bytes("fp32"))
    return str(tmp_path / "d.onnx")


def test_a_file_that_fits_ends_with_zero_and_one_that_does_not_with_one(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", model, "--target", "onnxruntime-cpu"]) == 0
    assert "nodes run there" in capsys.readouterr().out
    assert main(["inspect", model, "--target", "qnn", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)["d.onnx"]
    assert told["runs"] is False
    assert "dimensions that vary" in told["problems"][0]
    assert told["sources"]


def test_each_variant_of_a_bundle_is_looked_at(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "i.onnx").write_bytes(model_bytes("int8"))
    bundle = str(tmp_path / "d.bundle")
    packed = ["pack", model, str(tmp_path / "i.onnx"), "--name", "d", "--version", "1.0.0", "--unsigned", "-o", bundle]
    assert main([*packed, "--golden-count", "0"]) == 0
    capsys.readouterr()
    assert main(["inspect", bundle, "--target", "ort-web-wasm", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"fp32", "int8"}


def test_targets_are_listed_with_their_sources_and_unknown_ones_refused(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", "--target", "list", "--json"]) == 0
    assert all(entry["sources"] for entry in json.loads(capsys.readouterr().out))
    assert main(["inspect", model, "--target", "abacus"]) == 1
    assert "There are: coreml" in capsys.readouterr().err
    assert main(["inspect"]) == 1
    assert "no bundle is named" in capsys.readouterr().err


def test_what_a_source_does_not_say_is_told_as_not_known(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", model, "--target", "directml"]) == 0
    assert "not known: attributes, shapes" in capsys.readouterr().out
    assert main(["inspect", model, "--target", "litert-xnnpack"]) == 0
    assert "dimensions that vary: pixels (batch, 1, 8, 8): tried with fixed ones alone" in capsys.readouterr().out


def test_a_tflite_file_is_refused_with_what_to_do_instead(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.tflite").write_bytes(b"x")
    assert main(["inspect", str(tmp_path / "m.tflite"), "--target", "litert-cpu"]) == 1
    told = capsys.readouterr().err
    assert "targets are checked for ONNX" in told
    assert "fix: `edgewise import`" in told
