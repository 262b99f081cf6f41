"""`edgewise compress --upstream`: which of the models found costs least beside somebody who is asked."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgewise.cli.main import main
from edgewise.digits import load_split, model_bytes


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    for name, count in (("train", 300), ("eval", 400)):
        x, y = load_split(name)
        np.savez(tmp_path / f"{name}.npz", x=(x[:count, :, :, None] * 15).astype(np.uint8), y=y[:count])
    (tmp_path / "digits.onnx").write_bytes(model_bytes("fp32"))
    monkeypatch.chdir(tmp_path)
    return load_split("eval")[1][:400]


def compress(*more: str) -> int:
    words = ("--train", "train.npz", "--eval", "eval.npz", "--chains", "int8 > compact", "--epsilon", "2", "-o", "out")
    return main(["compress", "digits.onnx", *words, *more])


def test_the_report_says_which_result_costs_least_at_a_threshold_of_its_own(
    digits: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("said.npz", said=digits, name="people")
    assert compress("--upstream", "said.npz") == 0
    told = capsys.readouterr().out
    found = json.loads(Path("out/report.json").read_text())["deferring"]
    assert found["epsilon"] == 0.02
    each = {candidate["name"]: candidate for candidate in found["candidates"]}
    assert each.keys() == {"as it came", "int8 > compact"}
    assert each["as it came"]["threshold"] != each["int8 > compact"]["threshold"]
    assert found["chosen"] in each
    assert f"Beside people, its answers from said.npz, {found['chosen']} costs least" in told
    assert "no promise yet" in Path("out/report.html").read_text()


def test_an_upstream_that_does_not_fit_is_told_before_the_search(
    digits: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("few.npz", said=digits[:9])
    assert compress("--upstream", "few.npz") == 1
    assert "9 answers, and there are 400 samples" in capsys.readouterr().err
    assert not Path("out/report.json").exists()


def test_too_few_samples_cost_no_search(digits: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("said.npz", said=digits)
    assert compress("--upstream", "said.npz", "--epsilon", "0.1") == 0
    assert "No threshold beside" in capsys.readouterr().out
    assert "too few" in json.loads(Path("out/report.json").read_text())["deferring"]["failed"]
