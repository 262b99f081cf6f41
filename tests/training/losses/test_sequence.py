"""CTC equals the sum over all alignments, written out, and torch's."""

import itertools

import numpy as np
import pytest
from tests.training.loss_graphs import assert_loss, evaluate

from edgewise.errors import InputError
from edgewise.training.losses.registry import Ctc

RNG = np.random.default_rng(2)


def log_softmax(z: np.ndarray) -> np.ndarray:
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def by_enumeration(z: np.ndarray, labels: list[int], blank: int) -> float:
    """-log of the summed probability of every path (T,) that reads as ``labels``."""
    likely, total = log_softmax(z), 0.0
    for path in itertools.product(range(z.shape[1]), repeat=len(z)):
        merged = [k for at, k in enumerate(path) if at == 0 or path[at - 1] != k]
        if [k for k in merged if k != blank] == labels:
            total += np.exp(likely[np.arange(len(z)), list(path)].sum())
    return -np.log(total) if total else np.inf


LABELS = np.array([[1, 2, 0], [2, 2, 1], [1, 0, 2], [0, 0, 0]])
COUNTS = np.array([2, 3, 1, 0])
FRAMES = np.array([4, 5, 3, 5])
Z = RNG.standard_normal((4, 5, 4))
TARGETS = {"target": LABELS, "target_length": COUNTS, "input_length": FRAMES}


@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("per_label", [False, True])
def test_ctc_is_the_sum_over_all_alignments(time_major: bool, per_label: bool) -> None:
    blank, share = 3, np.array([1.0, 2.0, 0.5, 0.0])

    def formula(z: np.ndarray) -> float:
        z = z.transpose(1, 0, 2) if time_major else z
        each = [
            by_enumeration(z[n, : FRAMES[n]], list(LABELS[n, : COUNTS[n]]), blank)
            / (max(COUNTS[n], 1) if per_label else 1)
            for n in range(4)
        ]
        return float((np.array(each) * share).sum() / share.sum())

    loss = Ctc(longest=3, blank=blank, time_major=time_major, per_label=per_label, weighted=True)
    z = Z.transpose(1, 0, 2) if time_major else Z
    assert_loss(loss, {"z": z}, TARGETS | {"sample_weight": share}, formula, static=time_major)


def test_labels_without_room_are_infinite_or_left_out() -> None:
    # 2, 2, 1 needs a blank between the equal labels: four frames at least.
    targets = {
        "target": np.array([[2, 2, 1], [1, 2, 1]]), "target_length": np.array([3, 3]), "input_length": np.array([3, 3]),
    }  # fmt: skip
    z = Z[:2, :3].astype(np.float32)
    value, _ = evaluate(Ctc(longest=3, blank=0), {"z": z}, targets)
    assert value == np.inf
    value, gradients = evaluate(Ctc(longest=3, blank=0, zero_infinity=True), {"z": z}, targets)
    np.testing.assert_allclose(value, by_enumeration(z[1].astype(np.float64), [1, 2, 1], 0) / 3 / 2, rtol=1e-5)
    assert not gradients["z"][0].any()
    assert np.isfinite(gradients["z"]).all()


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_torch_agrees_on_ctc(kind: str) -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    count, time, classes, longest = 6, 40, 12, 11
    z = (RNG.standard_normal((count, time, classes)) * 3).astype(kind)
    labels = RNG.integers(1, classes, (count, longest))
    lengths, frames = RNG.integers(1, longest + 1, count), RNG.integers(25, time + 1, count)
    lengths[0], frames[0] = 11, 10  # impossible
    t = torch.tensor(z, requires_grad=True)
    expected = torch.nn.functional.ctc_loss(
        t.log_softmax(2).transpose(0, 1), torch.tensor(labels), torch.tensor(frames), torch.tensor(lengths),
        zero_infinity=True,
    )  # fmt: skip
    expected.backward()
    targets = {"target": labels, "target_length": lengths, "input_length": frames}
    value, gradients = evaluate(Ctc(longest=longest, zero_infinity=True), {"z": z}, targets)
    np.testing.assert_allclose(value, expected.item(), rtol=1e-5 if kind == "float32" else 1e-10)
    np.testing.assert_allclose(gradients["z"], t.grad.numpy(), atol=2e-5 if kind == "float32" else 1e-10)


def test_wrong_choices_are_refused_in_words() -> None:
    with pytest.raises(InputError, match="longest"):
        Ctc(longest=0)
    with pytest.raises(InputError, match="blank is class 9 of 4"):
        evaluate(Ctc(longest=1, blank=9), {"z": Z}, TARGETS)
