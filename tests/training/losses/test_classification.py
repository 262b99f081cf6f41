"""Losses of classifiers equal the formulas of their papers, and torch's."""

from typing import Any

import numpy as np
import pytest
from onnx import helper
from tests.training.loss_graphs import assert_loss, evaluate, open_graph, run

from edgewise.errors import InputError, UnsupportedError
from edgewise.graph.writer import Writer
from edgewise.training.losses.registry import BinaryCrossEntropy, CrossEntropy, Loss

RNG = np.random.default_rng(0)


def log_softmax(z: np.ndarray, axis: int = -1) -> np.ndarray:
    z = z - z.max(axis, keepdims=True)
    return z - np.log(np.exp(z).sum(axis, keepdims=True))


def cross_entropy(
    z: np.ndarray, labels: np.ndarray, weights: np.ndarray, smoothing: float = 0.0, ignore: int | None = None,
    sample_weight: np.ndarray | None = None,
) -> float:  # fmt: skip
    """Sample by sample, as the definition reads; classes last."""
    classes = z.shape[-1]
    total = count = 0.0
    for index in np.ndindex(labels.shape):
        label = labels[index]
        if label == ignore:
            continue
        wanted = np.full(classes, smoothing / classes)
        wanted[label] += 1 - smoothing
        share = 1.0 if sample_weight is None else sample_weight[index[0]]
        total += share * -(wanted * weights * log_softmax(z[index])).sum()
        count += share * weights[label]
    return total / count if count else 0.0


Z = RNG.standard_normal((6, 5)) * 3
Y = np.array([0, 4, 2, 2, 1, 3])
W = np.array([1.0, 0.2, 3.0, 0.0, 0.7])
S = np.array([1.0, 0.5, 0.0, 2.0, 1.0, 0.0])
ONE = np.ones(5)


@pytest.mark.parametrize(
    ("loss", "targets", "options"),
    [
        (CrossEntropy(), {}, {"weights": ONE}),
        (CrossEntropy(label_smoothing=0.1), {}, {"weights": ONE, "smoothing": 0.1}),
        (CrossEntropy(class_weights=tuple(W)), {}, {"weights": W}),
        (CrossEntropy(class_weights=tuple(W), label_smoothing=0.2), {}, {"weights": W, "smoothing": 0.2}),
        (CrossEntropy(weighted=True), {"sample_weight": S}, {"weights": ONE, "sample_weight": S}),
        (CrossEntropy(ignore_index=2), {}, {"weights": ONE, "ignore": 2}),
        (
            CrossEntropy(ignore_index=4, class_weights=tuple(W), label_smoothing=0.1, weighted=True),
            {"sample_weight": S},
            {"weights": W, "ignore": 4, "smoothing": 0.1, "sample_weight": S},
        ),
    ],
)
def test_cross_entropy_is_its_formula(loss: Loss, targets: dict[str, np.ndarray], options: dict[str, Any]) -> None:
    assert_loss(loss, {"z": Z}, {"target": Y} | targets, lambda z: cross_entropy(z, Y, **options))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignore", [None, -100])
def test_labels_of_every_pixel_count_alike_and_the_class_axis_is_free(weighted: bool, ignore: int | None) -> None:
    z = RNG.standard_normal((3, 4, 2, 3))
    labels = RNG.integers(0, 4, (3, 2, 3))
    if ignore is not None:
        labels[0, 1] = ignore
    share = np.array([0.5, 2.0, 0.0]) if weighted else None
    loss = CrossEntropy(axis=1, weighted=weighted, ignore_index=ignore)
    targets = {"target": labels} | ({"sample_weight": share} if share is not None else {})
    assert_loss(
        loss, {"z": z}, targets,
        lambda z: cross_entropy(z.transpose(0, 2, 3, 1), labels, np.ones(4), ignore=ignore, sample_weight=share),
    )  # fmt: skip


@pytest.mark.parametrize("axis", [-1, 1])
def test_soft_labels_weigh_the_log_probabilities(axis: int) -> None:
    z = RNG.standard_normal((3, 4, 5))
    q = RNG.random((3, 4, 5))
    q /= q.sum(axis, keepdims=True)
    count = z.shape[axis]
    mixed = q * 0.9 + 0.1 / count
    loss = CrossEntropy(soft=True, label_smoothing=0.1, axis=axis)
    assert_loss(
        loss, {"z": z}, {"target": q}, lambda z: float(-(mixed * log_softmax(z, axis)).sum() / (z.size / count))
    )


def test_a_batch_in_which_nothing_counts_has_loss_and_gradient_zero() -> None:
    loss = CrossEntropy(ignore_index=-1, weighted=True)
    none = {"target": np.full(6, -1), "sample_weight": np.ones(6, np.float32)}
    value, gradients = evaluate(loss, {"z": Z.astype(np.float32)}, none)
    assert value == 0
    assert not gradients["z"].any()
    value, _ = evaluate(
        CrossEntropy(weighted=True),
        {"z": Z.astype(np.float32)},
        {"target": Y, "sample_weight": np.zeros(6, np.float32)},
    )
    assert value == 0


def test_only_the_ratios_of_sample_weights_count() -> None:
    for loss in (CrossEntropy(weighted=True), CrossEntropy(weighted=True, class_weights=(1, 2, 3, 4, 5))):
        values = [evaluate(loss, {"z": Z}, {"target": Y, "sample_weight": S * part})[0] for part in (1, 1e-3, 1e3)]
        assert values == pytest.approx([values[0]] * 3)


def test_scores_of_any_size_stay_finite() -> None:
    z = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 5.0]], np.float32)
    value, gradients = evaluate(CrossEntropy(), {"z": z}, {"target": np.array([1, 1])})
    assert value == 1e4
    assert np.isfinite(gradients["z"]).all()


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
def test_a_softmax_at_the_end_of_the_model_is_looked_through(operator: str) -> None:
    """Behind an Identity too, which exporters like to end in."""
    w = open_graph({"z": Z.astype(np.float32)})
    w.append(helper.make_node(operator, ["z"], ["q"], "end"))
    w.append(helper.make_node("Identity", ["q"], ["p"], "name"))
    w.infer()
    w.output("loss_value", CrossEntropy().write(w, {"p": "p"}), "float32", ())
    (value,) = run(w.model, {"z_in": Z.astype(np.float32), "target": Y}, ["loss_value"])
    np.testing.assert_allclose(value, cross_entropy(Z, Y, ONE), rtol=1e-6)


def test_a_softmax_over_another_axis_is_a_part_of_the_model() -> None:
    z, labels = RNG.standard_normal((3, 4, 5)).astype(np.float32), RNG.integers(0, 5, (3, 4))
    w = open_graph({"z": z})
    w.append(helper.make_node("Softmax", ["z"], ["p"], "attention", axis=1))
    w.infer()
    w.output("loss_value", CrossEntropy().write(w, {"p": "p"}), "float32", ())
    (value,) = run(w.model, {"z_in": z, "target": labels}, ["loss_value"])
    np.testing.assert_allclose(value, cross_entropy(np.exp(log_softmax(z, 1)), labels, ONE), rtol=1e-5)


def binary(z: np.ndarray, t: np.ndarray, positive: float | np.ndarray = 1.0) -> np.ndarray:
    share = 1 / (1 + np.exp(-z))
    return -(positive * t * np.log(share) + (1 - t) * np.log(1 - share))


@pytest.mark.parametrize("positive", [(), (2.0,), (1.0, 0.5, 3.0, 0.0, 1.0)])
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_cross_entropy_is_its_formula(positive: tuple[float, ...], weighted: bool) -> None:
    t = RNG.random((6, 5))
    factor = np.array(positive) if positive else 1.0
    share = S if weighted else np.ones(6)
    loss = BinaryCrossEntropy(positive_weights=positive, weighted=weighted)
    targets = {"target": t} | ({"sample_weight": S} if weighted else {})
    assert_loss(loss, {"z": Z}, targets, lambda z: float((binary(z, t, factor).mean(1) * share).sum() / share.sum()))


def test_binary_cross_entropy_is_exact_far_out() -> None:
    z = np.array([[200.0, -200.0, 200.0, -200.0]], np.float32)
    value, gradients = evaluate(BinaryCrossEntropy(), {"z": z}, {"target": np.array([[1, 0, 0, 1]], np.float32)})
    assert value == 100
    np.testing.assert_array_equal(gradients["z"], [[0, 0, 0.25, -0.25]])


def test_a_sigmoid_at_the_end_of_the_model_is_looked_through() -> None:
    w = open_graph({"z": Z.astype(np.float32)})
    w.append(helper.make_node("Sigmoid", ["z"], ["p"], "end"))
    w.infer()
    w.output("loss_value", BinaryCrossEntropy().write(w, {"p": "p"}), "float32", ())
    t = (RNG.random((6, 5)) < 0.5).astype(np.float32)
    (value,) = run(w.model, {"z_in": Z.astype(np.float32), "target": t}, ["loss_value"])
    np.testing.assert_allclose(value, binary(Z, t).mean(), rtol=1e-6)


def test_torch_agrees_on_cross_entropy() -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    z = RNG.standard_normal((4, 5, 3)).astype(np.float32)
    labels = RNG.integers(0, 5, (4, 3))
    labels[0, 0] = -100
    for smoothing in (0.0, 0.1):
        t = torch.tensor(z, requires_grad=True)
        expected = torch.nn.functional.cross_entropy(
            t, torch.tensor(labels), torch.tensor(W, dtype=torch.float32), ignore_index=-100, label_smoothing=smoothing
        )
        expected.backward()
        loss = CrossEntropy(axis=1, class_weights=tuple(W), ignore_index=-100, label_smoothing=smoothing)
        value, gradients = evaluate(loss, {"z": z}, {"target": labels})
        np.testing.assert_allclose(value, expected.item(), rtol=1e-6)
        np.testing.assert_allclose(gradients["z"], t.grad.numpy(), atol=1e-6)
    q = RNG.random((4, 5, 3)).astype(np.float32)
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(z), torch.tensor(q), torch.tensor(W, dtype=torch.float32), label_smoothing=0.1
    )
    loss = CrossEntropy(axis=1, soft=True, class_weights=tuple(W), label_smoothing=0.1)
    np.testing.assert_allclose(evaluate(loss, {"z": z}, {"target": q})[0], expected.item(), rtol=1e-6)


def test_torch_agrees_on_binary_cross_entropy() -> None:
    torch = pytest.importorskip("torch")
    z, t = Z.astype(np.float32), RNG.random((6, 5)).astype(np.float32)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(z), torch.tensor(t), pos_weight=torch.tensor(W, dtype=torch.float32)
    )
    value, _ = evaluate(BinaryCrossEntropy(positive_weights=tuple(W)), {"z": z}, {"target": t})
    np.testing.assert_allclose(value, expected.item(), rtol=1e-6)


def test_labels_say_below_what_they_must_lie() -> None:
    w = open_graph({"z": Z})
    (spec,) = CrossEntropy().targets(w, {"z": "z"})
    assert (spec.name, spec.dtype, spec.shape, spec.below) == ("target", "int64", ("batch",), 5)
    assert CrossEntropy(ignore_index=-100).targets(w, {"z": "z"})[0].below is None


def test_wrong_choices_are_refused_in_words() -> None:
    w = open_graph({"z": Z})
    with pytest.raises(InputError, match="label_smoothing"):
        CrossEntropy(label_smoothing=1)
    with pytest.raises(InputError, match="3 class_weights for 5 classes"):
        CrossEntropy(class_weights=(1, 2, 3)).write(w, {"z": "z"})
    with pytest.raises(InputError, match="class_weights must not be negative"):
        CrossEntropy(class_weights=(1, -2, 3, 1, 1))
    with pytest.raises(InputError, match="positive_weights must not be negative"):
        BinaryCrossEntropy(positive_weights=(-1,))
    with pytest.raises(InputError, match="3 positive_weights for 5 scores"):
        BinaryCrossEntropy(positive_weights=(1, 2, 3)).write(w, {"z": "z"})
    with pytest.raises(InputError, match=r"no output 'y'.* z"):
        CrossEntropy(output="y").write(w, {"z": "z"})
    with pytest.raises(InputError, match="more than one output"):
        CrossEntropy().write(w, {"z": "z", "z2": "z"})
    with pytest.raises(InputError, match="'z_in'"):
        CrossEntropy(target="z_in").write(w, {"z": "z"})
    with pytest.raises(InputError, match="taken"):
        CrossEntropy(target="z").write(w, {"z": "z"})
    unknown = Writer(w.model)
    unknown.append(helper.make_node("Reshape", ["z", "shape"], ["flat"], "flat"))
    with pytest.raises(UnsupportedError, match="'flat'"):
        CrossEntropy().write(unknown, {"flat": "flat"})
