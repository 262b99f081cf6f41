"""`edgewise compress` from the command line: what it writes, says and refuses."""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from edgewise.cli.main import main
from edgewise.digits import load_split, model_bytes
from edgewise.networks.registry import build
from edgewise.networks.text_bag import TextBagConfig

FEW = ("--epochs", "1", "--chains", "simplify > compact", "--chains", "int8-storage*")


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the model and the data, which is the current one."""
    for name, count in (("train", 300), ("eval", 497)):
        x, y = load_split(name)
        np.savez(tmp_path / f"{name}.npz", x=(x[:count, :, :, None] * 15).astype(np.uint8), y=y[:count])
    (tmp_path / "digits.onnx").write_bytes(model_bytes("fp32"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compress(*more: str, model: str = "digits.onnx") -> int:
    return main(["compress", model, "--train", "train.npz", "--eval", "eval.npz", *FEW, "-o", "out", *more])


def test_a_search_writes_models_that_answer_a_report_a_page_and_a_picture(
    digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compress() == 0
    told = capsys.readouterr()
    assert "held out" in told.out
    assert "rung 1/" in told.err
    report = json.loads((digits / "out" / "report.json").read_text())
    assert report["reached"]
    assert report["task"] == "classification"
    assert report["rows"][0]["name"] == "as it came"
    best = next(row for row in report["rows"] if row["name"] == report["chosen"]["best"])
    path = digits / "out" / report["files"]["best"]
    assert path.stat().st_size == best["bytes"]
    session = ort.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    with np.load("eval.npz") as data:
        answers = session.run(["logits"], {"image": data["x"]})[0]
        assert np.mean(answers.argmax(1) == data["y"]) == pytest.approx(best["heldOut"]["metric"]["value"])
    assert best["peakRssBytes"] > 10_000_000
    assert best["heldOut"]["passes"]
    assert (digits / "out" / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert "<!doctype html>" in (digits / "out" / "report.html").read_text()


def test_an_impossible_budget_is_said_to_be_one_with_the_nearest_and_the_table(
    digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compress("--max-size", "100") == 1
    out = capsys.readouterr().out
    assert "not reachable; nearest is " in out
    assert "as it came" in out
    assert [path.name for path in (digits / "out").glob("*.onnx")] == ["original.onnx"]
    # The measurements are there; another budget costs none of them again.
    before = (digits / "out" / "search" / "journal.jsonl").read_bytes()
    assert compress("--max-size", "1MB", "--resume", "--json") == 0
    assert json.loads(capsys.readouterr().out)["chosen"]
    assert (digits / "out" / "search" / "journal.jsonl").read_bytes().startswith(before)
    assert list((digits / "out").glob("best.onnx"))


def test_a_folder_with_a_search_is_gone_on_with_only_where_that_is_said(
    digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compress() == 0
    assert compress() == 1
    assert "--resume" in capsys.readouterr().err
    assert compress("--resume", "--seed", "1") == 1
    assert "learning data, comparing data, seed differ" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (("--max-drop", "-1"), "--max-drop is not negative"), (("--workers", "0"), "--workers"), (("--minutes", "0"), "--minutes"),
        (("--max-latency-ratio", "0"), "--max-latency-ratio"), (("--decision", "boxes"), "no output 'boxes'"),
    ],
)  # fmt: skip
def test_what_is_amiss_is_said_before_anything_is_searched(
    digits: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], word: str
) -> None:
    assert compress(*more) == 1
    assert word in capsys.readouterr().err
    assert not (digits / "out").exists()


def test_chains_are_chosen_by_name(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["digits.onnx", "--train", "train.npz", "--eval", "eval.npz", "-o", "out", "--chains", "magic*"]
    assert main(["compress", *arguments]) == 1
    assert "no chain is called magic*" in capsys.readouterr().err


def test_classes_that_the_model_does_not_tell_apart_are_refused(
    digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train", "eval"):
        x, y = load_split(name)
        np.savez(
            f"{name}.npz", x=(x[:300, :, :, None] * 15).astype(np.uint8), y=np.where(np.arange(300) < 30, 10, y[:300])
        )
    assert compress() == 1
    assert "the data has the class 10, and logits tells 10 classes apart" in capsys.readouterr().err


def test_a_model_of_two_inputs_is_refused_by_name(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = build("text-bag", TextBagConfig(weighted=True), 0)
    Path("bag.onnx").write_bytes(bag.SerializeToString())
    assert compress(model="bag.onnx") == 1
    assert f"inputs {bag.graph.input[0].name}, {bag.graph.input[1].name}" in capsys.readouterr().err


def test_texts_go_in_as_the_file_beside_the_model_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    places = ("lamp", "door", "oven", "fan", "radio", "heater", "window", "gate", "pump", "bell")
    actions = {"start": "on", "open": "on", "begin": "on", "stop": "off", "close": "off", "end": "off"}
    rows = [f"{place} {action} please,{label}" for action, label in actions.items() for place in places]
    Path("said.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    settings = ["--set", "buckets=256", "--set", "length=48", "--set", "width=16", "--set", "hidden=16"]
    assert main(["train", "text-bag", "--train", "said.csv", "-o", "said.onnx", "--epochs", "8", *settings]) == 0
    capsys.readouterr()
    chains = ["--chains", "int8 > compact", "--chains", "int8-storage > compact"]
    arguments = [
        "said.onnx",
        "--train",
        "said.csv",
        "-o",
        "out",
        "--json",
        "--max-latency-ratio",
        "20",
        "--max-drop",
        "50",
    ]
    assert main(["compress", *arguments, *chains]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["name"]: row["failed"] for row in rows} == {"as it came": "", **dict.fromkeys(chains[1::2], "")}
    Path("said.text.json").unlink()
    assert main(["compress", *arguments, *chains]) == 1
    assert "said.text.json" in capsys.readouterr().err


def test_what_the_target_lacks_is_no_candidate(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["digits.onnx", "--train", "train.npz", "--eval", "eval.npz", "-o", "out", "--json"]
    chains = ["--chains", "int8 > compact", "--chains", "simplify > compact"]
    assert main(["compress", *arguments, *chains, "--target", "coreml"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["int8 > compact"]["failed"].startswith("coreml: ")
    assert not rows["simplify > compact"]["failed"]
    assert main(["compress", *arguments, "--target", "abacus"]) == 1
    assert "abacus" in capsys.readouterr().err
    assert main(["compress", *arguments, "--target", "qnn"]) == 1
    assert (
        "the model does not open on qnn, and nothing here changes that: dimensions that vary" in capsys.readouterr().err
    )


def test_what_a_search_chose_is_packed_with_how_it_was_made(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compress() == 0
    report = json.loads((digits / "out" / "report.json").read_text())
    assert main(["pack", "out", "--name", "digits", "--version", "1", "--unsigned", "-o", "digits.bundle"]) == 0
    capsys.readouterr()
    assert main(["inspect", "digits.bundle", "--json"]) == 0
    original, best = json.loads(capsys.readouterr().out)["document"]["variants"][:2]
    assert "derivation" not in original
    made, row = best["derivation"], next(row for row in report["rows"] if row["name"] == report["chosen"]["best"])
    assert made["source"] == original["files"][0]["digest"]
    assert made["steps"] == row["did"]
    assert best["files"][0]["digest"] == row["model"]
    assert [use["samples"] for use in made["data"]] == [225, 75, 497]
    assert made["judged"]["dropPoints"] == row["heldOut"]["dropPoints"]
    assert main(["inspect", "digits.bundle"]) == 0
    told = capsys.readouterr().out
    assert "best: from original, by edgewise" in told
    assert "  passed: accuracy" in told
    # What is joined behind while it is packed is the last step.
    arguments = ["--name", "digits", "--version", "2", "--unsigned", "--after", "softmax", "-o", "odds.bundle"]
    assert main(["pack", "out", *arguments]) == 0
    capsys.readouterr()
    assert main(["inspect", "odds.bundle", "--json"]) == 0
    second = json.loads(capsys.readouterr().out)["document"]["variants"][1]
    assert second["derivation"]["steps"][-1] == "softmax joined behind"
    (digits / "out" / "best.onnx").write_bytes(model_bytes("int8"))
    assert main(["pack", "out", "--name", "digits", "--version", "3", "--unsigned", "-o", "stale.bundle"]) == 1
    assert "is not the model that report.json speaks of" in capsys.readouterr().err
