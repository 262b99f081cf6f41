"""The networks that the compression benchmark starts from: trained here by `edgewise train`, once, and kept beside the project."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgewise.compose.data_sets import data_set_folder
from edgewise.measure.npz import load_npz

FOLDER = Path(__file__).resolve().parent.parent / ".cache" / "benchmarks" / "compression"
_KEYWORDS = "model_kws_dscnn"


@dataclass(frozen=True)
class Task:
    """network: what `edgewise train` trains on the public set ``name``; empty for the MLPerf keyword model, which comes trained.

    augment, epochs, chains: of `edgewise compress`; no augmentation and no chains for what it does by itself. halved_epochs: of
    pruning to half of the multiply-adds. goals: more options of the search.
    """

    name: str
    network: str
    augment: str
    epochs: int
    chains: tuple[str, ...]
    halved_epochs: int
    goals: tuple[str, ...] = ()

    @property
    def search(self) -> tuple[str, ...]:
        """Options of `edgewise compress`."""
        augment = ("--augment", self.augment) if self.augment else ()
        return (
            *augment,
            "--epochs",
            str(self.epochs),
            *(word for chain in self.chains for word in ("--chains", chain)),
        )

    @property
    def folder(self) -> Path:
        return FOLDER / self.name

    @property
    def model(self) -> Path:
        return self.folder / "reference.onnx"

    @property
    def data(self) -> tuple[str, ...]:
        """The options that name its data."""
        if self.network:
            return ("--train", self.name)
        return ("--train", str(self.folder / "train.npz"), "--eval", str(self.folder / "eval.npz"))


def prepare(task: Task) -> None:
    """Have the model (and the data, where it is not public under its name) in the task's folder."""
    task.folder.mkdir(parents=True, exist_ok=True)
    if task.model.exists():
        return
    if task.network:
        command = ["train", task.network, "--train", task.name, "--threads", "1", "-o", str(task.model)]
        edgewise(command)
        return
    folder = data_set_folder(_KEYWORDS, lambda what, done, total: None)
    arrays = load_npz(folder / "kws01_accuracy_set_1000.npz")
    x = ((arrays["x_int8"].astype(np.float32) - arrays["zero_point"]) * arrays["scale"]).astype(np.float32)
    y = arrays["y"].astype(np.int64)
    order = np.random.default_rng(0).permutation(len(x))
    for name, rows in (("train", order[:300]), ("eval", order[300:])):
        np.savez(task.folder / f"{name}.npz", x=x[rows], y=y[rows])
    task.model.write_bytes((folder / "kws_ds_cnn_fp32.onnx").read_bytes())


def edgewise(arguments: Sequence[str]) -> str:
    """Standard output of a command of ours. Exit code 1 says that goals were missed."""
    done = subprocess.run(
        [sys.executable, "-m", "edgewise.cli", *arguments], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode not in {0, 1} or not done.stdout:
        raise SystemExit(f"edgewise {' '.join(arguments)} ended with {done.returncode}")
    return done.stdout
