"""Bias correction takes the mean error of each layer out, and the answers come nearer."""

from dataclasses import replace

import numpy as np
import pytest
from tests.compress.quantize.small import between_convolutions, case, decibels, fused, run

from edgewise.compress.graph.compact import Compact
from edgewise.compress.quantize.bias_correction import BiasCorrected, corrected
from edgewise.compress.quantize.preparation import prepare
from edgewise.compress.quantize.ranges import watched
from edgewise.compress.quantize.static import Static
from edgewise.compress.quantize.weight_only import Storage
from edgewise.errors import UnsupportedError

STATIC = Static(count=32, weights="tensor")


@pytest.mark.parametrize("bias", ["int32", "float32"])
def test_every_layer_has_the_mean_that_it_had_in_floats(bias: str) -> None:
    model, samples, fed = case("ds-cnn")
    before = prepare(model).core
    small = replace(STATIC, bias=bias).apply(model, samples)
    fixed = corrected(small, before, lambda: [fed])
    sums = [node.output[0] for node in before.graph.node if node.op_type in {"Conv", "Gemm"}]

    def means(of: object, optimised: bool) -> list[np.ndarray]:
        session, names = watched(of, sums, optimised=optimised)  # type: ignore[arg-type]
        return [each.mean(axis=(0, *range(2, each.ndim))) for each in session.run(names, fed)]

    named = {node.name: node.output[0] for node in fixed.graph.node}
    assert [named[node.name] for node in before.graph.node if node.output[0] in sums] == sums
    wanted, uncorrected, given = means(before, True), means(small, False), means(fixed, False)
    for float_mean, rough, mean in zip(wanted, uncorrected, given, strict=True):
        assert np.abs(mean - float_mean).max() <= 0.2 * np.abs(rough - float_mean).max() + 1e-4


@pytest.mark.parametrize("name", ["ds-cnn", "resnet8"])
def test_answers_come_nearer(name: str) -> None:
    model, samples, fed = case(name)
    plain, better = (replace(STATIC, correct=each).apply(model, samples) for each in (False, True))
    wanted = run(model, fed)
    assert decibels(wanted, run(better, fed)) > decibels(wanted, run(plain, fed)) + 1


def test_a_layer_without_a_bias_gets_one_and_stays_in_integers() -> None:
    model, samples, fed = between_convolutions([("Relu", ["a"], ["b"], {})])
    wanted = run(model, fed)
    plain, better = (replace(STATIC, count=64, correct=each).apply(model, samples) for each in (False, True))
    assert fused(better)["QLinearConv"] == 2
    channels = [np.abs((run(each, fed) - wanted).mean(axis=(0, 2, 3))).max() for each in (plain, better)]
    assert channels[1] < 0.5 * channels[0]


def test_it_corrects_stored_weights_of_another_pass() -> None:
    model, samples, fed = case("cnn")
    inner = Storage(bits=4)
    wanted = run(model, fed)
    plain, better = (run(each.apply(model, samples), fed) for each in (inner, BiasCorrected(inner=inner, count=32)))
    assert decibels(wanted, better) > decibels(wanted, plain) + 1
    assert BiasCorrected(inner=inner).name == f"{inner.name}+bias-correction:n=200"


def test_models_without_a_layer_in_common_are_refused() -> None:
    model, samples, _ = case("cnn")
    with pytest.raises(UnsupportedError, match="no Conv, ConvTranspose or Gemm"):
        BiasCorrected(inner=Compact()).apply(model, samples)  # which takes the names away
