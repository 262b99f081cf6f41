"""The pass: really fewer channels, the same interface, hardly worse after learning."""

from dataclasses import replace

import numpy as np
import pytest
from onnx import ModelProto
from tests.compress.prune.digits_cnn import accuracy, digits, learnt
from tests.compress.prune.masking import run

from edgewise.compress.cutting import cut
from edgewise.compress.prune.cost import multiply_adds, stored_bytes
from edgewise.compress.prune.coupling import couple
from edgewise.compress.prune.prune import Prune, cut_to
from edgewise.compress.tuning import Tuning
from edgewise.errors import InputError, UnsupportedError
from edgewise.graph.answer import softmax
from edgewise.graph.inspect import describe
from edgewise.graph.join import append
from edgewise.networks.registry import build

TUNING = Tuning(epochs=4, batch=32, learning_rate=0.01)


def widths(model: ModelProto) -> list[int]:
    return [tensor.dims[0] for tensor in cut(model).core.graph.initializer if tensor.name.endswith("conv.weight")]


@pytest.mark.parametrize("how", ["magnitude", "taylor", "activation"])
def test_half_of_the_multiply_adds_are_gone_and_the_answers_are_learnt_again(how: str) -> None:
    model = learnt()
    before = model.SerializeToString()
    small = Prune(share=0.5, how=how, steps=2, multiple=1, count=128, tuning=TUNING).apply(model, digits())  # type: ignore[arg-type]
    assert model.SerializeToString() == before
    assert multiply_adds(cut(small).core) <= multiply_adds(cut(model).core) / 2
    assert stored_bytes(cut(small).core) < 0.7 * stored_bytes(cut(model).core)
    assert describe(small).inputs == describe(model).inputs
    assert describe(small).outputs == describe(model).outputs
    assert cut(small).front == cut(model).front
    assert run(small, {"image": digits("eval", 3).data.x})[0].shape == (3, 10)
    assert accuracy(small) > accuracy(model) - 0.03


def test_bytes_may_be_the_measure_and_widths_stay_multiples() -> None:
    model = learnt()
    small = Prune(share=0.5, of="bytes", steps=1, multiple=4, count=64, tuning=None).apply(model, digits())
    assert stored_bytes(cut(small).core) <= stored_bytes(cut(model).core) / 2
    assert widths(model) == [16, 24]
    assert all(width % 4 == 0 and width < old for width, old in zip(widths(small), widths(model), strict=True))


def test_a_share_that_cannot_be_reached_names_what_stays() -> None:
    with pytest.raises(UnsupportedError, match=r"of the cost stay.*it is an output of the model"):
        Prune(share=0.001, steps=1, how="magnitude", tuning=None).apply(learnt(), digits())


def test_names_tell_settings_apart() -> None:
    plain = Prune()
    others = [
        replace(plain, share=0.3), replace(plain, of="bytes"), replace(plain, how="magnitude"), replace(plain, steps=5),
        replace(plain, multiple=8), replace(plain, least=0.2), replace(plain, tuning=None), replace(plain, tuning=Tuning(epochs=9)),
        replace(plain, tuning=Tuning(batch=9)), replace(plain, count=9),
    ]  # fmt: skip
    assert len({each.name for each in (plain, *others)}) == 11
    assert "50%" in plain.describe()


@pytest.mark.parametrize("wrong", [{"share": 0.0}, {"share": 1.0}, {"steps": 0}, {"multiple": 0}, {"least": 1.0}])
def test_impossible_settings_are_refused_when_built(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Prune(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("multiple", [1, 4, 8])
def test_no_more_is_taken_out_than_the_goal_asks_for(multiple: int) -> None:
    model = build("ds-cnn")
    coupling = couple(model)
    chance, goal = np.random.default_rng(0), multiply_adds(model) // 2
    scores = {unit.key: float(chance.random()) for family in coupling.families for unit in family.units}
    small = cut_to(coupling, scores, goal, multiply_adds, multiple=multiple)
    assert 0.95 * goal < multiply_adds(small) <= goal
    assert all(width % multiple == 0 for width in widths(small))


def test_a_model_that_ends_in_probabilities_is_learnt_again_like_one_that_ends_in_scores() -> None:
    model = learnt()
    likely = append(model, softmax("logits", "probabilities"))
    few = Prune(share=0.5, steps=1, count=64, tuning=Tuning(epochs=2, batch=32, learning_rate=0.01))
    scored = few.apply(model, digits(count=320))
    sure = few.apply(likely, replace(digits(count=320), output="probabilities"))
    x = {"image": digits("eval", 50).data.x}
    expected = np.exp(run(scored, x)[0])
    np.testing.assert_allclose(
        run(sure, x)[0], expected / expected.sum(1, keepdims=True), atol=0.1
    )  # probabilities below 1e-6 count as that
