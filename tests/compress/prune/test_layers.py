"""Whole residual blocks left out."""

import numpy as np
import pytest
from onnx import numpy_helper
from tests.compress.prune.digits_cnn import digits, learnt
from tests.compress.prune.masking import noisy, run
from tests.networks.cases import CASES, feeds

from edgewise.compress.cutting import cut
from edgewise.compress.prune.cost import stored_bytes
from edgewise.compress.prune.layers import LeaveOut, residual_blocks, without
from edgewise.compress.samples import Samples
from edgewise.errors import UnsupportedError
from edgewise.measure.dataset import Dataset
from edgewise.networks.registry import build
from edgewise.training.step.assembly import with_weights


@pytest.mark.parametrize(
    ("case", "count"), [("resnet8", 1), ("resnet20", 7), ("encoder", 4), ("encoder of tokens", 4), ("cnn", 0)]
)
def test_blocks_that_keep_their_shape_are_found(case: str, count: int) -> None:
    kind, config, _ = CASES[case]
    assert len(residual_blocks(cut(build(kind, config, 0)).core)) == count


def test_leaving_out_equals_a_block_that_gives_zeros() -> None:
    kind, config, _ = CASES["encoder"]
    model = noisy(build(kind, config, 0), 0)
    last = {block.made: block for block in residual_blocks(model)}["layer1.added2"]
    zeros = {
        tensor.name: np.zeros_like(numpy_helper.to_array(tensor)) for tensor in model.graph.initializer
        if tensor.name in {"layer1.down.weight", "layer1.down.bias"}
    }  # fmt: skip
    assert len(zeros) == 2
    small, fed = without(model, last), feeds(model, 2)
    np.testing.assert_allclose(run(small, fed)[0], run(with_weights(model, zeros), fed)[0], rtol=1e-4, atol=1e-5)
    assert last.weights >= stored_bytes(model) // 4 - stored_bytes(small) // 4 > 128 * 64 * 2


def test_the_block_that_changes_the_answers_least_goes_first() -> None:
    kind, config, _ = CASES["resnet20"]
    model = noisy(build(kind, config, 0), 1)
    core = cut(model).core
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in core.graph.initializer}
    quiet = {name: array * np.float32(1e-3) for name, array in arrays.items() if name.startswith("stage2.block3.second.bn")
             and not name.endswith(("mean", "var"))}  # fmt: skip
    assert len(quiet) == 2
    model = with_weights(model, quiet)
    x = feeds(model, 8)
    ((name, images),) = x.items()
    samples = Samples(Dataset(images, np.zeros(8, np.int64)), "classification", name, "logits")
    small = LeaveOut(count=8, tuning=None).apply(model, samples)
    stored = {tensor.name for tensor in cut(small).core.graph.initializer}
    assert not any(name.startswith("stage2.block3") for name in stored)
    assert len(residual_blocks(cut(small).core)) == 6


def test_a_network_without_such_blocks_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="0 of 1 blocks left out"):
        LeaveOut(tuning=None).apply(learnt(), digits())
