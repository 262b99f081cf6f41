"""Six networks learn as torch recorded that they learn; torch itself is not needed here."""

import json
from math import sqrt

import numpy as np
import pytest

pytest.importorskip("onnx")

from onnx import ModelProto
from tests.training.torch_record import PATH, RATES, SAMPLES, SEEDS, labels, rate_of

from edgewise.networks.inputs import ImageInput, SequenceInput
from edgewise.networks.parameters import parameters
from edgewise.networks.recommender import TwoTowerConfig
from edgewise.networks.recurrent import GruConfig
from edgewise.networks.registry import build
from edgewise.networks.residual import ResNetConfig
from edgewise.networks.separable import DsCnnConfig, MobileNetConfig
from edgewise.networks.transformer import EncoderConfig
from edgewise.training.losses.registry import CrossEntropy
from edgewise.training.rewrites.batch_norm import train_batch_norm
from edgewise.training.run.stepper import Stepper
from edgewise.training.step.build import build_step
from edgewise.training.step.optimizers import SGD, Adam
from edgewise.training.step.processor import block_size

RECORD = json.loads(PATH.read_text())
CONFIGS = {
    "ds-cnn": DsCnnConfig(), "mobilenet": MobileNetConfig(ImageInput(96, 96, 3)),
    "resnet8": ResNetConfig(ImageInput(32, 32, 3)), "gru": GruConfig(SequenceInput(49, 10), classes=12, hidden=64),
    "encoder": EncoderConfig(SequenceInput(49, 10), classes=12),
    "two-tower": TwoTowerConfig(items=2000, length=20, hidden=(64,)),
}  # fmt: skip


def batch(name: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(SEEDS.get(name, 0))
    config = CONFIGS[name]
    if isinstance(config, TwoTowerConfig):
        ids = rng.integers(1, config.items + 1, (SAMPLES, 20))
        kept = rng.integers(1, 21, (SAMPLES, 1))
        return {"history": np.where(np.arange(20) < kept, ids, 0).astype(np.int64)}
    front = config.input
    if isinstance(front, ImageInput):
        shape: tuple[int, ...] = (SAMPLES, front.channels, front.height, front.width)
    else:
        shape = (SAMPLES, 49, 10)
    return {front.name: rng.standard_normal(shape, dtype=np.float32)}


def stepper(name: str, optimizer: str, *, blocked: bool) -> tuple[Stepper, ModelProto]:
    model = build(name, CONFIGS[name], 0)
    ready = train_batch_norm(model)
    rate = rate_of(name, optimizer)
    rule = Adam(rate) if optimizer == "adam" else SGD(rate, momentum=0.9)
    fixed = {"batch": SAMPLES, "block": block_size()} if blocked else {}
    step = build_step(
        ready.model, CrossEntropy(), rule, list(parameters(model)), buffers=ready.buffers, inference=model, **fixed
    )
    return Stepper(step, threads=1), model


@pytest.mark.parametrize("blocked", [False, True], ids=["plain", "blocked"])
@pytest.mark.parametrize("optimizer", RATES)
@pytest.mark.parametrize("name", CONFIGS)
def test_losses_and_gradients_are_torch_s(name: str, optimizer: str, blocked: bool) -> None:
    if blocked and not block_size():
        pytest.skip("onnxruntime has no blocked layout on this processor")
    record = RECORD[f"{name}/{optimizer}"]
    running, _ = stepper(name, optimizer, blocked=blocked)
    data = {**batch(name), "target": labels()}
    norm = running.step(data).grad_norm
    assert norm == pytest.approx(sqrt(sum(value**2 for value in record["norms"].values())), rel=1e-4)
    running.reset()
    losses = [running.step(data).loss for _ in record["losses"]]
    np.testing.assert_allclose(losses, record["losses"], rtol=1e-3, atol=1e-3)
