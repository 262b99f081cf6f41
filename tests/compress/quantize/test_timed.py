"""Layers that are slower in integers stay in float: whatever the measurements say, and nothing that they do not."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from onnx import ModelProto
from tests.compress.quantize.small import case, decibels, run

from edgewise.compress.quantize.aware import Aware
from edgewise.compress.quantize.static import Static, start
from edgewise.compress.quantize.timed import Timed, medians, quickest
from edgewise.compress.tuning import Tuning
from edgewise.errors import UnsupportedError

Array = np.ndarray


def integers(model: ModelProto) -> set[str]:
    """The layers that run in integers: the names of the nodes that read a stored weight through DequantizeLinear."""
    stored = {tensor.name for tensor in model.graph.initializer}
    weights = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in stored}
    return {n.name for n in model.graph.node if n.op_type in {"Conv", "Gemm", "MatMul"} and n.input[1] in weights}


class Machine:
    """Says how long models take: a time for each layer in float, another in integers, and one for each change between them."""

    def __init__(self, layers: Sequence[str], gains: Mapping[str, float], change: float = 0.0) -> None:
        self.layers, self.gains, self.change, self.asked = layers, gains, change, 0

    def __call__(self, models: Sequence[ModelProto], fed: Mapping[str, Array]) -> list[float]:
        self.asked += len(models)
        assert all(len(array) == 1 for array in fed.values())
        return [self._time(model) for model in models]

    def _time(self, model: ModelProto) -> float:
        quantized = integers(model)
        forms = [name in quantized for name in self.layers]
        changes = sum(one != other for one, other in zip([False, *forms], [*forms, False], strict=True))
        return sum(10 - self.gains.get(name, 5.0) * (name in quantized) for name in self.layers) + self.change * changes


@pytest.fixture(scope="module")
def ready() -> object:
    model, samples, _ = case("resnet8")
    return start(model, samples, Static(count=32))


def test_exactly_the_layers_that_lose_stay_in_float(ready) -> None:  # type: ignore[no-untyped-def]
    lost = {ready.layers[0]: -3.0, ready.layers[4]: -0.9, ready.layers[5]: -4.0}
    found = quickest(ready, Machine(ready.layers, lost), 30)
    assert found == tuple(name for name in ready.layers if name not in lost)


def test_neighbours_that_lose_only_together_are_found(ready) -> None:  # type: ignore[no-untyped-def]
    # Alone in float, each costs two changes more; together they cost as many as one does.
    lost = {ready.layers[3]: -3.0, ready.layers[4]: -3.0}
    found = quickest(ready, Machine(ready.layers, lost, change=2.0), 30)
    assert found == tuple(name for name in ready.layers if name not in lost)


def test_gains_within_noise_are_none(ready) -> None:  # type: ignore[no-untyped-def]
    found = quickest(ready, Machine(ready.layers, {ready.layers[1]: -0.3}), 30)
    assert found == tuple(ready.layers)


def test_time_that_is_over_ends_the_trying(ready) -> None:  # type: ignore[no-untyped-def]
    machine = Machine(ready.layers, {ready.layers[0]: -3.0})
    assert quickest(ready, machine, 0.0) == tuple(ready.layers)
    assert machine.asked == 2  # against none in integers


def test_a_model_that_gains_nothing_is_refused_with_another_way() -> None:
    model, samples, _ = case("resnet8")
    machine = Machine(start(model, samples, Static(count=32)).layers, {}, change=500.0)
    with pytest.raises(UnsupportedError, match="no choice of layers in integers is faster") as raised:
        Timed(inner=Static(count=32), timer=machine).apply(model, samples)
    assert "int8-storage" in raised.value.remedy


@pytest.mark.parametrize(
    "inner", [Static(count=32), Aware(static=Static(count=32), tuning=Tuning(epochs=1))], ids=["static", "aware"]
)
def test_the_pass_keeps_them_in_float_by_their_names(inner: Static | Aware) -> None:
    model, samples, fed = case("resnet8")
    layers = start(model, samples, Static(count=32)).layers
    made = Timed(inner=inner, timer=Machine(layers, {layers[0]: -3.0})).apply(model, samples)
    assert integers(made) == set(layers[1:])
    assert decibels(run(model, fed), run(made, fed)) > 10


def test_the_real_clock_gives_a_time_for_each_model(ready) -> None:  # type: ignore[no-untyped-def]
    fed = {name: array[:1] for name, array in next(iter(ready.batches())).items()}
    assert all(0 < taken < 1000 for taken in medians([ready.seen.core, ready.core_with(list(ready.layers))], fed))
