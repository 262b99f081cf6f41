"""Mixed precision keeps the worst layers in float, as many as the target needs and no more."""

from dataclasses import replace

import pytest
from tests.compress.quantize.small import case, decibels, fused, run

from edgewise.compress.quantize.aware import Aware
from edgewise.compress.quantize.mixed import Mixed, sensitivities, sqnr
from edgewise.compress.quantize.static import Static, start
from edgewise.compress.tuning import Tuning
from edgewise.errors import UnsupportedError

STATIC = Static(count=32)


def test_sensitivities_are_of_every_layer_the_worst_first_and_measured_alone() -> None:
    model, samples, fed = case("cnn")
    found = sensitivities(start(model, samples, STATIC), samples)
    layers = [node.name for node in model.graph.node if node.op_type in {"Conv", "Gemm"}]
    assert sorted(each.layer for each in found) == sorted(layers)
    assert [each.sqnr for each in found] == sorted(each.sqnr for each in found)
    others = tuple(name for name in layers if name != found[0].layer)
    alone = replace(STATIC, keep=others).apply(model, samples)
    assert decibels(run(model, fed), run(alone, fed)) == pytest.approx(found[0].sqnr, abs=0.5)
    assert all(0 <= each.flips < 0.2 for each in found)


def test_a_share_of_the_layers_stays_in_float_the_worst_ones() -> None:
    model, samples, fed = case("cnn")
    plain, mixed = (each.apply(model, samples) for each in (STATIC, Mixed(inner=STATIC, share=0.5)))
    operators = fused(mixed)
    assert operators["QLinearConv"] + operators["QGemm"] == 2
    assert decibels(run(model, fed), run(mixed, fed)) > decibels(run(model, fed), run(plain, fed)) + 1


def test_a_floor_is_reached_with_the_fewest_layers_in_float() -> None:
    model, samples, fed = case("cnn")
    wanted = run(model, fed)
    floor = sqnr(wanted, run(STATIC.apply(model, samples), fed)) + 3
    mixed = Mixed(inner=STATIC, floor=floor).apply(model, samples)
    assert sqnr(wanted, run(mixed, fed)) > floor - 0.1
    kept = 4 - fused(mixed)["QLinearConv"] - fused(mixed)["QGemm"]
    fewer = Mixed(inner=STATIC, share=(kept - 1) / 4).apply(model, samples)
    assert kept >= 1
    assert sqnr(wanted, run(fewer, fed)) < floor + 0.1


def test_a_floor_below_what_all_integers_give_keeps_nothing_in_float() -> None:
    model, samples, _ = case("cnn")
    assert fused(Mixed(inner=STATIC, floor=10).apply(model, samples)) == fused(STATIC.apply(model, samples))


def test_a_floor_out_of_reach_is_refused_with_the_nearest() -> None:
    model, samples, _ = case("cnn")
    with pytest.raises(UnsupportedError, match=r"300 dB are not reached: with '.*' alone in integers it is \d\d"):
        Mixed(inner=STATIC, floor=300).apply(model, samples)


def test_bytes_that_are_to_spare_go_to_the_most_sensitive_layers() -> None:
    model, samples, fed = case("cnn")
    plain = STATIC.apply(model, samples)
    for extra in (2000, 10_000, 60_000):
        mixed = Mixed(inner=STATIC, extra=extra).apply(model, samples)
        assert mixed.ByteSize() <= plain.ByteSize() + extra + 1000  # and some nodes
        assert fused(mixed)["QLinearConv"] + fused(mixed)["QGemm"] < 4
    assert decibels(run(model, fed), run(mixed, fed)) > decibels(run(model, fed), run(plain, fed)) + 1


def test_what_is_learnt_with_rounding_leaves_the_same_layers_in_float() -> None:
    model, samples, _ = case("cnn")
    aware = Aware(static=STATIC, tuning=Tuning(epochs=1), rounding=0)
    still, learnt = (Mixed(inner=inner, share=0.5).apply(model, samples) for inner in (STATIC, aware))
    assert fused(still) == fused(learnt)
    assert still.SerializeToString() != learnt.SerializeToString()


def test_one_target_is_needed_and_the_name_says_it() -> None:
    with pytest.raises(ValueError, match="one of share, extra and floor"):
        Mixed()
    assert Mixed(share=0.25).name == f"mixed:share=0.25;{Static().name}"
    assert "most sensitive 25% of the layers left in float" in Mixed(share=0.25).describe()
