"""Channels that stand and fall together: taking them out gives what zeroing their weights gives."""

import numpy as np
import onnx
import pytest
from onnx import helper
from tests.compress.prune.masking import masked, noisy, run, some
from tests.compress.prune.random_networks import Drawn
from tests.networks.cases import CASES, feeds

from edgewise.compress.cutting import cut
from edgewise.compress.prune.cost import multiply_adds, stored_bytes
from edgewise.compress.prune.coupling import couple
from edgewise.compress.prune.shrink import shrunk
from edgewise.graph.writer import Writer
from edgewise.networks.registry import build


@pytest.mark.parametrize("seed", range(40))
def test_pruned_is_masked_for_random_networks(seed: int) -> None:
    model = Drawn(seed).model(5)
    coupling = couple(model)
    gone = some(coupling, 0.4, seed)
    assert gone
    small = shrunk(coupling, gone)
    onnx.checker.check_model(small, full_check=True)
    x = {"x": np.random.default_rng(seed).normal(size=(2, 3, 8, 8)).astype(np.float32)}
    (expected,), (found,), (before,) = run(masked(coupling, gone), x), run(small, x), run(model, x)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert np.abs(before - expected).max() > 1e-3 * np.abs(before).max()
    assert multiply_adds(small) < multiply_adds(model)
    assert stored_bytes(small) < stored_bytes(model)


@pytest.mark.parametrize("case", CASES)
def test_pruned_is_masked_for_every_reference_network(case: str) -> None:
    kind, config, _ = CASES[case]
    model = noisy(build(kind, config, 0), 1)
    parts = cut(model)
    coupling = couple(parts.core)
    gone = some(coupling, 0.3, 2)
    assert gone
    fed = feeds(model, 2)
    found, expected = run(parts.whole(shrunk(coupling, gone)), fed), run(parts.whole(masked(coupling, gone)), fed)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * max(np.abs(other).max(), 1))


@pytest.mark.parametrize("case", ["encoder", "encoder of tokens", "text-bag of everything"])
def test_widths_under_a_layer_normalisation_shrink_too_though_zeros_do_not_stand_for_them(case: str) -> None:
    kind, config, outputs = CASES[case]
    model = build(kind, config, 0)
    parts = cut(model)
    coupling = couple(parts.core)
    (blurred,) = [family for family in coupling.families if not family.units[0].exact]
    assert blurred.name == "embedding.weight"
    small = parts.whole(shrunk(coupling, some(coupling, 0.5, 0, exact=False)))
    (logits,) = run(small, feeds(model, 2))
    assert logits.shape == (2, *outputs["logits"])
    assert np.isfinite(logits).all()


def test_heads_of_attention_are_units_of_all_their_projections() -> None:
    coupling = couple(build("encoder", CASES["encoder"][1], 0))
    (family,) = [family for family in coupling.families if family.name == "layer1.attention.qkv.weight"]
    assert len(family.units) == 4
    stored = {(place.tensor, place.axis): len(place.indices) for place in family.units[0].places if place.stored}
    assert stored == {
        ("layer1.attention.qkv.weight", 1): 48, ("layer1.attention.qkv.bias", 0): 48, ("layer1.attention.out.weight", 0): 16,
    }  # fmt: skip


def test_hidden_units_of_a_recurrent_layer_are_units_of_all_gates() -> None:
    coupling = couple(cut(build("gru", CASES["gru"][1], 0)).core)
    (family,) = coupling.families
    stored = {(place.tensor, place.axis): len(place.indices) for place in family.units[0].places if place.stored}
    assert stored["gru1.recurrent", 1] == 3
    assert stored["gru1.recurrent", 2] == 1
    assert stored["gru1.bias", 1] == 6


def test_what_is_not_understood_stays_with_the_operator_and_node_as_reason() -> None:
    drawn = Drawn(0)
    x = drawn.conv(drawn.x, 8)
    spread = drawn.w.split("DepthToSpace", 1, x, blocksize=2)[0]
    y = drawn.conv(spread, 4)
    drawn.w.output("y", y, "float32", ["batch", 4, 16, 16])
    drawn.w.infer()
    coupling = couple(drawn.w.model)
    assert coupling.families == ()
    assert coupling.pinned["w1.weight", 0] == "DepthToSpace DepthToSpace: how channels go through it is not known"
    assert coupling.pinned["w1.weight", 1] == "it is an input of the model"


def test_a_computed_target_of_a_reshape_keeps_its_channels() -> None:
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Conv", ["x", "w"], ["c"], "c"),
                helper.make_node("Reshape", ["c", "target"], ["y"], "r"),
            ],
            "g",
            [
                helper.make_tensor_value_info("x", 1, [2, 3, 4, 4]),
                helper.make_tensor_value_info("target", 7, [2]),
            ],
            [helper.make_tensor_value_info("y", 1, [None, None])],
            [onnx.numpy_helper.from_array(np.ones((6, 3, 1, 1), np.float32), "w")],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
    )
    coupling = couple(model)
    assert coupling.families == ()
    assert coupling.pinned["w", 0] == "Reshape r: its target is computed"


def test_shared_weights_tie_the_layers_that_share_them() -> None:
    drawn = Drawn(3)
    x = drawn.conv(drawn.x, 6)
    shared = drawn.weight(6, 6, 1, 1)
    for _ in range(2):
        x = drawn.w.node("Relu", drawn.w.node("Conv", x, shared))
    y = drawn.conv(x, 2)
    drawn.w.output("y", y, "float32", ["batch", 2, 8, 8])
    drawn.w.infer()
    coupling = couple(Writer(drawn.w.model).model)
    (family,) = coupling.families
    assert len(family.units) == 6
    assert {place.tensor for place in family.units[0].places if place.stored} == {
        "w1.weight", "w2.weight", "w3.weight", "w4.weight",
    }  # fmt: skip


def test_channels_that_meet_a_value_of_unknown_shape_stay() -> None:
    drawn = Drawn(1)
    x = drawn.conv(drawn.x, 8)
    unknown = drawn.w.node("Mystery", drawn.x, domain="somewhere")
    y = drawn.w.node("Conv", drawn.w.node("Add", x, unknown), drawn.weight(4, 8, 1, 1))
    drawn.w.output("y", y, "float32", ["batch", 4, 8, 8])
    drawn.w.infer()
    coupling = couple(drawn.w.model)
    assert coupling.families == ()
    assert coupling.pinned["w1.weight", 0].startswith("Add Add: ")
