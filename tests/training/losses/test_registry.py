"""Losses of numbers, vectors, features, teachers, pixels and boxes equal the formulas of their papers, and torch's."""

import numpy as np
import pytest
from tests.training.loss_graphs import assert_loss, evaluate, open_graph, run

from edgewise.errors import InputError
from edgewise.training.losses.registry import (
    Contrastive,
    CosineDistance,
    CosineEmbedding,
    CrossEntropy,
    DiceCrossEntropy,
    Distillation,
    FeatureMatching,
    Huber,
    InfoNce,
    MeanSquaredError,
    MultiBox,
    Sum,
    Triplet,
)

RNG = np.random.default_rng(1)
S = np.array([1.0, 0.5, 0.0, 2.0])
A, B, C = (RNG.standard_normal((4, 3)) for _ in range(3))


def log_softmax(z: np.ndarray, axis: int = -1) -> np.ndarray:
    z = z - z.max(axis, keepdims=True)
    return z - np.log(np.exp(z).sum(axis, keepdims=True))


def mean(each: np.ndarray, weights: np.ndarray | None = None) -> float:
    each = each.reshape(len(each), -1).mean(1)
    return float(each.mean() if weights is None else (each * weights).sum() / weights.sum())


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 2, 3)])
@pytest.mark.parametrize("weighted", [False, True])
def test_squares_and_hubers_are_means_over_samples(shape: tuple[int, ...], weighted: bool) -> None:
    y, t = RNG.standard_normal(shape) * 2, RNG.standard_normal(shape)
    share = S if weighted else None
    targets = {"target": t} | ({"sample_weight": S} if weighted else {})
    assert_loss(MeanSquaredError(weighted=weighted), {"y": y}, targets, lambda y: mean((y - t) ** 2, share))

    def huber(y: np.ndarray) -> float:
        e = np.abs(y - t)
        return mean(np.where(e <= 0.7, e**2 / 2, 0.7 * (e - 0.35)), share)

    assert_loss(Huber(delta=0.7, weighted=weighted), {"y": y}, targets, huber)


def test_an_autoencoder_has_its_own_input_as_target() -> None:
    w = open_graph({"y": A})
    w.output("loss_value", MeanSquaredError(target="y_in").write(w, {"y": "y"}), "float64", ())
    assert [value.name for value in w.graph.input] == ["y_in"]
    assert run(w.model, {"y_in": A}, ["loss_value"])[0] == 0


def test_feature_matching_sums_over_pairs_and_can_compare_directions_only() -> None:
    other = RNG.standard_normal((4, 2, 3))
    inner = {"a": A, "b": RNG.standard_normal((4, 2, 3))}
    loss = FeatureMatching(pairs=(("a", "ta"), ("b", "tb")), weighted=True)
    assert_loss(
        loss, inner, {"ta": B, "tb": other, "sample_weight": S},
        lambda a, b: mean((a - B) ** 2, S) + mean((b - other) ** 2, S),
    )  # fmt: skip

    def unit(x: np.ndarray) -> np.ndarray:
        flat = x.reshape(len(x), -1)
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)

    loss = FeatureMatching(pairs=(("b", "tb"),), normalised=True)
    assert_loss(loss, {"b": inner["b"]}, {"tb": other}, lambda b: float(((unit(b) - unit(other)) ** 2).sum(1).mean()))
    tiny = {name: array * 1e-4 for name, array in (("b", inner["b"]), ("tb", other))}
    found, _ = evaluate(loss, {"b": tiny["b"]}, {"tb": tiny["tb"]})
    assert found == pytest.approx(float(((unit(tiny["b"]) - unit(tiny["tb"])) ** 2).sum(1).mean()))
    with pytest.raises(InputError, match="'nowhere'"):
        FeatureMatching(pairs=(("nowhere", "t"),)).write(open_graph(inner), {})


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))


def test_cosine_losses_compare_directions() -> None:
    assert_loss(
        CosineDistance(weighted=True), {"y": A}, {"target": B, "sample_weight": S}, lambda y: mean(1 - cosine(y, B), S)
    )
    y = np.array([1, -1, 1, -1])

    def embedding(a: np.ndarray, b: np.ndarray) -> float:
        c = cosine(a, b)
        return float(np.where(y > 0, 1 - c, np.maximum(0, c + 0.5)).mean())

    assert_loss(CosineEmbedding(first="a", second="b", margin=-0.5), {"a": A, "b": B}, {"target": y}, embedding)
    value, gradients = evaluate(CosineDistance(), {"y": np.zeros((2, 3))}, {"target": A[:2]})
    assert value == 1
    assert np.isfinite(gradients["y"]).all()
    # Short vectors have a direction too: only below a length of 1e-8 none is left.
    assert evaluate(CosineDistance(), {"y": A * 1e-6}, {"target": A})[0] == pytest.approx(0, abs=1e-9)


def test_contrastive_pairs_attract_and_repel() -> None:
    y = np.array([1, 0, 1, 0])

    def formula(a: np.ndarray, b: np.ndarray) -> float:
        d = np.linalg.norm(a - b + 1e-6, axis=1)
        return mean(np.where(y > 0, d**2, np.maximum(0, 3 - d) ** 2), S)

    loss = Contrastive(first="a", second="b", margin=3, weighted=True)
    assert_loss(loss, {"a": A, "b": B}, {"target": y, "sample_weight": S}, formula)


def triplet(a: np.ndarray, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    return np.maximum(0, np.linalg.norm(a - p + 1e-6, axis=1) - np.linalg.norm(a - n + 1e-6, axis=1) + 0.5)


def test_triplets_come_from_three_outputs_or_from_thirds_of_the_batch() -> None:
    loss = Triplet(anchor="a", positive="p", negative="n", margin=0.5, weighted=True)
    assert_loss(loss, {"a": A, "p": B, "n": C}, {"sample_weight": S}, lambda a, p, n: mean(triplet(a, p, n), S))
    for static in (False, True):
        assert_loss(
            Triplet(margin=0.5), {"y": np.concatenate([A, B, C])}, {},
            lambda y: float(triplet(*np.split(y, 3)).mean()), static=static,
        )  # fmt: skip
    with pytest.raises(InputError, match="3 outputs or from one"):
        Triplet(anchor="a", positive="p").write(open_graph({"a": A, "p": B}), {"a": "a", "p": "p"})


def info_nce(a: np.ndarray, b: np.ndarray, symmetric: bool = True) -> float:
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    z = a @ b.T / 0.3
    there, back = -np.diag(log_softmax(z)).mean(), -np.diag(log_softmax(z.T)).mean()
    return float((there + back) / 2 if symmetric else there)


def test_info_nce_finds_the_own_row_and_ignores_rows_of_no_weight() -> None:
    assert_loss(InfoNce(first="a", second="b", temperature=0.3), {"a": A, "b": B}, {}, info_nce)
    assert_loss(
        InfoNce(temperature=0.3, symmetric=False), {"y": np.concatenate([A, B])}, {},
        lambda y: info_nce(*np.split(y, 2), symmetric=False),
    )  # fmt: skip
    kept = np.array([1.0, 1.0, 0.0, 1.0])
    rows = kept > 0
    loss = InfoNce(first="a", second="b", temperature=0.3, weighted=True)
    assert_loss(loss, {"a": A, "b": B}, {"sample_weight": kept}, lambda a, b: info_nce(a[rows], b[rows]))


def test_distillation_mixes_a_cooled_teacher_with_hard_labels() -> None:
    z, teacher, y = RNG.standard_normal((4, 5)), RNG.standard_normal((4, 5)) * 3, np.array([0, 1, 4, 4])

    def soft(z: np.ndarray, weights: np.ndarray | None = None) -> float:
        p, q = log_softmax(teacher / 2), log_softmax(z / 2)
        return 4 * mean((np.exp(p) * (p - q)).sum(1), weights)

    def both(z: np.ndarray) -> float:
        return 0.7 * soft(z, S) + 0.3 * mean(-log_softmax(z)[np.arange(4), y], S)

    assert_loss(Distillation(temperature=2, mix=1), {"z": z}, {"teacher": teacher}, soft)
    loss = Distillation(temperature=2, mix=0.7, weighted=True)
    assert_loss(loss, {"z": z}, {"teacher": teacher, "target": y, "sample_weight": S}, both)

    def smoothed(z: np.ndarray) -> float:
        wanted = 0.8 * np.eye(5)[y] + 0.2 / 5
        return 0.7 * soft(z) + 0.3 * mean(-(wanted * log_softmax(z)).sum(1))

    loss = Distillation(temperature=2, mix=0.7, label_smoothing=0.2)
    assert_loss(loss, {"z": z}, {"teacher": teacher, "target": y}, smoothed)
    for mix in (0, 1.5):
        with pytest.raises(InputError, match=r"mix must be in \(0, 1\]"):
            Distillation(mix=mix)
    # A student that is its teacher has nothing to learn.
    value, gradients = evaluate(Distillation(mix=1), {"z": teacher}, {"teacher": teacher})
    assert abs(value) < 1e-12
    assert np.abs(gradients["z"]).max() < 1e-12


def test_a_sum_shares_inputs_of_one_name_and_refuses_unequal_ones() -> None:
    z, y, t = RNG.standard_normal((4, 5)), np.array([0, 1, 4, 4]), RNG.standard_normal((4, 3))
    loss = Sum(
        ((0.5, CrossEntropy(output="z", weighted=True)), (2.0, MeanSquaredError(output="a", target="t", weighted=True)))
    )
    assert_loss(
        loss, {"z": z, "a": A}, {"target": y, "t": t, "sample_weight": S},
        lambda z, a: 0.5 * mean(-log_softmax(z)[np.arange(4), y], S) + 2 * mean((a - t) ** 2, S),
    )  # fmt: skip
    with pytest.raises(InputError, match="different inputs of one name"):
        Sum(((1, CrossEntropy(output="z")), (1, MeanSquaredError(output="a")))).write(
            open_graph({"z": z, "a": A}), {"z": "z", "a": "a"}
        )


def dice_ce(z: np.ndarray, y: np.ndarray, ignore: int | None, weights: np.ndarray) -> float:
    q = np.moveaxis(log_softmax(z, 1), 1, -1)
    valid = np.ones(y.shape) if ignore is None else (y != ignore) * 1.0
    wanted = np.eye(z.shape[1])[np.where(valid > 0, y, 0)] * valid[..., None]
    pixel = valid * weights[:, None, None]
    surprise = (-(q * wanted).sum(-1) * pixel).sum() / pixel.sum()
    p = np.exp(q) * valid[..., None]
    ratio = (2 * (p * wanted).sum((1, 2)) + 1) / ((p + wanted).sum((1, 2)) + 1)
    return float(surprise + 0.5 * mean(1 - ratio, weights))


@pytest.mark.parametrize("ignore", [None, 255])
def test_dice_and_cross_entropy_is_its_formula(ignore: int | None) -> None:
    z, y = RNG.standard_normal((4, 3, 3, 2)), RNG.integers(0, 3, (4, 3, 2))
    if ignore:
        y[0, :2] = ignore
    loss = DiceCrossEntropy(dice=0.5, ignore_index=ignore, weighted=True)
    assert_loss(loss, {"z": z}, {"target": y, "sample_weight": S}, lambda z: dice_ce(z, y, ignore, S))
    assert_loss(
        DiceCrossEntropy(dice=0.5, ignore_index=ignore), {"z": z}, {"target": y},
        lambda z: dice_ce(z, y, ignore, np.ones(4)),
    )  # fmt: skip


def multi_box(
    z: np.ndarray, boxes: np.ndarray, y: np.ndarray, t: np.ndarray, focal: float, weights: np.ndarray, share: float,
    delta: float,
) -> float:  # fmt: skip
    """Boxes by the smooth L1 of Girshick 2015."""
    total = count = 0.0
    for n in range(len(y)):
        surprise = -log_softmax(z[n])[np.arange(y.shape[1]), np.maximum(y[n], 0)]
        matched = y[n] > 0
        if focal:
            counts = y[n] >= 0
            surprise = (1 - np.exp(-surprise)) ** focal * surprise
        else:
            background = np.flatnonzero(y[n] == 0)
            worst = background[np.argsort(-surprise[background], kind="stable")][: 3 * matched.sum()]
            counts = matched.copy()
            counts[worst] = True
        e = np.abs(boxes[n] - t[n])[matched]
        off = np.where(e <= delta, e**2 / (2 * delta), e - delta / 2).sum()
        total += weights[n] * (surprise[counts].sum() + share * off)
        count += weights[n] * matched.sum()
    return float(total / max(count, 1))


@pytest.mark.parametrize(("focal", "share", "delta"), [(0.0, 1.0, 1.0), (2.0, 1.0, 1.0), (0.0, 2.0, 0.5)])
@pytest.mark.parametrize("weighted", [False, True])
def test_multi_box_counts_matched_anchors_and_the_worst_background(
    focal: float, share: float, delta: float, weighted: bool
) -> None:
    z, boxes, t = RNG.standard_normal((4, 9, 3)), RNG.standard_normal((4, 9, 4)), RNG.standard_normal((4, 9, 4))
    y = np.zeros((4, 9), np.int64)
    y[0, [1, 5]], y[1, 3], y[2, :4], y[0, 7] = [1, 2], 1, 2, -1  # the last image has nothing, one anchor is ignored
    y[2, 8] = -1  # and is not taken for background where there is less of that than would count
    weights = S if weighted else np.ones(4)
    targets = {"target_classes": y, "target_boxes": t} | ({"sample_weight": S} if weighted else {})
    loss = MultiBox(focal=focal, box_weight=share, delta=delta, weighted=weighted)
    assert_loss(
        loss, {"scores": z, "boxes": boxes}, targets,
        lambda scores, boxes: multi_box(scores, boxes, y, t, focal, weights, share, delta),
    )  # fmt: skip


def test_a_batch_without_any_object_has_no_box_loss() -> None:
    zeros = {"scores": np.zeros((2, 5, 3), np.float32), "boxes": np.ones((2, 5, 4), np.float32)}
    targets = {"target_classes": np.zeros((2, 5), np.int64), "target_boxes": np.zeros((2, 5, 4), np.float32)}
    value, gradients = evaluate(MultiBox(), zeros, targets)
    assert value == 0
    assert not any(gradient.any() for gradient in gradients.values())


def test_torch_agrees() -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    f = torch.nn.functional
    a, b, c = (torch.tensor(x, requires_grad=True) for x in (A, B, C))
    y = torch.tensor([1, -1, 1, -1])
    t = torch.tensor(B * 2)
    cases = [
        (MeanSquaredError(), {"a": A}, {"target": B * 2}, f.mse_loss(a, t)),
        (Huber(delta=0.3), {"a": A}, {"target": B * 2}, f.huber_loss(a, t, delta=0.3)),
        (
            CosineEmbedding(first="a", second="b", margin=0.1), {"a": A, "b": B}, {"target": y.numpy()},
            f.cosine_embedding_loss(a, b, y, margin=0.1),
        ),
        (
            Triplet(anchor="a", positive="b", negative="c", margin=2.0), {"a": A, "b": B, "c": C}, {},
            f.triplet_margin_loss(a, b, c, margin=2.0),
        ),
        (
            Distillation(mix=1, temperature=3), {"a": A}, {"teacher": B * 2},
            9 * f.kl_div(f.log_softmax(a / 3, 1), f.softmax(t / 3, 1), reduction="batchmean"),
        ),
    ]  # fmt: skip
    for loss, outputs, targets, expected in cases:
        for tensor in (a, b, c):
            tensor.grad = None
        expected.backward()
        value, gradients = evaluate(loss, outputs, targets)
        np.testing.assert_allclose(value, expected.item(), rtol=1e-9, err_msg=str(loss))
        for name, tensor in (("a", a), ("b", b), ("c", c)):
            if name in gradients:
                np.testing.assert_allclose(gradients[name], tensor.grad.numpy(), atol=1e-9, err_msg=str(loss))
