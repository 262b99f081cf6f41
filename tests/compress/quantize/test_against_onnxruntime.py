"""Why static quantization is ours: beside onnxruntime's own quantizer, on the same samples, per channel, u8s8."""

from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from tests.compress.quantize.small import case, decibels, fused, run

from edgewise.compress.graph.compact import compacted
from edgewise.compress.quantize.preparation import prepare
from edgewise.compress.quantize.quiet import quiet
from edgewise.compress.quantize.static import Static
from edgewise.compress.samples import Samples


class Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, batches: Iterator[object]) -> None:
        self.batches = batches

    def get_next(self) -> object:
        return next(self.batches, None)


def theirs(model: ModelProto, samples: Samples, folder: Path) -> ModelProto:
    prepared = prepare(model)
    onnx.save(prepared.core, str(folder / "core.onnx"))
    with quiet():
        quantize_static(
            str(folder / "core.onnx"), str(folder / "quantized.onnx"), Reader(iter(prepared.batches(samples, 32)())),
            per_channel=True, activation_type=QuantType.QUInt8,
        )  # fmt: skip
    return prepared.parts.whole(onnx.load(str(folder / "quantized.onnx")))


@pytest.mark.parametrize("name", ["cnn", "ds-cnn", "mobilenet", "resnet8", "unet", "encoder"])
def test_ours_is_as_near_to_floats_with_fewer_conversions_and_fewer_bytes(name: str, tmp_path: Path) -> None:
    model, samples, fed = case(name)
    ours, other = Static(count=32).apply(model, samples), theirs(model, samples, tmp_path)
    wanted = run(model, fed)
    assert decibels(wanted, run(ours, fed)) > decibels(wanted, run(other, fed)) - 0.3
    conversions = [fused(each)["QuantizeLinear"] + fused(each)["DequantizeLinear"] for each in (ours, other)]
    assert conversions[0] < conversions[1]
    assert compacted(ours).ByteSize() < compacted(other).ByteSize()


@pytest.mark.parametrize(("name", "least"), [("encoder of tokens", 30), ("gru of tokens", 20)])
def test_networks_that_it_breaks_stay_whole(name: str, least: float, tmp_path: Path) -> None:
    model, samples, fed = case(name)
    wanted = run(model, fed)
    assert (
        decibels(wanted, run(theirs(model, samples, tmp_path), fed)) < 5
    )  # masks are rounded with the scores that they hide
    assert decibels(wanted, run(Static(count=32).apply(model, samples), fed)) > least


def test_a_pooling_without_an_integer_form_is_no_island(tmp_path: Path) -> None:
    model, samples, _ = case("cnn of digits")
    assert fused(theirs(model, samples, tmp_path))["GlobalMaxPool"] == 1
    assert fused(Static(count=32).apply(model, samples))["GlobalMaxPool"] == 0
