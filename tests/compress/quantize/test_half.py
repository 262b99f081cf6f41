"""Halves: half the bytes, the same answers to three digits, float32 outside."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from tests.compress.quantize.small import case, decibels, fused, run

from edgewise.compress.quantize.half import Half
from edgewise.compress.quantize.static import Static
from edgewise.errors import UnsupportedError
from edgewise.graph.inspect import describe
from edgewise.training.step.assembly import with_weights


@pytest.mark.parametrize("compute", [False, True])
@pytest.mark.parametrize("name", ["cnn", "cnn of everything", "encoder", "gru", "unet"])
def test_half_the_bytes_with_float32_outside(name: str, compute: bool) -> None:
    model, samples, fed = case(name, 8)
    small = Half(compute).apply(model, samples)
    onnx.checker.check_model(small, full_check=True)
    assert describe(small).inputs == describe(model).inputs
    assert [value.dtype for value in describe(small).outputs] == [value.dtype for value in describe(model).outputs]
    assert decibels(run(model, fed, samples.output), run(small, fed, samples.output)) > 50  # 62 to 82 seen
    assert small.ByteSize() < (0.8 if name == "cnn of everything" else 0.55) * model.ByteSize()


def test_storage_costs_a_run_nothing() -> None:
    model, samples, _ = case("cnn", 8)
    assert fused(Half().apply(model, samples)) == fused(model)


def test_storage_takes_the_biases_that_static_quantization_leaves_and_integers_stay_fused() -> None:
    model, samples, fed = case("mobilenet", 16)
    static = Static(count=16, bias="float32", weights="tensor").apply(model, samples)
    small = Half().apply(static, samples)
    assert fused(small) == fused(static)
    assert small.ByteSize() < static.ByteSize() - 2000
    assert decibels(run(static, fed), run(small, fed)) > 20


def test_a_weight_beyond_a_half_is_refused_by_name() -> None:
    model, samples, _ = case("cnn", 4)
    tensor = max(model.graph.initializer, key=lambda each: int(np.prod(each.dims)))
    large = numpy_helper.to_array(tensor).copy()
    large.flat[0] = 1e6
    with pytest.raises(UnsupportedError, match=r"goes up to 1e\+06"):
        Half().apply(with_weights(model, {tensor.name: large}), samples)


def test_no_float_is_refused() -> None:
    model, samples, _ = case("cnn", 4)
    small = Half().apply(model, samples)
    floats = [tensor for tensor in small.graph.initializer if tensor.data_type == TensorProto.FLOAT]
    assert all(np.prod(tensor.dims) < 32 for tensor in floats)
