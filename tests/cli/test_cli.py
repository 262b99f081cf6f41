"""The command line: results on stdout, words on stderr, exit codes that scripts can act on."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgewise.cli.main import COMMANDS, build_parser, main
from edgewise.compose.demo import digits_data
from edgewise.digits import model_bytes
from edgewise.store.home import Home

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples" / "digits"
WORDS = dict(
    zip(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"], "0123456789", strict=True)
)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    build_parser()
    for name in COMMANDS:
        with pytest.raises(SystemExit) as stopped:
            main([name, "--help"])
        assert stopped.value.code == 0
        assert f"edgewise {name}" in capsys.readouterr().out


def test_wrong_usage_exits_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["unknown"], [], ["pack"], ["eval", "x.bundle"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
    capsys.readouterr()


def test_run_answers_image_files(capsys: pytest.CaptureFixture[str], digits_bundle: Path, trusting_home: Home) -> None:
    images = sorted(EXAMPLES.glob("*.png"))
    code, out, _ = run(capsys, "run", digits_bundle, *images, "--json")
    answers = json.loads(out)
    assert code == 0
    assert [answer["label"] for answer in answers] == [WORDS[path.stem.split("-")[0]] for path in images]
    code, out, _ = run(capsys, "run", digits_bundle, images[0])
    assert images[0].name in out
    assert "answered on this device by" in out


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"not an image", "broken.png", "cannot be read"),
        (b"1,2,x\n", "table.csv", "not a table of numbers"),
        (b"hello", "notes.txt", "no image, wav"),
        (b"{", "x.json", "not JSON"),
    ],
    ids=["image", "csv", "kind", "json"],
)
def test_a_file_that_cannot_be_used_exits_with_one_and_says_why(
    capsys: pytest.CaptureFixture[str],
    digits_bundle: Path,
    trusting_home: Home,
    tmp_path: Path,
    content: bytes,
    name: str,
    words: str,
) -> None:
    (tmp_path / name).write_bytes(content)
    code, out, err = run(capsys, "run", digits_bundle, tmp_path / name)
    assert code == 1
    assert words in err
    assert "fix: " in err
    assert not out


def test_missing_things_exit_with_one_and_json_carries_the_error(
    capsys: pytest.CaptureFixture[str], digits_bundle: Path, trusting_home: Home
) -> None:
    code, out, err = run(capsys, "run", digits_bundle, "nowhere.png", "--json")
    assert code == 1
    (told,) = json.loads(out)
    assert (told["input"], told["error"]["code"]) == ("nowhere.png", "E102")
    assert "error[E102]" in err
    assert run(capsys, "run", "no-such-bundle", EXAMPLES / "seven.png")[0] == 1


def test_refusals_exit_with_four(
    capsys: pytest.CaptureFixture[str], digits_bundle: Path, trusting_home: Home, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.bundle"
    data = bytearray(digits_bundle.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    code, _, err = run(capsys, "verify", damaged)
    assert code == 4
    assert "digest-mismatch" in err
    trusting_home.trust_root.unlink()
    code, _, err = run(capsys, "run", digits_bundle, EXAMPLES / "seven.png")
    assert code == 4
    assert "edgewise key new" in err


def test_verify_with_replay_lists_every_check(
    capsys: pytest.CaptureFixture[str], digits_bundle: Path, trusting_home: Home
) -> None:
    code, out, _ = run(capsys, "verify", digits_bundle, "--replay", "--json")
    result = json.loads(out)
    assert code == 0
    assert result["passed"]
    names = [check["what"] for check in result["checks"]]
    assert "release signature" in names
    assert any(name.startswith("replay int8") for name in names)
    assert run(capsys, "verify", digits_bundle, "--replay")[0] == 0


def test_inspect_shows_tables_and_the_same_as_json(
    capsys: pytest.CaptureFixture[str], digits_bundle: Path, trusting_home: Home
) -> None:
    code, out, _ = run(capsys, "inspect", digits_bundle)
    assert code == 0
    for words in (
        "Interface",
        "Variants",
        "Receipts",
        "Golden set",
        "trusted: released by tests",
        "accuracy",
        "probabilities",
    ):
        assert words in out
    value = json.loads(run(capsys, "inspect", digits_bundle, "--json")[1])
    assert value["trusted"]
    assert {receipt["variant"] for receipt in value["receipts"]} == {"fp32", "int8"}
    trusting_home.trust_root.unlink()
    assert "NOT TRUSTED" in run(capsys, "inspect", digits_bundle)[1]


def test_eval_measures_here_beside_the_receipts(
    capsys: pytest.CaptureFixture[str], digits_bundle: Path, trusting_home: Home, tmp_path: Path
) -> None:
    data = digits_data("eval")
    np.savez(tmp_path / "eval.npz", x=data.x, y=data.y)
    code, out, _ = run(
        capsys, "eval", digits_bundle, "--data", tmp_path / "eval.npz", "--require", "engine=onnxruntime", "--json"
    )
    results = json.loads(out)["results"]
    assert code == 0
    for item in results:
        assert item["metrics"][0]["value"] == pytest.approx(item["receipt"]["metrics"][0]["value"], abs=0.005)
        assert item["peakRssBytes"] > 20e6
    assert len(results) == 2


def test_receipts_of_another_device_are_added_without_breaking_the_release(
    capsys: pytest.CaptureFixture[str], digits_bundle: Path, trusting_home: Home, tmp_path: Path
) -> None:
    run(capsys, "key", "new")
    data = digits_data("calibration")
    np.savez(tmp_path / "data.npz", x=data.x, y=data.y)
    more = tmp_path / "more.bundle"
    arguments = ("--require", "engine=onnxruntime", "--receipts", more)
    assert run(capsys, "eval", digits_bundle, "--data", tmp_path / "data.npz", *arguments)[0] == 0
    code, out, _ = run(capsys, "verify", more, "--json")
    assert code == 0
    assert sum("added after the release" in check["details"] for check in json.loads(out)["checks"]) == 2


def test_key_new_never_overwrites_and_keeps_the_private_key_private(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "mine.key"
    code, out, _ = run(capsys, "key", "new", "-o", path, "--json")
    assert code == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in out
    assert run(capsys, "key", "new", "-o", path)[0] == 1
    assert json.loads(out)["keyId"] in run(capsys, "key", "list")[1]
    code, _, err = run(capsys, "key", "trust", path)
    assert code == 1
    assert "PUBLIC KEY" in err


def test_pack_from_files_to_answer(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from edgewise.digits import load_split

    for name in ("fp32", "int8"):
        (tmp_path / f"{name}.onnx").write_bytes(model_bytes(name))
    x, y = load_split("eval")
    np.savez(tmp_path / "eval.npz", x=(x[:, None] / 16).astype(np.float32), y=y)
    run(capsys, "key", "new")
    target = tmp_path / "mine.bundle"
    arguments = [
        "--name",
        "mine",
        "--version",
        "2.0.0",
        "--task",
        "classification",
        "--eval",
        tmp_path / "eval.npz",
        "--range",
        "0,1",
    ]
    code, out, err = run(
        capsys, "pack", tmp_path / "fp32.onnx", tmp_path / "int8.onnx", *arguments, "-o", target, "--install"
    )
    assert code == 0, err
    assert "accuracy" in out
    np.save(tmp_path / "one.npy", (x[:1, None] / 16).astype(np.float32))
    code, out, _ = run(capsys, "run", "mine", tmp_path / "one.npy", "--json")
    assert json.loads(out)[0]["index"] == [int(y[0])]
    np.save(tmp_path / "bad.npy", (x[:1, None]).astype(np.float32))
    code, _, err = run(capsys, "run", "mine", tmp_path / "bad.npy")
    assert code == 1
    assert "0..1" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.onnx"], "no model at"),
        (["{tmp}/text.onnx"], "text.onnx"),
        (["{tmp}/fp32.onnx", "{tmp}/fp32.onnx"], "two variants"),
        (["{tmp}/fp32.onnx", "--set", "nothing=1"], "nothing"),
        (["{tmp}/fp32.onnx", "--labels", "{tmp}/none.txt"], "label file"),
        (["{tmp}/fp32.onnx", "--name", "Not A Name"], "name"),
    ],
    ids=["missing", "no-model", "twice", "constant", "labels", "name"],
)
def test_packing_what_cannot_be_packed_exits_with_one_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "fp32.onnx").write_bytes(model_bytes("fp32"))
    (tmp_path / "text.onnx").write_text("this is not a model")
    run(capsys, "key", "new")
    filled = [argument.format(tmp=tmp_path) for argument in arguments]
    named = [] if "--name" in filled else ["--name", "x"]
    code, _, err = run(capsys, "pack", *filled, *named, "--version", "1", "-o", tmp_path / "out.bundle")
    assert code == 1
    assert words in err
    assert not (tmp_path / "out.bundle").exists()


def test_packing_without_a_key_says_how_to_get_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "fp32.onnx").write_bytes(model_bytes("fp32"))
    code, _, err = run(
        capsys, "pack", tmp_path / "fp32.onnx", "--name", "x", "--version", "1", "-o", tmp_path / "x.bundle"
    )
    assert code == 1
    assert "edgewise key new" in err


def test_doctor_finds_nothing_broken_here(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "doctor", "--json")
    findings = {finding["what"]: finding for finding in json.loads(out)}
    assert code == 0
    assert findings["telemetry of onnxruntime"]["details"] == "off"
    assert findings["onnxruntime wheels"]["state"] == "ok"
    assert "CPUExecutionProvider" in findings["engine onnxruntime"]["details"]
    assert "nothing to mend" in run(capsys, "doctor")[1]


def test_inspect_says_what_a_model_learns_by(capsys: pytest.CaptureFixture[str], spec: Path) -> None:
    code, out, _ = run(capsys, "inspect", spec / "vectors" / "training" / "learner.bundle")
    assert code == 0
    assert "Learning on the device" in out
    assert "51 in 4 tensors  cross-entropy  adam" in out
    assert "for each example of a batch" in out
