"""Linear to linear through fewer directions: exact where nothing is lost, refused where something else is in between."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto
from tests.compress.prune import linear_networks
from tests.compress.prune.digits_cnn import accuracy, digits, learnt
from tests.compress.prune.masking import run

from edgewise.compress.cutting import cut
from edgewise.compress.prune.cost import multiply_adds, stored_bytes
from edgewise.compress.prune.factors import split, wide_layers
from edgewise.compress.prune.lowrank import LowRank
from edgewise.compress.prune.narrow import narrowed
from edgewise.compress.prune.projection import heard_of, measured
from edgewise.compress.prune.ranks import Place, chosen_ranks, widths
from edgewise.compress.prune.spaces import linear_spaces
from edgewise.compress.quantize.preparation import Prepared
from edgewise.compress.quantize.ranges import watched
from edgewise.compress.tuning import Tuning
from edgewise.errors import InputError, UnsupportedError
from edgewise.training.rewrites.opening import opened

Drawn = Callable[[int], ModelProto]
DRAWN = (linear_networks.bag, linear_networks.residual, linear_networks.chain, linear_networks.gates)


def in_its_basis(model: ModelProto, rank: int | None = None) -> tuple[ModelProto, int]:
    """Every space turned, and as wide as before or ``rank``; and how many spaces there are."""
    samples, parts = linear_networks.samples(model), cut(model)
    writer = opened(parts.core)
    spaces, _ = linear_spaces(writer)
    axes = {reader.value: reader.seen.axis for space in spaces for reader in space.readers}
    batches = Prepared(parts, writer.model).batches(samples, 64)
    moments = measured(watched(writer.model, list(axes))[0], axes, batches())
    plans = [(space, heard_of(writer, space, moments), rank or space.width) for space in spaces]
    return parts.whole(narrowed(writer.model, plans, moments)), len(spaces)


@pytest.mark.parametrize("drawn", DRAWN)
@pytest.mark.parametrize("seed", range(6))
def test_at_full_rank_every_answer_stays_as_it_was(drawn: Drawn, seed: int) -> None:
    model = drawn(seed)
    turned, count = in_its_basis(model)
    assert count >= 1
    feeds = {"x": linear_networks.samples(model, 32, seed=1).data.x}
    np.testing.assert_allclose(run(turned, feeds)[0], run(model, feeds)[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_what_lies_in_few_directions_goes_through_as_few_of_them(seed: int) -> None:
    model = linear_networks.bag(seed)
    chance = np.random.default_rng(seed)
    table = next(tensor for tensor in model.graph.initializer if tuple(tensor.dims) == (30, 12))
    rows = chance.normal(size=(30, 4)) @ chance.normal(size=(4, 12))
    table.raw_data = (rows + chance.normal(size=12)).astype(np.float32).tobytes()
    # Rows of 4 directions and a fifth, since weights of a bag do not sum up to one.
    thin, _ = in_its_basis(model, 5)
    assert (30, 5) in [tuple(tensor.dims) for tensor in thin.graph.initializer]
    feeds = {"x": linear_networks.samples(model, 32, seed=1).data.x}
    np.testing.assert_allclose(run(thin, feeds)[0], run(model, feeds)[0], rtol=1e-3, atol=1e-4)


def test_directions_that_no_reader_hears_are_not_kept() -> None:
    net = linear_networks.Net(0)
    x = net.w.input("x", "float32", ["batch", 8])
    made = net.w.node("Gemm", x, net.weight(8, 10))
    deaf = np.random.default_rng(1).normal(size=(10, 3)).astype(np.float32)
    model = net.finish(net.w.node("MatMul", made, net.w.store("deaf", deaf)))
    thin = LowRank(share=None, heard=0.999, multiple=1, tuning=None).apply(model, linear_networks.samples(model))
    assert (8, 3) in [tuple(tensor.dims) for tensor in thin.graph.initializer]
    feeds = {"x": linear_networks.samples(model, 8, seed=1).data.x}
    np.testing.assert_allclose(run(thin, feeds)[0], run(model, feeds)[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("drawn", [linear_networks.residual, linear_networks.chain])
@pytest.mark.parametrize("seed", range(3))
def test_layers_divided_at_full_rank_answer_as_before(drawn: Drawn, seed: int) -> None:
    model = drawn(seed)
    samples, writer = linear_networks.samples(model), opened(model)
    layers = wide_layers(writer, set())
    axes = {layer.result: layer.axis for layer in layers}
    moments = measured(watched(writer.model, list(axes))[0], axes, samples.feeds(64))
    thin = split(writer.model, [(layer, layer.outputs) for layer in layers], moments)
    assert len(thin.graph.node) > len(model.graph.node)
    feeds = {"x": linear_networks.samples(model, 8, seed=1).data.x}
    np.testing.assert_allclose(run(thin, feeds)[0], run(model, feeds)[0], rtol=1e-3, atol=1e-4)


def test_a_share_of_the_bytes_is_reached_and_the_model_is_left_alone() -> None:
    model = linear_networks.bag(0)
    before = model.SerializeToString()
    thin = LowRank(share=0.5, tuning=None).apply(model, linear_networks.samples(model))
    assert model.SerializeToString() == before
    assert stored_bytes(thin) < 0.7 * stored_bytes(model)
    assert thin.graph.input == model.graph.input
    assert [value.name for value in thin.graph.output] == ["y"]


def test_what_narrows_most_for_what_it_loses_is_narrowed_first() -> None:
    """Two tables of one size, one of them of two directions: it gives the bytes."""
    net = linear_networks.Net(3)
    w, ids = net.w, net.w.input("x", "int64", ["batch", 5])
    chance = np.random.default_rng(0)
    tables = [
        w.store("poor", (chance.normal(size=(30, 2)) @ chance.normal(size=(2, 16))).astype(np.float32)),
        w.store("rich", chance.normal(size=(30, 16)).astype(np.float32)),
    ]
    summed = [w.node("ReduceSum", w.node("Gather", table, ids), w.ints(1), keepdims=0) for table in tables]
    heads = [w.node("Gemm", each, net.weight(16, 12)) for each in summed]
    model = net.finish(w.node("Mul", *(w.node("Relu", head) for head in heads)))
    thin = LowRank(share=0.6, multiple=1, tuning=None).apply(model, linear_networks.samples(model))
    sizes = {tensor.name: tensor.dims[1] for tensor in thin.graph.initializer if tensor.name in {"poor", "rich"}}
    assert sizes["poor"] <= 4
    assert sizes["rich"] >= 12


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(4, 40), min_size=1, max_size=4), st.floats(0.1, 0.9), st.integers(0, 1000))
def test_widths_meet_the_goal_and_no_place_could_stay_wider(wide: list[int], share: float, seed: int) -> None:
    chance = np.random.default_rng(seed)
    places = [Place(width, np.sort(chance.random(width))[::-1] ** 3, widths(width, 1)) for width in wide]
    prices = chance.uniform(1, 5, len(wide))

    def cost(ranks: Sequence[int]) -> float:
        return float(np.dot(prices, ranks))

    goal = share * cost(wide)
    ranks, left = chosen_ranks(places, cost, goal)
    assert left == cost(ranks)
    if left > goal:
        assert ranks == [1] * len(wide)
        return
    narrowed_last = [rank for rank, width in zip(ranks, wide, strict=True) if rank < width]
    assert narrowed_last
    wider = [cost([*ranks[:at], rank + 1, *ranks[at + 1 :]]) > goal for at, rank in enumerate(ranks) if rank < wide[at]]
    assert any(wider)


@pytest.mark.parametrize(
    ("width", "multiple", "first"), [(256, 16, 240), (250, 16, 240), (32, 16, 24), (10, 16, 8), (3, 16, 2)]
)
def test_widths_are_multiples_where_there_is_room_for_them(width: int, multiple: int, first: int) -> None:
    assert widths(width, multiple)[0] == first


def test_a_network_without_linear_spaces_is_divided_behind_its_preprocessing() -> None:
    model = learnt()
    few = LowRank(
        share=0.5,
        of="multiply-adds",
        divide=True,
        multiple=1,
        count=256,
        tuning=Tuning(epochs=2, batch=32, learning_rate=1e-3),
    )
    thin = few.apply(model, digits())
    assert multiply_adds(cut(thin).core) < 0.55 * multiply_adds(cut(model).core)
    assert cut(thin).front == cut(model).front
    assert accuracy(thin) > accuracy(model) - 0.02


def test_of_a_recurrent_layer_the_input_alone_becomes_narrower() -> None:
    model = linear_networks.gates(0)
    thin = LowRank(share=0.5, of="multiply-adds", multiple=1, tuning=None).apply(model, linear_networks.samples(model))
    assert (30, 6) in [tuple(tensor.dims) for tensor in thin.graph.initializer]


def test_models_with_activations_behind_every_layer_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"between linear layers alone: .*Relu \(.*\) reads it"):
        LowRank().apply(learnt(), linear_networks.samples(linear_networks.chain(0)))


def test_a_table_that_somebody_else_reads_and_a_value_that_is_an_output_stay() -> None:
    net = linear_networks.Net(0)
    ids, table = net.w.input("x", "int64", ["batch", 5]), net.weight(30, 12)
    rows = net.w.node("Gather", table, ids)
    model = net.finish(net.w.node("MatMul", rows, net.w.node("Transpose", table, perm=[1, 0])))  # tied to the answers
    spaces, reasons = linear_spaces(opened(model))
    assert (spaces, reasons) == ((), {})
    open_end = linear_networks.Net(0)
    x = open_end.gemm(open_end.w.input("x", "float32", ["batch", 7]), 7, 5)
    spaces, reasons = linear_spaces(opened(open_end.finish(open_end.w.node("Identity", x))))
    assert not spaces
    assert "is an output of the model" in next(iter(reasons.values()))


def test_padding_between_two_convolutions_keeps_them_apart() -> None:
    """Zeros around a value are no zeros in another basis once a mean is taken off."""
    net = linear_networks.Net(1)
    x = net.w.input("x", "float32", ["batch", 3, 6, 6])
    model = net.finish(net.conv(net.conv(x, 3, 8), 8, 4, 3))
    spaces, reasons = linear_spaces(opened(model))
    assert not spaces
    assert "Conv" in next(iter(reasons.values()))


def test_names_tell_settings_apart_and_only_one_goal_is_set() -> None:
    plain = LowRank()
    others = [
        replace(plain, share=0.3), replace(plain, of="multiply-adds"), replace(plain, share=None, rank=8),
        replace(plain, share=None, heard=0.9), replace(plain, multiple=8), replace(plain, divide=True), replace(plain, count=9),
        replace(plain, tuning=None), replace(plain, tuning=Tuning(batch=9)),
    ]  # fmt: skip
    assert len({each.name for each in (plain, *others)}) == 10
    assert len({each.describe() for each in (plain, *others)}) > 5
    for wrong in ({"share": None}, {"rank": 4}, {"share": 1.0}, {"multiple": 0}, {"share": None, "rank": 0}):
        with pytest.raises(InputError):
            LowRank(**wrong)  # type: ignore[arg-type]


def test_what_is_narrow_already_says_so() -> None:
    model = linear_networks.bag(0)
    with pytest.raises(UnsupportedError, match="wider"):
        LowRank(share=None, rank=64, tuning=None).apply(model, linear_networks.samples(model))
