"""`edgewise train`: no option is passed over in silence, and every path that will be written can be."""

from pathlib import Path

import numpy as np
import pytest
from tests.cli.train_data import FAST, bars, run, saved, signals


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--loss", "mse", "--head", "--decision", "y"], "cnn is built anew, and --loss, --head, --decision is for an ONNX file"),
        (["--before", "image"], "--before is for an ONNX file"),
        (["--checkpoint-every", "5"], "--checkpoint-every needs --checkpoint FOLDER"),
        (["--threads", "0", "--memory", "-5MB"], "--threads is 1 to 256; --memory is above 0"),
        (["--length", "0", "--sample-rate", "-8"], "--length is at least 1; --sample-rate is above 0"),
        (["--seed", "-1", "--seeds", "0"], "--seeds is at least 1, not 0; --seed is at least 0, not -1"),
        (["--recompute", "0", "--lora", "-1"], "--lora is at least 0, not -1; --recompute is at least 1, not 0"),
        (["--size", "8x8", "--label-column", "z"], "--size, --label-column changes nothing for"),
        (["--length", "8"], "--length changes nothing for"),
        (["--sample-rate", "8000"], "--sample-rate is for sound, and these samples are image data"),
        (["--set", "mels=20"], "--set mels changes nothing for image data"),
        (["--set", "buckets=20"], "--set buckets changes nothing for image data"),
        (["--eval", "data.npz", "--share", "0"], "--eval says what is held out, and so does --share"),
    ],
)  # fmt: skip
def test_what_would_have_no_effect_is_refused(
    more: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    x, y = bars(24)
    data = saved(tmp_path, x=x, y=y)
    more = [str(data) if part == "data.npz" else part for part in more]
    code, _, err = run(capsys, "cnn", "--train", data, "-o", tmp_path / "m.onnx", *FAST, *more)
    assert code == 1
    assert words in err
    assert list(tmp_path.glob("m.*")) == []


def test_a_public_set_says_what_it_is_itself(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    more = ("--size", "8x8", "--labels", tmp_path / "labels.txt")
    code, _, err = run(capsys, "cnn", "--train", "digits", "-o", tmp_path / "m.onnx", *FAST, *more)
    assert code == 1
    assert "--size, --labels changes nothing for the set digits" in err


def test_a_number_of_bytes_is_finite(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(capsys, "cnn", "--train", "x", "-o", "y", "--memory", "infMB")
    assert "'infMB' is no number of bytes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["-o", "data.npz"], "data.npz is read, and would be written over"),
        (["-o", "names.onnx", "--labels", "names.labels.txt"], "names.labels.txt is read, and would be written over"),
        (["-o", "m.onnx", "--plot", "m.onnx"], "would be written over the model or what lies beside it"),
        (["-o", "m.onnx", "--plot", "folder"], "folder is a folder"),
        (["-o", "folder.onnx"], "folder.labels.txt is a folder"),
        (["-o", "m.onnx", "--checkpoint", "data.npz"], "cannot be written"),
        (["-o", "m.tflite"], "m.tflite is no name of an ONNX file"),
        (["-o", "m.onnx", "--plot", "curve.jpg"], "curve.jpg is no name of a picture"),
    ],
)
def test_no_hours_are_lost_on_a_path(
    more: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x, y = signals(24)
    saved(tmp_path, x=x, y=y)
    before = Path("data.npz").read_bytes()
    Path("names.labels.txt").write_text("a\nb\n")
    Path("folder").mkdir()
    Path("folder.labels.txt").mkdir()
    code, _, err = run(capsys, "cnn1d", "--train", "data.npz", *FAST, *more)
    assert code == 1
    assert words in err
    assert Path("data.npz").read_bytes() == before
    assert not Path("m.onnx").exists()


def test_classes_are_named_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    x, y = signals(24)
    (tmp_path / "names.txt").write_text("walk\nwalk\n")
    data, names = saved(tmp_path, x=x, y=np.asarray(y)), tmp_path / "names.txt"
    code, _, err = run(capsys, "cnn1d", "--train", data, "--labels", names, "-o", tmp_path / "m.onnx", *FAST)
    assert code == 1
    assert "walk more than once" in err
    names.write_text("\n")
    code, _, err = run(capsys, "cnn1d", "--train", data, "--labels", names, "-o", tmp_path / "m.onnx", *FAST)
    assert code == 1
    assert "name no class" in err
