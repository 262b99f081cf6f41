"""Quantization-aware fine-tuning: what is exported is what has learnt, in integers that onnxruntime runs as such."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto
from tests.compress.test_foundation import digits, with_front
from tests.networks.cases import CASES, feeds

from edgewise.compress.quantize.adaround import Adaround
from edgewise.compress.quantize.aware import Aware, rounded
from edgewise.compress.quantize.static import Static
from edgewise.compress.samples import Samples
from edgewise.compress.tuning import Tuning, answers, learn
from edgewise.digits import load_split
from edgewise.errors import UnsupportedError
from edgewise.measure.dataset import Dataset
from edgewise.networks.registry import build
from edgewise.training.step.assembly import choose

QUICK = Tuning(epochs=1, batch=32, learning_rate=1e-3, weight_decay=0.0)


def held_out() -> Samples:
    x, y = load_split("eval")
    return Samples(Dataset((x[:, :, :, None] * 15).astype(np.uint8), y), "classification", "image", "logits")


def operators(model: ModelProto, folder: Path) -> Counter[str]:
    """What onnxruntime runs, before it takes this machine's own layouts."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node)


def same(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean(a.argmax(1) == b.argmax(1)))


def test_the_exported_integers_answer_as_the_rounding_model_that_learnt(tmp_path: Path) -> None:
    samples, held, model = digits(), held_out(), with_front()
    start = rounded(model, samples, Static())
    names = (*choose(start.core).parameters, *start.rounding.factors)
    learnt = learn(start.parts, samples, QUICK, parameters=names).weights
    simulated, exported = start.simulated(learnt), start.exported(learnt)
    first, second = answers(simulated, held), answers(exported, held)
    assert same(first, second) > 0.995
    assert np.abs(first - second).mean() < 0.01 * np.abs(first).max()
    moved = [np.abs(learnt[name]).max() for name in start.rounding.factors]
    assert min(moved) > 0
    assert max(moved) < 0.2
    found = operators(exported, tmp_path)
    assert found["QLinearConv"] == 4
    assert found["QGemm"] == 1
    assert not {"Conv", "FusedConv", "Gemm", "Relu", "DequantizeLinear"} & set(found)


def test_accuracy_is_kept_and_the_file_is_smaller() -> None:
    samples, held, model = digits(), held_out(), with_front()
    before = model.SerializeToString()
    made = Aware(tuning=QUICK, rounding=0).apply(model, samples)
    assert model.SerializeToString() == before
    assert np.mean(answers(made, held).argmax(1) == held.data.y) > 0.985
    assert len(made.SerializeToString()) < 0.3 * len(before)


@pytest.mark.parametrize("name", ["resnet8", "cnn of everything", "cnn1d", "ds-cnn of spoken digits", "encoder"])
def test_rounding_in_training_is_rounding_in_the_file(name: str, tmp_path: Path) -> None:
    network, config, _ = CASES[name]
    model = build(network, config, 0)
    (entering,) = feeds(model, 12).items()
    samples = Samples(
        Dataset(entering[1], np.zeros(12, np.int64)), "classification", entering[0], model.graph.output[0].name
    )
    start = rounded(model, samples, Static(count=12))
    first, second = answers(start.simulated(), samples), answers(start.exported(), samples)
    assert np.abs(first - second).max() < 0.03 * np.abs(first).max()
    found = operators(start.exported(), tmp_path)
    assert not {"Conv", "FusedConv", "Gemm"} & set(found)
    if name == "resnet8":
        assert found["QLinearAdd"] == 3


def test_four_bits_come_back_by_learning() -> None:
    samples, held, model = digits(), held_out(), with_front()
    static = Static(weight_bits=4)
    float_answers = answers(model, held)
    tuning = Tuning(epochs=3, batch=32, learning_rate=1e-3, weight_decay=0.0)
    plain, learnt = static.apply(model, samples), Aware(static=static, tuning=tuning, rounding=0).apply(model, samples)
    errors = [np.square(answers(made, held) - float_answers).mean() for made in (plain, learnt)]
    assert errors[1] < 0.5 * errors[0]
    assert len(learnt.SerializeToString()) <= len(plain.SerializeToString())


def test_learning_starts_from_the_weights_that_learnt_rounding_left() -> None:
    samples, model = digits(), with_front()
    static = Static(weight_bits=4, weight_ranges="mse", count=48)
    start = rounded(model, samples, static, steps=60)
    wanted = answers(Adaround(static=static, steps=60).apply(model, samples), samples)
    assert np.abs(answers(start.exported(), samples) - wanted).max() < 1e-3 * np.abs(wanted).max()


def test_nothing_to_round_is_refused() -> None:
    with pytest.raises(UnsupportedError):
        Aware(static=Static(keep=("*",))).apply(with_front(), digits(64))


def test_the_name_says_every_setting() -> None:
    passes = [Aware(), Aware(rounding=0), Aware(taught=False), Aware(tuning=QUICK), Aware(static=Static(weight_bits=4))]
    assert len({each.name for each in passes}) == 5
