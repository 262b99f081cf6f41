"""A run that was killed at any instant goes on to the same bits."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

from tests.training.hand_steps import blobs, mlp_step

from edgewise.errors import CheckpointError
from edgewise.training.run.checkpoint import CheckpointFolder, Saved

SCRIPT = Path(__file__).with_name("train_process.py")
IDENTITY = {"training step": "a", "set of settings": "b", "data set": "c"}
BATCHES = 6 * 8 + 6  # lines of a whole run: each batch, each epoch


def saved(number: int) -> Saved:
    return Saved(IDENTITY, {"n": number}, {"w": np.full((2, 3), number, np.float32), "n": np.array(number, np.int64)})


class Runs:
    """Runs of one training, in processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        mlp_step(dropout=True, accumulates=3).write(folder / "step")
        x, y = blobs(128)
        held_x, held_y = blobs(64, seed=1)
        np.savez(folder / "data.npz", x=x, y=y, held_x=held_x, held_y=held_y)
        self.want = self.finish("whole")

    def start(self, name: str) -> "subprocess.Popen[str]":
        folder = self.folder
        paths = [folder / "step", folder / "data.npz", folder / name, folder / f"{name}.npz"]
        return subprocess.Popen([sys.executable, SCRIPT, *map(str, paths)], stdout=subprocess.PIPE, text=True)

    def finish(self, name: str) -> dict[str, np.ndarray]:
        with self.start(name) as process:
            lines = process.stdout.read().count("batch")  # type: ignore[union-attr]
        assert process.returncode == 0
        self.lines = lines
        with np.load(self.folder / f"{name}.npz") as arrays:
            return dict(arrays)

    def kill(self, name: str, after: int, delay: float = 0.0) -> None:
        """Kill a run after so many lines, and a moment."""
        process = self.start(name)
        with process:
            for _ in range(after):
                process.stdout.readline()  # type: ignore[union-attr]
            try:
                process.wait(delay)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            process.stdout.read()  # type: ignore[union-attr]

    def compare(self, name: str) -> None:
        found = self.finish(name)
        assert found.keys() == self.want.keys()
        for key, value in found.items():
            np.testing.assert_array_equal(value, self.want[key], err_msg=key)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("instants", [(1,), (13, 8), (41, 12)], ids=str)
def test_a_killed_run_ends_with_the_bits_of_one_that_was_not(runs: Runs, instants: tuple[int, ...]) -> None:
    name = f"killed-{instants}"
    for after in instants:
        runs.kill(name, after)
    runs.compare(name)
    assert runs.lines < BATCHES or instants == (1,), "it went on, and did not begin anew"


@pytest.mark.long
def test_fifty_kills_at_random_instants_change_no_bit(runs: Runs) -> None:
    rng = np.random.default_rng(0)
    for repeat in range(50):
        name = f"long-{repeat}"
        runs.kill(name, int(rng.integers(0, BATCHES)), float(rng.uniform(0, 0.01)))
        runs.compare(name)


def test_the_newest_whole_checkpoint_counts(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "c")
    assert folder.read(IDENTITY) is None
    for number in range(1, 6):
        folder.write(saved(number))
        found = CheckpointFolder(tmp_path / "c").read(IDENTITY)
        assert found is not None
        assert found.facts == {"n": number}
        np.testing.assert_array_equal(found.arrays["w"], saved(number).arrays["w"])
        assert found.arrays["n"].shape == ()
    assert len(list((tmp_path / "c").iterdir())) == 2


@pytest.mark.parametrize("fault", ["cut", "bit", "empty", "head"])
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(tmp_path: Path, fault: str) -> None:
    folder = CheckpointFolder(tmp_path)
    for number in (1, 2, 3):
        folder.write(saved(number))
    newest = tmp_path / "checkpoint-1"
    data = bytearray(newest.read_bytes())
    if fault == "bit":
        data[-1] ^= 1
    elif fault == "head":
        data[0] ^= 1
    newest.write_bytes(data[: {"cut": 100, "empty": 0}.get(fault, len(data))])
    again = CheckpointFolder(tmp_path)
    found = again.read(IDENTITY)
    assert found is not None
    assert found.facts == {"n": 2}
    again.write(saved(7))
    assert newest.read_bytes() != data, "the damaged one is replaced, not the whole one"
    reread = CheckpointFolder(tmp_path).read(IDENTITY)
    assert reread is not None
    assert reread.facts == {"n": 7}


def test_damage_everywhere_is_an_error_and_not_a_new_beginning(tmp_path: Path) -> None:
    CheckpointFolder(tmp_path).write(saved(1))
    (tmp_path / "checkpoint-1").write_bytes(b"edgewise checkpoint 1 ")
    with pytest.raises(CheckpointError, match=r"every checkpoint in .* is damaged: checkpoint-1"):
        CheckpointFolder(tmp_path).read(IDENTITY)


@pytest.mark.parametrize("name", list(IDENTITY))
def test_a_checkpoint_of_something_else_is_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    CheckpointFolder(tmp_path).write(saved(1))
    with pytest.raises(CheckpointError, match=f"made with another {name}") as caught:
        CheckpointFolder(tmp_path).read({**IDENTITY, name: "other"})
    assert caught.value.details["differs"] == [name]


def test_what_a_killed_process_left_half_written_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint-0.x7f3").write_bytes(b"half")
    assert CheckpointFolder(tmp_path).read(IDENTITY) is None
    assert not list(tmp_path.iterdir())
