"""What a network is planned with follows from the data alone."""

import numpy as np
import onnxruntime as ort
import pytest

from edgewise.measure.dataset import Dataset
from edgewise.training.recipes.front import build_front
from edgewise.training.recipes.plan import plan_network
from edgewise.training.recipes.recipe import Recipe

PLAIN = Recipe(augment="none")
RNG = np.random.default_rng(0)


def answers(network: str, kind: str, x: np.ndarray) -> np.ndarray:
    """Of the untrained network that is planned for ``x``."""
    data = Dataset(x, np.arange(len(x)) % 2)
    plan = plan_network(network, PLAIN, build_front(kind, PLAIN, x), data, seed=0)  # type: ignore[arg-type]
    session = ort.InferenceSession(plan.model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run([plan.deciding], {plan.input: x})[0]


@pytest.mark.parametrize(
    ("network", "kind", "shape", "channels"),
    [
        ("cnn", "image", (6, 3, 12, 10), (1, 3, 1, 1)), ("cnn", "image", (6, 12, 10, 3), (1, 1, 1, 3)),
        ("cnn1d", "sensor", (6, 16, 3), (1, 1, 3)),
    ],
)  # fmt: skip
def test_the_unit_of_each_channel_does_not_matter(
    network: str, kind: str, shape: tuple[int, ...], channels: tuple[int, ...]
) -> None:
    """Mean and deviation of the training data are taken out, and a channel that never changes is no reason for NaN."""
    x = RNG.normal(size=shape).astype(np.float32)
    unit, start = (np.reshape(values, channels).astype(np.float32) for values in ([1, 10, 0], [5, -2, 3]))
    still = np.where(unit == 0, np.float32(0), x)
    found = answers(network, kind, x * unit + start)
    np.testing.assert_allclose(found, answers(network, kind, still), rtol=1e-3, atol=1e-4)
    assert np.ptp(found, axis=0).max() > 1e-3
