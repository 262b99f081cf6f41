"""From a model to a step and back."""

import numpy as np
import onnx
import pytest

from edgewise.graph.audio import Framing, log_mel
from edgewise.graph.join import prepend
from edgewise.graph.mel import MelBank
from edgewise.networks.compact import CnnConfig
from edgewise.networks.inputs import ImageInput
from edgewise.networks.registry import build
from edgewise.training.losses.registry import CrossEntropy
from edgewise.training.run.stepper import Stepper
from edgewise.training.step.assembly import assemble, choose
from edgewise.training.step.optimizers import SGD

CONFIG = CnnConfig(ImageInput(8, 8), classes=3, widths=(4, 4), dropout=0.2)


def stepped(choice: object, **how: object) -> tuple[object, dict[str, np.ndarray]]:
    assembly = assemble(choice, CrossEntropy(), SGD(0.1), batch=4, **how)  # type: ignore[arg-type]
    stepper = Stepper(assembly.step, 1)
    rng = np.random.default_rng(0)
    x, y = rng.random((4, 1, 8, 8), np.float32), np.array([0, 1, 2, 0])
    scalars = {"seed": 1} if any(scalar.name == "seed" for scalar in assembly.step.spec.scalars) else {}
    stepper.step({"x": x, "target": y}, scalars)
    return assembly, stepper.weights()


@pytest.mark.parametrize("layout", [True, False])
def test_trained_weights_go_back_into_the_model(layout: bool) -> None:
    """With dropout and normalisation as they answer, not as they train."""
    model = build("cnn", CONFIG)
    assembly, weights = stepped(choose(model), layout=layout)
    back = assembly.trained(weights)  # type: ignore[attr-defined]
    assert [node.op_type for node in back.graph.node] == [node.op_type for node in model.graph.node]
    assert not any(a.name == "training_mode" and a.i for node in back.graph.node for a in node.attribute)
    before, after = ({t.name: onnx.numpy_helper.to_array(t) for t in m.graph.initializer} for m in (model, back))
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert {"stage1.conv.weight", "head.weight", "head.bias"} <= changed
    assert any(name.endswith("bn.mean") for name in changed)


def test_what_is_frozen_stays_with_its_averages() -> None:
    """Normalisation whose scale does not learn keeps its running averages too."""
    model = build("cnn", CONFIG)
    _, weights = stepped(choose(model, ("head.*",)))
    assert set(weights) == {"head.weight", "head.bias"}


def test_a_new_last_layer_learns_itself_and_not_by_an_adapter() -> None:
    head = ("head.weight", "head.bias")
    choice = choose(build("cnn", CONFIG), head=head, lora=2)
    assert {adapter.weight for adapter in choice.adapters} == {"stage1.conv.weight", "stage2.conv.weight"}
    assert set(head) < set(choice.parameters)
    assert len(set(choice.parameters)) == len(choice.parameters) == 6


def test_the_constants_of_our_own_fragments_are_no_weights() -> None:
    """The Fourier basis is a convolution's weight, and must not learn."""
    network = build("cnn", CnnConfig(ImageInput(4, 10, 1, layout="nhw"), classes=2, widths=(4,)))
    framing = Framing(8000, 64, 32, centre=False, samples=160)
    model = prepend(log_mel(framing, MelBank(10), time_first=True), network)
    chosen = choose(model).parameters
    assert "head.weight" in chosen
    assert not [name for name in chosen if "constant" in name]
