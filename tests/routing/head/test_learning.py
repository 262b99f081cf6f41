"""Learning a head: from what no promise is made by, chosen by what it did not see, the same for the same seed."""

from dataclasses import replace

import numpy as np
import pytest
from tests.routing.head.forms import disagreement, form, noisy

from edgewise.errors import DataError, InputError
from edgewise.routing.head.head import feature_count, features_of
from edgewise.routing.head.join import join_head
from edgewise.routing.head.learning import LEAST, learn_from, learn_head, parts
from edgewise.routing.head.network import Learning, Network, log_loss
from edgewise.routing.head.proof import prove_joined
from edgewise.routing.head.reading import Seen, read_samples

QUICK = Learning(epochs=15, folds=3, units=4)


def seen_of(count: int, seed: int = 0, *, telling: bool = False) -> tuple[Seen, np.ndarray]:
    """Three classes; who disagrees depends on the scores, or (``telling``) on one of four hidden values alone."""
    draw = np.random.default_rng(seed)
    scores, hidden = draw.normal(0, 2, (count, 3)), draw.normal(0, 1, (count, 4))
    features = features_of(scores)
    odds = 3 * hidden[:, 2] + 2 if telling else 1.5 - 1.2 * features[:, 1] - 2
    return Seen(features, hidden, "logits", 3), draw.random(count) > 1 / (1 + np.exp(-odds))


def test_a_line_through_the_scores_learns_what_they_say() -> None:
    seen, disagree = seen_of(800)
    learnt = learn_from(seen, disagree, "y", QUICK)
    fresh, truth = seen_of(4000, seed=1)
    known = log_loss(1.5 - 1.2 * fresh.features[:, 1] - 2, ~truth).mean()
    assert learnt.head.kind == "logistic on scores"
    assert list(learnt.tried) == ["logistic on scores"]
    assert known <= log_loss(learnt.head.of(fresh.features), ~truth).mean() < known + 0.02
    assert (learnt.samples, learnt.disagreements) == (800, disagree.sum())


def test_hidden_values_are_read_where_they_tell_more_and_there_is_enough_to_learn_from() -> None:
    seen, disagree = seen_of(1200, telling=True)
    learnt = learn_from(seen, disagree, "y", QUICK)
    assert learnt.head.hidden == 4
    assert learnt.helps
    assert list(learnt.tried) == [
        "logistic on scores", "mlp on scores", "logistic on scores and hidden layer", "mlp on scores and hidden layer",
    ]  # fmt: skip
    few = learn_from(*seen_of(999, telling=True), "y", QUICK)
    assert few.head.hidden == 0
    blind = learn_from(seen, disagree, "y", replace(QUICK, read_hidden=False))
    assert list(blind.tried) == ["logistic on scores", "mlp on scores"]


def test_the_simplest_stays_where_more_is_not_clearly_better() -> None:
    # What disagrees depends on nothing: a curve through more inputs can only be luckier.
    seen, _ = seen_of(1200)
    disagree = np.random.default_rng(3).random(1200) < 0.2
    learnt = learn_from(seen, disagree, "y", QUICK)
    assert learnt.head.kind == "logistic on scores"
    assert not learnt.helps
    assert abs(learnt.gain) < 0.02


def test_the_same_seed_gives_the_same_bytes_and_another_one_other_bytes() -> None:
    model, x, disagree = form("int8"), noisy(400)[0], disagreement(form("int8"), 400)
    heads = [
        learn_head(model, {"pixels": x}, disagree, output="logits", settings=replace(QUICK, seed=seed)).head
        for seed in (4, 4, 5)
    ]
    joined = [join_head(model, head) for head in heads]
    assert joined[0] == joined[1]
    assert joined[0] != joined[2]


def test_a_curved_head_on_hidden_values_is_in_the_graph_what_it_is_apart() -> None:
    x, disagree = noisy()[0], disagreement(form("int8"))
    seen = read_samples(form("int8"), {"pixels": x}, "logits")
    both = np.hstack([seen.features, seen.hidden])  # type: ignore[list-item]
    weights = Network(both.shape[1], 16, QUICK).train(both, ~disagree, np.arange(len(x)) % 5 == 0)
    from_learning = learn_from(seen, disagree, "logits", QUICK).head
    assert weights.layer is not None
    layer = type(weights.layer)(
        *(a.astype(np.float32) for a in (weights.layer.entering, weights.layer.bias, weights.layer.leaving))
    )
    head = replace(from_learning, line=weights.line.astype(np.float32), bias=weights.bias, layer=layer, hidden=128)
    assert prove_joined(form("int8"), join_head(form("int8"), head), head, [{"pixels": x[:64]}]) < 1e-5


def test_training_stops_before_it_learns_by_heart() -> None:
    # 60 inputs that say nothing and 150 samples: to go on is to learn these by heart (1.5 on others, where nobody stops).
    draw = np.random.default_rng(0)
    x, agree = draw.normal(0, 1, (400, 60)), draw.random(400) < 0.7
    stop = np.arange(400) >= 150
    settings = Learning(epochs=60, weight_decay=0.0)
    stopped = Network(60, 0, settings).train(x, agree, stop).of(x[stop])
    going_on = Network(60, 0, replace(settings, patience=0)).train(x, agree, stop).of(x[stop])
    prior = log_loss(np.full(stop.sum(), np.log(0.7 / 0.3)), agree[stop]).mean()
    assert log_loss(stopped, agree[stop]).mean() < prior + 0.1
    # The best epoch's weights are kept either way; patience only saves time.
    np.testing.assert_allclose(stopped, going_on)


def test_what_is_held_out_to_stop_by_is_not_learnt_from() -> None:
    # What is held out says the opposite, and is four times as much.
    x = np.random.default_rng(0).normal(0, 1, (500, 1))
    stop = np.arange(500) >= 100
    weights = Network(1, 0, QUICK).train(x, (x[:, 0] > 0) != stop, stop)
    assert weights.line[0] > 0


def test_inputs_of_any_size_are_learnt_from_and_constant_ones_left_alone() -> None:
    draw = np.random.default_rng(0)
    said = draw.normal(0, 1, 600)
    agree = draw.random(600) < 1 / (1 + np.exp(-2 * said))
    x = np.stack([1e4 * said + 5e5, 3 + 1e-9 * agree], axis=1)
    weights = Network(2, 0, Learning()).train(x, agree, np.arange(600) < 100)
    assert weights.line[1] == 0
    assert weights.line[0] * 1e4 == pytest.approx(2, abs=0.5)
    assert weights.of(np.array([[5e5, 900.0]]))[0] == pytest.approx(0, abs=0.3)


def test_the_seed_decides_the_order_of_samples_too() -> None:
    seen, disagree = seen_of(300)
    stop = np.arange(300) % 4 == 0
    first, again, other = (
        Network(9, 0, replace(QUICK, seed=seed)).train(seen.features, ~disagree, stop).line for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_it_makes_no_difference_in_which_unit_an_input_is() -> None:
    seen, disagree = seen_of(300)
    stop = np.arange(300) % 4 == 0
    scale, shift = np.linspace(0.1, 50, 9), np.linspace(-300, 300, 9)
    plain, other = (
        Network(9, 4, QUICK).train(x, ~disagree, stop).of(x) for x in (seen.features, seen.features * scale + shift)
    )
    np.testing.assert_allclose(plain, other, atol=0.02)


def test_few_disagreements_do_not_make_a_head_that_always_agrees() -> None:
    seen, _ = seen_of(900)
    rare = seen.features[:, 1] > np.quantile(seen.features[:, 1], 0.96)  # where the first two are nearest
    learnt = learn_from(seen, rare, "y", QUICK)
    odds = learnt.head.of(seen.features)
    assert rare.sum() == 36
    assert odds[rare].max() < np.median(odds)
    assert learnt.gain > 0.03


def test_the_two_parts_have_no_sample_in_common_and_are_drawn_blindly() -> None:
    first, second = parts(1000, seed=3)
    assert len(first) == 300
    assert sorted([*first, *second]) == list(range(1000))
    np.testing.assert_array_equal(parts(1000, 3)[0], first)
    assert not np.array_equal(parts(1000, 4)[0], first)
    # In proportion they would always be 15 of 50; blindly drawn they vary as they should (hypergeometric: 3.16).
    losses = np.arange(1000) < 50
    counts = [losses[parts(1000, seed)[0]].sum() for seed in range(400)]
    assert 2.8 < np.std(counts) < 3.6


@pytest.mark.parametrize("wrong", [LEAST - 1, 800 - LEAST + 1])
def test_too_few_of_a_kind_are_said_to_be_too_few(wrong: int) -> None:
    seen, _ = seen_of(800)
    with pytest.raises(DataError, match=f"disagree on {wrong}") as caught:
        learn_from(seen, np.arange(800) < wrong, "y", QUICK)
    assert "max-probability" in caught.value.remedy


def test_what_does_not_fit_is_said() -> None:
    model, x = form("int8"), noisy(60)[0]
    disagree = np.arange(60) % 2 == 0
    with pytest.raises(DataError, match="59 samples, and it is known of 60"):
        learn_head(model, {"pixels": x[:59]}, disagree, output="logits")
    with pytest.raises(DataError, match="of bool"):
        learn_head(model, {"pixels": x}, disagree.astype(int), output="logits")
    with pytest.raises(InputError, match="no output 'scores'"):
        learn_head(model, {"pixels": x}, disagree, output="scores")
    for inputs in ({"image": x}, {"pixels": x.astype(np.float64)}, {"pixels": x[:, 0]}, {"pixels": x[:, :, :7]}):
        with pytest.raises(DataError, match="pixels"):
            learn_head(model, inputs, disagree, output="logits")
    x = x.copy()
    x[3] = np.nan
    with pytest.raises(DataError, match="not finite"):
        learn_head(form("fp32"), {"pixels": x}, disagree, output="logits")
    with pytest.raises(DataError, match="were read"):
        learn_from(seen_of(100)[0], disagree, "y", QUICK)


def test_features_are_as_many_as_the_head_has_weights() -> None:
    seen, disagree = seen_of(200)
    assert seen.features.shape[1] == feature_count(3) == len(learn_from(seen, disagree, "y", QUICK).head.line)
