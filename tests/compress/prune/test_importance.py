"""What a unit is worth."""

import numpy as np
import pytest
from onnx import numpy_helper
from tests.compress.prune.digits_cnn import digits, learnt

from edgewise.compress.cutting import Cut, cut
from edgewise.compress.prune.coupling import couple
from edgewise.compress.prune.importance import Importance, gradients_squared, importance
from edgewise.compress.tuning import answers
from edgewise.training.step.assembly import with_weights


def weights(model: object) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in model.graph.initializer}  # type: ignore[attr-defined]


@pytest.mark.parametrize("how", ["magnitude", "taylor", "activation"])
def test_a_channel_that_says_nothing_is_worth_least_and_the_mean_is_one(how: Importance) -> None:
    parts = cut(learnt())
    arrays = weights(parts.core)
    for name in ("stage1.conv.weight", *(name for name in arrays if name.startswith("stage1") and ".bn." in name)):
        if not name.endswith(("mean", "var")):
            arrays[name][5] = 0
    arrays["stage2.conv.weight"][:, 5] = 0
    coupling = couple(with_weights(parts.core, arrays))
    scores = importance(coupling, parts, digits(), how, 128)
    for family in coupling.families:
        assert np.mean([scores[unit.key] for unit in family.units]) == pytest.approx(1)
    (first,) = [family for family in coupling.families if family.name == "stage1.conv.weight"]
    by_channel = {place.indices[0]: scores[unit.key] for unit in first.units for place in unit.places
                  if (place.tensor, place.axis) == ("stage1.conv.weight", 0)}  # fmt: skip
    assert min(by_channel, key=by_channel.__getitem__) == 5
    assert by_channel[5] < 1e-3


def test_taylor_is_the_squared_gradient_times_the_weight() -> None:
    parts, samples = cut(learnt()), digits()
    rows = samples.rows(32)

    def loss(arrays: dict[str, np.ndarray]) -> float:
        scores = answers(parts.whole(with_weights(parts.core, arrays)), samples, samples.data.x[rows]).astype(
            np.float64
        )
        scores -= scores.max(1, keepdims=True)
        return float((np.log(np.exp(scores).sum(1)) - scores[np.arange(32), samples.data.y[rows]]).mean())

    found = gradients_squared(parts.core, Cut(parts.front, parts.core, parts.seam), samples, 32)["head.weight"]
    at = np.unravel_index(found.argmax(), found.shape)
    arrays, step = weights(parts.core), 0.02
    start = arrays["head.weight"][at].copy()
    arrays["head.weight"][at] = start * (1 + step)
    above = loss(arrays)
    arrays["head.weight"][at] = start * (1 - step)
    assert found[at] == pytest.approx(((above - loss(arrays)) / (2 * step)) ** 2, rel=0.02)
