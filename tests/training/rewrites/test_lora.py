"""Adapters start as nothing, learn beside the weight, and merge into it without a trace."""

import numpy as np
import pytest
from onnx import helper
from tests.training.loss_graphs import run
from tests.training.small_models import convolutions, images, model_of

from edgewise.autodiff.differentiate import differentiate
from edgewise.errors import InputError
from edgewise.graph.writer import Writer
from edgewise.training.rewrites.lora import Adapted, add_lora, merge

RNG = np.random.default_rng(9)
NODES = ("conv", "dw", "grouped", "gemm", "mm")


def trained(found: Adapted) -> tuple[Writer, dict[str, np.ndarray]]:
    """The adapted graph with other values in its adapters."""
    w = Writer(found.model)
    values = {name: RNG.standard_normal(w.array(name).shape).astype(np.float32) for name in found.trainable}
    for tensor in [t for t in w.graph.initializer if t.name in values]:
        w.graph.initializer.remove(tensor)
    for name, value in values.items():
        w.store(name, value)
    return w, values


def test_an_untrained_adapter_changes_nothing() -> None:
    found = add_lora(convolutions(), 2)
    assert tuple(a.node for a in found.adapters) == NODES
    np.testing.assert_array_equal(run(found.model, {"x": images()})[0], run(convolutions(), {"x": images()})[0])


@pytest.mark.parametrize("alpha", [None, 3.0])
def test_the_merged_model_gives_the_outputs_of_the_adapted_one(alpha: float | None) -> None:
    """Strided, depthwise and grouped convolutions, Gemm with transB and a factor of its own, MatMul."""
    found = add_lora(convolutions(), 2, alpha=alpha)
    w, values = trained(found)
    merged = merge(convolutions(), found.adapters, values)
    expected = run(w.model, {"x": images()})[0]
    np.testing.assert_allclose(run(merged, {"x": images()})[0], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert [node.op_type for node in merged.graph.node] == [node.op_type for node in convolutions().graph.node]
    assert len(merged.graph.initializer) == len(convolutions().graph.initializer)


def test_the_delta_of_a_matrix_is_the_papers() -> None:
    weight = RNG.standard_normal((4, 3)).astype(np.float32)
    plain = model_of([helper.make_node("MatMul", ["x", "w"], ["y"], "mm")], {"w": weight}, ["n", 4])
    found = add_lora(plain, 2, alpha=8)
    (adapter,) = found.adapters
    w, values = trained(found)
    x = RNG.standard_normal((5, 4)).astype(np.float32)
    expected = x @ (weight + 4 * values[adapter.down] @ values[adapter.up])
    np.testing.assert_allclose(run(w.model, {"x": x})[0], expected, rtol=1e-4, atol=1e-4)


def test_gradients_reach_both_factors() -> None:
    found = add_lora(convolutions(), 2, ["mm", "conv"])
    w, _ = trained(found)
    total = w.node("ReduceSum", w.node("Mul", "y", "y"), keepdims=0)
    w.infer()
    gradients = differentiate(w, total, list(found.trainable)).gradients
    for name in found.trainable:
        w.output(f"d_{name}", gradients[name], "float32", None)
    results = run(w.model, {"x": images()}, [f"d_{name}" for name in found.trainable])
    assert all(np.abs(result).max() > 0 for result in results)


def test_a_seed_names_the_start() -> None:
    first, again, other = (add_lora(convolutions(), 2, seed=seed) for seed in (1, 1, 2))
    assert first.model == again.model
    assert first.model != other.model
    down = Writer(first.model).array(first.adapters[3].down)
    assert 0.2 < np.std(down) * np.sqrt(6) < 2


def test_a_weight_that_other_nodes_share_stays_theirs() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "m1"),
        helper.make_node("MatMul", ["a", "w"], ["y"], "m2"),
    ]
    plain = model_of(nodes, {"w": RNG.standard_normal((3, 3)).astype(np.float32)}, ["n", 3])
    found = add_lora(plain, 1, ["m1"])
    w, values = trained(found)
    merged = merge(plain, found.adapters, values)
    x = RNG.standard_normal((5, 3)).astype(np.float32)
    np.testing.assert_allclose(run(merged, {"x": x})[0], run(w.model, {"x": x})[0], rtol=1e-4, atol=1e-4)
    assert len(merged.graph.initializer) == 2


def test_gemm_with_a_transposed_input_is_adapted_too() -> None:
    stored = {"w": RNG.standard_normal((5, 3)).astype(np.float32)}
    plain = model_of([helper.make_node("Gemm", ["x", "w"], ["y"], "g", transA=1)], stored, [5, 4])
    found = add_lora(plain, 2)
    w, values = trained(found)
    x = RNG.standard_normal((5, 4)).astype(np.float32)
    merged = merge(plain, found.adapters, values)
    np.testing.assert_allclose(run(merged, {"x": x})[0], run(w.model, {"x": x})[0], rtol=1e-4, atol=1e-4)


def test_wrong_choices_are_refused_in_words() -> None:
    with pytest.raises(InputError, match="rank"):
        add_lora(convolutions(), 0)
    with pytest.raises(InputError, match="'gem'; near are: gemm"):
        add_lora(convolutions(), 1, ["gem"])
    found = add_lora(convolutions(), 1, ["mm"])
    with pytest.raises(InputError, match="mm/lora_down"):
        merge(convolutions(), found.adapters, {})
    bare = model_of([helper.make_node("Relu", ["x"], ["y"])], {}, ["n", 3])
    with pytest.raises(InputError, match="no MatMul, Gemm or Conv"):
        add_lora(bare, 1)
