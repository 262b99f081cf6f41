"""`edgewise train`: options that cannot be, or that would say nothing of what is trained, are refused before anything is read."""

import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.train_data import FAST, bars, run, saved, signals


@pytest.fixture
def data(tmp_path: Path) -> Path:
    x, y = bars(48)
    return saved(tmp_path, x=x, y=y)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--head",), "--head is for an ONNX file"),
        (("--loss", "mse", "--decision", "y"), "--loss is for an ONNX file; --decision is for an ONNX file"),
        (("--before", "image:std=1"), "--before is for an ONNX file"),
        (("--size", "8x8"), "--size is for folders of files"),
        (("--length", 8), "--length is for folders of files"),
        (("--length", 0), "--length is at least 1, not 0"),
        (("--sample-rate", -5), "--sample-rate is in Hz and above 0"),
        (("--label-column", "label"), "--label-column is for a table"),
        (("--checkpoint-every", 2), "--checkpoint-every needs a --checkpoint FOLDER"),
        (("--seed", -1, "--seeds", 0), "--seeds is at least 1, not 0; --seed is at least 0, not -1"),
        (("--threads", -1), "--threads is at least 0"),
        (("--threads", 100_000), "--threads is at most 1024"),
        (("--memory", 0), "--memory is at least one byte"),
        (("--plot", "curve.jpg"), "it ends in .png"),
    ],
)  # fmt: skip
def test_what_would_say_nothing_is_refused(
    words: tuple[object, ...], said: str, data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, _, err = run(capsys, "cnn", "--train", data, "-o", tmp_path / "m.onnx", *FAST, *words)
    assert code == 1
    assert said in err
    assert not (tmp_path / "m.onnx").exists()


def test_the_data_is_never_the_output(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = data.read_bytes()
    code, _, err = run(capsys, "cnn", "--train", data, "-o", data, *FAST)
    assert code == 1
    assert "it ends in .onnx" in err
    assert data.read_bytes() == before


@pytest.mark.parametrize("option", ["--plot", "--checkpoint"])
def test_where_nothing_can_be_written_is_said_before_training(
    option: str, data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target = data / "curve.png" if option == "--plot" else data
    code, _, err = run(capsys, "cnn", "--train", data, "-o", tmp_path / "m.onnx", *FAST, option, target)
    assert code == 1
    assert "no folder that you may write into" in err
    assert "epoch" not in err


def test_an_infinite_budget_is_no_number_of_bytes(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(capsys, "cnn", "--train", data, "-o", "m.onnx", "--memory", "infMB")
    assert "no number of bytes" in capsys.readouterr().err


def test_a_share_beside_held_out_data_is_refused_even_when_it_is_0(
    data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, _, err = run(capsys, "cnn", "--train", data, "--eval", data, "--share", 0, "-o", tmp_path / "m.onnx", *FAST)
    assert code == 1
    assert "so does --share" in err


def test_labels_are_named_once_each(data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("good\ngood\n")
    words = ("--labels", tmp_path / "names.txt")
    code, _, err = run(capsys, "cnn", "--train", data, "-o", tmp_path / "m.onnx", *FAST, *words)
    assert code == 1
    assert "name 'good' twice" in err


def _clips(folder: Path) -> Path:
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for at in range(6):
            with wave.open(str(folder / name / f"{at}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(8000)
                file.writeframes(np.full(4000, at * 100, np.int16).tobytes())
    return folder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--sample-rate", 16000), "say 8000 themselves"),
        (("--size", "8x8"), "holds sound, and --size is for the other kind"),
        (("--set", "mels=many"), "mels is a whole number"),
        (("--set", "window=0"), "window is in seconds and above 0"),
        (("--length", 1_000_000_000), "takes more than the"),
    ],
)  # fmt: skip
def test_what_sound_says_itself_is_not_said_otherwise(
    words: tuple[object, ...], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, _, err = run(capsys, "cnn", "--train", _clips(tmp_path / "s"), "-o", tmp_path / "m.onnx", *FAST, *words)
    assert code == 1
    assert said in err


def test_a_rate_at_which_a_window_holds_nothing_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = saved(tmp_path, x=np.ones((20, 4000), np.float32), y=np.arange(20) % 2)
    code, _, err = run(capsys, "cnn", "--train", data, "--sample-rate", 1, "-o", tmp_path / "m.onnx", *FAST)
    assert code == 1
    assert "less than two samples at 1 Hz" in err


def test_pictures_larger_than_memory_are_refused_before_one_is_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / "p" / name).mkdir(parents=True)
        for at in range(4):
            Image.new("RGB", (8, 8)).save(tmp_path / "p" / name / f"{at}.png")
    words = ("--size", "100000x100000")
    code, _, err = run(capsys, "cnn", "--train", tmp_path / "p", "-o", tmp_path / "m.onnx", *FAST, *words)
    assert code == 1
    assert "takes more than the" in err
    code, _, err = run(capsys, "cnn", "--train", tmp_path / "p", "-o", tmp_path / "m.onnx", *FAST, "--length", 9)
    assert code == 1
    assert "holds pictures, and --length is for the other kind" in err


@pytest.mark.parametrize(("word", "said"), [("buckets=few", "buckets is a whole"), ("length=far", "length is a whole")])
def test_settings_of_texts_are_numbers(
    word: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text("text,label\n" + "one,a\ntwo,b\n" * 10)
    words = ("--set", word, "-o", tmp_path / "m.onnx")
    code, _, err = run(capsys, "gru", "--train", tmp_path / "t.csv", *words, *FAST)
    assert code == 1
    assert said in err


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_floats_of_other_widths_are_learnt_from(
    dtype: type, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    x, y = signals(40)
    code, _, _ = run(
        capsys, "cnn1d", "--train", saved(tmp_path, x=x.astype(dtype), y=y), "-o", tmp_path / "m.onnx", *FAST
    )
    assert code == 0


def test_checkpoints_are_of_the_held_out_samples_too(
    data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The best epoch so far was the best on other samples."""
    for name, seed in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        x, y = bars(20)
        saved(tmp_path / name, x=x ^ np.uint8(seed), y=y)
    words = ("--checkpoint", tmp_path / "kept", "-o", tmp_path / "m.onnx", *FAST)
    assert run(capsys, "cnn", "--train", data, "--eval", tmp_path / "one" / "data.npz", *words)[0] == 0
    code, _, err = run(capsys, "cnn", "--train", data, "--eval", tmp_path / "two" / "data.npz", *words)
    assert code == 1
    assert "another data set" in err
