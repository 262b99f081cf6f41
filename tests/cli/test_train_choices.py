"""`edgewise train`: what is asked wrongly is said and nothing is written; a run that is stopped loses nothing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.cli.train_data import FAST, answers, bars, run, saved, signals

# ------------------------------------------------------------------------------------------------- choices


def test_several_seeds_keep_the_median(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x, y = signals()
    code, text, _ = run(
        capsys, "cnn1d", "--train", saved(tmp_path, x=x, y=y), "-o", tmp_path / "m.onnx", *FAST, "--batch", 16,
        "--seeds", 3, "--json",
    )  # fmt: skip
    told = json.loads(text)
    assert code == 0
    assert sorted(one["metric"]["value"] for one in told["runs"])[1] == told["metric"]["value"]


def test_a_group_is_held_out_by_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x, y = signals(60)
    data = saved(tmp_path, x=x, y=y, group=np.repeat(["ann", "ben", "cyd"], 20))
    command = ("cnn1d", "--train", data, "-o", tmp_path / "m.onnx", *FAST, "--batch", 16)
    code, text, _ = run(capsys, *command, "--hold-out", "ben", "--json")
    assert code == 0
    assert json.loads(text)["evaluationSamples"] == 20
    code, _, err = run(capsys, *command, "--hold-out", "eve")
    assert code == 1
    assert "ann, ben, cyd" in err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--freeze", "nothing*"], "no stored values match 'nothing*'"),
        (["--only", "stage9*"], "no weights match 'stage9*'"),
        (["--set", "widths"], "a value is needed"),
        (["--set", "colour=3"], "cnn has no setting colour"),
        (["--augment", "flip,twirl"], "'twirl' is unknown"),
        (["--schedule", "sometimes"], "there is no schedule"),
        (["--optimizer", "magic"], "the optimizer is adamw"),
        (["--epochs", "0", "--lr", "-1"], "epochs are at least 1, not 0; the learning rate is above 0, not -1.0"),
        (["--eval", "data.npz", "--by-group"], "says what is held out"),
        (["--memory", "1MB"], "MiB are allowed"),
    ],
)
def test_what_is_asked_wrongly_is_named(
    more: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    x, y = bars(40)
    data = saved(tmp_path, x=x, y=y)
    more = [str(data) if part == "data.npz" else part for part in more]
    fast = [] if "--epochs" in more else ["--epochs", "1"]
    code, _, err = run(capsys, "cnn", "--train", data, "-o", tmp_path / "m.onnx", "--threads", 1, *fast, *more)
    assert code in (1, 4)
    assert words in err
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: {"x": np.where(np.arange(len(x))[:, None, None] == 7, np.nan, x), "y": y}, "row 7"),
        (lambda x, y: {"x": x, "y": np.where(np.arange(len(y)) == 5, -3, y)}, "row 5"),
        (lambda x, y: {"x": x, "y": np.where(y == 1, 2, y)}, "class 1 is empty"),
        (lambda x, y: {"x": x, "y": y[:-1]}, "x has 40 samples, y has 39"),
        (lambda x, y: {"x": x}, "no array y"),
        (lambda x, y: {"x": x, "y": y * 0.5}, "classes are whole numbers"),
        (lambda x, y: {"x": x[:, :, :, None, None], "y": y}, "takes sequences"),
    ],
)
def test_bad_data_is_named_and_nothing_is_written(
    change: object, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    x, y = signals(40)
    data = saved(tmp_path, **change(x, y))  # type: ignore[operator]
    code, _, err = run(capsys, "cnn1d", "--train", data, "-o", tmp_path / "m.onnx", *FAST)
    assert code == 1
    assert words in err
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["data.npz"]


def test_what_is_neither_a_network_nor_a_file_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x, y = bars(20)
    data = saved(tmp_path, x=x, y=y)
    code, _, err = run(capsys, "resnet9000", "--train", data, "-o", tmp_path / "m.onnx")
    assert code == 1
    assert "neither a network nor an ONNX file" in err
    code, _, err = run(capsys, "cnn", "--train", tmp_path / "nowhere.npz", "-o", tmp_path / "m.onnx")
    assert code == 1
    assert "nowhere.npz" in err
    (tmp_path / "broken.npz").write_bytes(b"PK nothing")
    code, _, err = run(capsys, "cnn", "--train", tmp_path / "broken.npz", "-o", tmp_path / "m.onnx")
    assert code == 1
    assert "broken.npz" in err


# -------------------------------------------------------------------------------- processes that are stopped


def started(data: Path, out: Path, *more: str) -> "subprocess.Popen[str]":
    command = [
        sys.executable, "-m", "edgewise.cli", "train", "cnn1d", "--train", str(data), "-o", str(out), "--threads", "1",
        "--batch", "8", "--epochs", "60", *more,
    ]  # fmt: skip
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ),
        preexec_fn=as_in_a_terminal,  # noqa: PLW1509  (no other thread is at work here)
    )  # fmt: skip


def as_in_a_terminal() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def until(process: "subprocess.Popen[str]", words: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    raise AssertionError(f"it ended before {words}")


def test_ctrl_c_leaves_a_usable_model(tmp_path: Path) -> None:
    x, y = signals(400)
    out = tmp_path / "m.onnx"
    process = started(saved(tmp_path, x=x, y=y), out, "--epochs", "5000")
    until(process, "epoch 3/")
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the best weights so far" in text
    assert answers(out, x=x[:2])["logits"].shape == (2, 2)


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """The same command again: the bytes of a run that nobody killed, for the rest of the price."""
    x, y = signals(400)
    data = saved(tmp_path, x=x, y=y)
    process = started(data, tmp_path / "m.onnx", "--checkpoint", str(tmp_path / "kept"))
    until(process, "epoch 9/")
    process.kill()
    process.communicate()
    assert not (tmp_path / "m.onnx").exists()
    again = started(data, tmp_path / "m.onnx", "--checkpoint", str(tmp_path / "kept"))
    _, told = again.communicate(timeout=120)
    assert again.returncode == 0, told
    assert "epoch 2/" not in told
    assert "epoch 60/" in told
    whole = started(data, tmp_path / "whole.onnx")
    whole.communicate(timeout=120)
    assert (tmp_path / "m.onnx").read_bytes() == (tmp_path / "whole.onnx").read_bytes()


def test_what_diverges_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Numbers out of range show first in the answers on what is held out; that is no fault of a file."""
    x, y = signals(24)
    command = ("cnn1d", "--train", saved(tmp_path, x=x, y=y), *FAST, "--batch", 8)
    assert run(capsys, *command, "-o", tmp_path / "m.onnx")[0] == 0
    code, _, err = run(
        capsys, tmp_path / "m.onnx", *command[1:], "-o", tmp_path / "n.onnx", "--lr", 1e30, "--schedule", "constant"
    )
    assert code == 1
    assert "error[E110]" in err
    assert "the weights from before the training were put back" in err
    assert "Lower the learning rate" in err


def test_a_checkpoint_is_of_its_evaluation_and_its_augmentation(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The best epoch was chosen on the one and learnt with the other."""
    x, y = signals(24)
    data, other = saved(tmp_path, x=x, y=y), tmp_path / "other.npz"
    np.savez(other, x=x[::-1] + 1, y=y[::-1])
    command = (
        "cnn1d",
        "--train",
        data,
        "-o",
        tmp_path / "m.onnx",
        *FAST,
        "--batch",
        8,
        "--checkpoint",
        tmp_path / "kept",
    )
    assert run(capsys, *command, "--eval", data)[0] == 0
    code, _, err = run(capsys, *command, "--eval", other)
    assert code == 1
    assert "made with another evaluation data" in err
    code, _, err = run(capsys, *command, "--eval", data, "--augment", "none")
    assert code == 1
    assert "made with another preprocessing or augmentation" in err
    assert run(capsys, *command, "--eval", data)[0] == 0


def test_ctrl_c_before_the_first_epoch_writes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of a few batches are not the best so far, and must not replace a model that is there."""
    x, y = signals(24)
    out = tmp_path / "m.onnx"
    out.write_bytes(b"the one before")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgewise.cli.train._Bar.step", interrupt)
    code, _, err = run(capsys, "cnn1d", "--train", saved(tmp_path, x=x, y=y), "-o", out, *FAST, "--batch", 8)
    assert code == 130
    assert "stopped before the first epoch had ended: nothing is written" in err
    assert out.read_bytes() == b"the one before"
