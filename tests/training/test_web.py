"""A training step is an ordinary graph: ONNX Runtime Web, which browsers load, takes it as it is and learns the same."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("onnx")

from onnx import ModelProto

from edgewise.bundle.safetensors import dump_arrays
from edgewise.graph.walk import is_default_domain, nodes
from edgewise.networks.registry import build
from edgewise.training.losses.registry import CrossEntropy
from edgewise.training.rewrites.batch_norm import train_batch_norm
from edgewise.training.rewrites.dropout import SEED, train_dropout
from edgewise.training.rewrites.freezing import choose_trainable
from edgewise.training.run.step_file import TrainingStep
from edgewise.training.run.stepper import Stepper
from edgewise.training.step.build import build_step
from edgewise.training.step.optimizers import SGD, Adam, AdamW, Optimizer

WEB = Path(__file__).resolve().parent.parent / "web"
NODE = shutil.which("node")
STEPS, SAMPLES, CLASSES = 20, 16, 10
CLOSE = 1e-4  # of a loss

Array = npt.NDArray[np.generic]
See = Callable[[npt.NDArray[np.int64], np.random.Generator], Array]


def patterns(*shape: int) -> See:
    """Every class has one, under noise: something that can be learnt in a few steps."""
    known = np.random.default_rng(7).normal(size=(CLASSES, *shape))
    return lambda labels, rng: (known[labels] + 0.3 * rng.normal(size=(len(labels), *shape))).astype(np.float32)


def histories(labels: npt.NDArray[np.int64], rng: np.random.Generator) -> Array:
    """Every class has its own part of the catalogue; the end of a row is padding."""
    items = 40 * labels[:, None] + rng.integers(1, 40, (len(labels), 12))
    return np.where(np.arange(12) < rng.integers(3, 13, (len(labels), 1)), items, 0)


# Together: convolutions, batch norm, seeded dropout, GRU and its Scan, attention, layer norm, rows of a table.
# The rate of ds-cnn is low on purpose. Batch norm over few samples multiplies rounding: at 0.02 the native runtime's own losses
# differ by 1e-4 after 20 steps where the first weights differ in their last bit; at 0.003 by 5e-6.
CASES: Mapping[str, tuple[Optimizer, See]] = {
    "ds-cnn": (SGD(0.003, momentum=0.9), patterns(1, 49, 10)),
    "gru": (Adam(2e-3), patterns(49, 10)),
    "encoder": (AdamW(1e-3), patterns(49, 10)),
    "two-tower": (Adam(1e-2), histories),
}


@cache
def step_of(name: str, block: int = 0) -> TrainingStep:
    inference = build(name, seed=3)
    chosen, parameters = choose_trainable(inference)
    norms = train_batch_norm(train_dropout(chosen))
    return build_step(
        norms.model, CrossEntropy(), CASES[name][0], parameters, buffers=norms.buffers, inference=inference,
        batch=SAMPLES if block else None, block=block,
    )  # fmt: skip


def batches(name: str) -> list[dict[str, Array]]:
    """For every step its batch, and its seed where the network has dropout."""
    spec, rng, found = step_of(name).spec, np.random.default_rng(1), []
    (data,) = [value.name for value in spec.inputs if value.name != SEED]
    seeded = SEED in {entry.name for entry in (*spec.inputs, *spec.scalars)}
    for number in range(STEPS):
        labels = rng.integers(0, CLASSES, SAMPLES)
        batch = {data: CASES[name][1](labels, rng), "target": labels}
        found.append(batch | ({SEED: np.array(number)} if seeded else {}))
    return found


def native(name: str) -> list[float]:
    step = step_of(name)
    stepper, taken = Stepper(step, threads=1), {value.name for value in step.spec.batch}
    return [
        stepper.step(
            {key: array for key, array in batch.items() if key in taken},
            {key: array.item() for key, array in batch.items() if key not in taken},
        ).loss
        for batch in batches(name)
    ]


@dataclass(frozen=True, slots=True)
class WebRun:
    """What ONNX Runtime Web made of one step."""

    losses: list[float]
    norms: list[float]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, WebRun]:
    missing = [
        what
        for what, there in (("node", NODE), ("onnxruntime-web", (WEB / "node_modules" / "onnxruntime-web").is_dir()))
        if not there
    ]
    if missing:
        reason = f"{' and '.join(missing)} not installed (apt-get install nodejs npm; bash scripts/install_web.sh)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    folders = {name: tmp_path_factory.mktemp(name) for name in CASES}
    for name, folder in folders.items():
        step_of(name).write(folder)
        (folder / "batches").mkdir()
        for number, batch in enumerate(batches(name)):
            (folder / "batches" / f"{number:03}.safetensors").write_bytes(dump_arrays(batch))
    command = [NODE or "", str(WEB / "run_steps.mjs"), *map(str, folders.values())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return {
        name: WebRun(found["losses"], found["gradNorms"])
        for name, found in zip(folders, json.loads(done.stdout), strict=True)
    }


@pytest.mark.parametrize("name", CASES)
def test_the_web_runtime_learns_as_the_native_one(name: str, web: Mapping[str, WebRun]) -> None:
    expected = native(name)
    assert np.mean(expected[-5:]) < np.mean(expected[:5]), "a step that learns nothing would compare nothing"
    np.testing.assert_allclose(web[name].losses, expected, rtol=0, atol=CLOSE)
    assert min(web[name].norms) > 0


def foreign(step: bytes) -> set[str]:
    """Operators that are not ONNX's own, in bodies of loops and in functions too; and domains that are only named."""
    model = ModelProto.FromString(step)
    used = {f"{node.domain}.{node.op_type}" for node in nodes(model) if not is_default_domain(node.domain)}
    return used | {entry.domain for entry in model.opset_import if not is_default_domain(entry.domain)}


@pytest.mark.parametrize("name", CASES)
def test_a_step_in_the_plain_layout_has_operators_of_the_standard_alone(name: str) -> None:
    assert foreign(step_of(name).step) == set()
    assert foreign(step_of(name).forward) == set()


def test_a_step_in_the_blocked_layout_is_not_portable() -> None:
    """The test above can fail."""
    assert "com.microsoft.nchwc.Conv" in foreign(step_of("ds-cnn", block=16).step)
