"""Six whole networks against torch itself: every gradient, and loss curves of 200 steps."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

import torch
from tests.networks import torch_twins as twins
from tests.training.loss_graphs import run
from tests.training.torch_record import SEEDS, labels, rate_of

from edgewise.autodiff.blocked import to_blocked
from edgewise.autodiff.differentiate import differentiate
from edgewise.graph.order import pruned
from edgewise.graph.writer import Writer
from edgewise.networks.parameters import parameters
from edgewise.training.losses.registry import CrossEntropy
from edgewise.training.rewrites.batch_norm import train_batch_norm
from edgewise.training.run.stepper import Stepper
from edgewise.training.step.build import build_step
from edgewise.training.step.optimizers import SGD, Adam
from edgewise.training.step.processor import block_size

SAMPLES, STEPS = 16, 200
# Through MobileNet's 27 normalised layers torch's own float32 is 0.6e-4 to 1e-4 from its float64 on noise, where no ReLU falls to
# the other side by rounding; on most batches one does in one of the three. This is one where none does.
GRADIENT_SEEDS = SEEDS | {"mobilenet": 21}
ROOM = {"mobilenet": 2e-4}
LAYOUTS = pytest.mark.parametrize("blocked", [False, True], ids=["plain", "blocked"])
Arrays = dict[str, np.ndarray]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def twin_of(name: str, seed: int = 0) -> tuple[Any, Any, Arrays]:
    """Model, twin without chance in it, one batch."""
    case = twins.TWINS[name]
    model, twin = twins.pair(case)
    twin.train()
    for module in twin.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(module, torch.nn.MultiheadAttention):
            module.dropout = 0.0
    return model, twin, twins.inputs(case, SAMPLES, seed)


def block_of(blocked: bool) -> int:
    if blocked and not block_size():
        pytest.skip("onnxruntime has no blocked layout on this processor")
    return block_size() if blocked else 0


@LAYOUTS
@pytest.mark.parametrize("name", twins.TWINS)
def test_gradients_are_torch_s(name: str, blocked: bool) -> None:
    block = block_of(blocked)
    model, twin, batch = twin_of(name, GRADIENT_SEEDS.get(name, 0))
    target = torch.tensor(labels())
    torch.nn.functional.cross_entropy(twin(*map(torch.tensor, batch.values())), target).backward()
    expected = twins.gradients(twin)
    found = gradients_of(model, {**batch, "target": labels()}, block)
    assert found.keys() == expected.keys()
    whole = np.sqrt(sum(float(np.sum(gradient**2)) for gradient in expected.values()))
    difference = np.sqrt(sum(float(np.sum((found[key] - gradient) ** 2)) for key, gradient in expected.items()))
    assert difference <= 1e-4 * whole
    for key, gradient in expected.items():
        # What is zero by symmetry, like a scale before a normalisation, is noise on both sides.
        room = max(float(np.linalg.norm(gradient)), 1e-3 * whole)
        assert np.linalg.norm(found[key] - gradient) <= ROOM.get(name, 1e-4) * room, key


def gradients_of(model: Any, feeds: Arrays, block: int) -> Arrays:
    ready = train_batch_norm(model)
    w = Writer(ready.model)
    for value in w.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = SAMPLES
    name = w.graph.output[0].name
    del w.graph.output[:]
    w.infer()
    total = CrossEntropy().write(w, {name: name})
    w.infer()
    if block:
        to_blocked(w, block)
    found = differentiate(w, total, list(parameters(model)), block=block).gradients
    names = {key: w.output(f"gradient/{key}", gradient, "float32", None) for key, gradient in found.items()}
    del w.graph.output[: len(w.graph.output) - len(names)]
    return dict(zip(names, run(pruned(w.model), feeds, list(names.values())), strict=True))


@pytest.mark.long
@LAYOUTS
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", twins.TWINS)
def test_loss_curves_of_200_steps_follow_torch_s(name: str, optimizer: str, blocked: bool) -> None:
    """The recorded curves of 20 steps are compared in test_torch_record, where torch is not needed."""
    block = block_of(blocked)
    model, twin, batch = twin_of(name, SEEDS.get(name, 0))
    rate = rate_of(name, optimizer)
    if (name, optimizer) == ("mobilenet", "sgd"):
        rate *= 0.1  # at the recorded one torch's own float32 leaves its float64 by 1.2e-3 within 200 steps
    ready = train_batch_norm(model)
    rule = Adam(rate) if optimizer == "adam" else SGD(rate, momentum=0.9)
    fixed: dict[str, Any] = {"batch": SAMPLES, "block": block} if block else {}
    step = build_step(
        ready.model, CrossEntropy(), rule, list(parameters(model)), buffers=ready.buffers, inference=model, **fixed
    )
    ours = Stepper(step, threads=1)
    made = torch.optim.Adam if optimizer == "adam" else torch.optim.SGD
    theirs = made(twin.parameters(), lr=rate, **({"momentum": 0.9} if optimizer == "sgd" else {}))
    inputs, target = [torch.tensor(array) for array in batch.values()], torch.tensor(labels())
    losses = []
    for _ in range(STEPS):
        theirs.zero_grad()
        loss = torch.nn.functional.cross_entropy(twin(*inputs), target)
        loss.backward()
        theirs.step()
        losses.append((ours.step({**batch, "target": labels()}).loss, loss.item()))
    found, expected = np.array(losses).T
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
