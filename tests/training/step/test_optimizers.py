"""An optimiser decays what it is told to, and settings that no paper has are refused."""

import numpy as np
import pytest

pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper

from edgewise.errors import InputError
from edgewise.training.losses.registry import MeanSquaredError
from edgewise.training.run.stepper import Stepper
from edgewise.training.step.build import build_step
from edgewise.training.step.optimizers import SGD, Adam, AdamW

F = TensorProto.FLOAT
RNG = np.random.default_rng(4)
STORED = {"w": RNG.normal(size=(3, 2)).astype(np.float32), "b": np.array([0.5, -0.5], np.float32)}


def after_one_step(kind: type[SGD] | type[Adam] | type[AdamW], decay: float, **options: bool) -> dict[str, np.ndarray]:
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])], "g", [helper.make_tensor_value_info("x", F, ["n", 3])],
        [helper.make_tensor_value_info("y", F, ["n", 2])], [numpy_helper.from_array(a, name) for name, a in STORED.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    step = build_step(model, MeanSquaredError(), kind(0.01, decay=decay, **options), ["w", "b"])
    stepper, rng = Stepper(step, threads=1), np.random.default_rng(1)
    data = {name: rng.normal(size=(6, size)).astype(np.float32) for name, size in (("x", 3), ("target", 2))}
    stepper.step(data)
    return stepper.weights()


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
def test_biases_and_scales_decay_unless_they_are_left_out(kind: type[SGD] | type[Adam] | type[AdamW]) -> None:
    plain, all_of, matrices = (
        after_one_step(kind, 0.0),
        after_one_step(kind, 50.0),
        after_one_step(kind, 50.0, decay_vectors=False),
    )
    assert not np.allclose(all_of["b"], plain["b"], rtol=1e-3)
    np.testing.assert_allclose(matrices["b"], plain["b"], rtol=1e-6)
    np.testing.assert_allclose(matrices["w"], all_of["w"], rtol=1e-6)
    assert not np.allclose(matrices["w"], plain["w"], rtol=1e-3)


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (SGD, {"momentum": 1.0}, "momentum is 1.0"), (SGD, {"momentum": -0.1}, "momentum is -0.1"),
        (SGD, {"rate": -1.0}, "learning rate of -1.0"), (SGD, {"decay": float("nan")}, "weight decay of nan"),
        (Adam, {"beta1": 1.0}, "beta1 is 1.0"), (AdamW, {"beta2": 1.0}, "beta2 is 1.0"),
        (Adam, {"epsilon": -1e-8}, "epsilon is -1e-08"), (AdamW, {"epsilon": -1e-8}, "epsilon is -1e-08"),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(
    kind: type[SGD] | type[Adam] | type[AdamW], options: dict[str, float], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        kind(**options)
