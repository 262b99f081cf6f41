"""The small network of a head, trained by the same engine that trains large ones: forward, loss and optimiser as one graph."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgewise.measure.metric import Metric
from edgewise.routing.head.head import Layer
from edgewise.runtime.engine import Array
from edgewise.training.data.batches import ArrayBatches
from edgewise.training.losses.registry import BinaryCrossEntropy
from edgewise.training.run.loop import Predict, fit
from edgewise.training.run.schedules import parse_schedule
from edgewise.training.run.settings import FitSettings
from edgewise.training.run.stepper import Stepper
from edgewise.training.step.build import build_step
from edgewise.training.step.optimizers import AdamW

__all__ = ["Learning", "Network", "Weights", "log_loss"]

_OPSET = 18
_UPDATES, _LEAST_BATCH = 16, 16  # in an epoch; samples
_QUIET = 1e-3  # of the most varied input: one that varies less is taken for constant, since scaling would blow it up
_START = (
    0.1  # of the usual spread, for the weights behind the hidden layer: a curved head starts as nearly a straight one
)
_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """How a head is learnt. curved_from: samples from which hidden values are read, and a layer of ``units`` is tried.

    epochs, learning_rate, weight_decay, patience: of training; batch: at most, and no more than a sixteenth of few samples, since
    an epoch of two or three updates leads nowhere. folds: of cross-validation; a fold's worth of samples is
    held out to stop by. read_hidden: False for the scores alone. seed: of every draw.
    """

    epochs: int = 60
    batch: int = 128
    learning_rate: float = 0.03
    weight_decay: float = 0.1
    patience: int = 10
    folds: int = 5
    units: int = 16
    curved_from: int = 1000
    read_hidden: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Weights:
    """What was learnt, for inputs as they are: see ``Head``."""

    line: Array
    bias: float
    layer: Layer | None

    def of(self, x: Array) -> Array:
        """(N,) log odds of (N, width)."""
        found: Array = x @ self.line + self.bias
        if self.layer is not None:
            found = found + np.maximum(x @ self.layer.entering + self.layer.bias, 0) @ self.layer.leaving
        return found


class Network:
    """One form of head, to be trained on one set of samples after another. units: 0 for a straight one."""

    def __init__(self, width: int, units: int, settings: Learning) -> None:
        self._width, self._units, self._settings = width, units, settings
        self._stepper: Stepper | None = None

    def train(self, x: Array, agree: Array, stop: Array) -> Weights:
        """Learn from the rows of x (N, width) and agree (N,) that ``stop`` (N,) does not name; those tell when to stop."""
        settings, own = self._settings, ~stop
        mean, spread = x[own].mean(axis=0), x[own].std(axis=0)
        scale = np.where(spread > _QUIET * spread.max(), 1 / np.maximum(spread, 1e-30), 0.0)
        ready = ((x - mean) * scale).astype(np.float32)
        target = agree[:, None].astype(np.float32)
        stepper = self._ready(agree[own])
        size = min(settings.batch, max(_LEAST_BATCH, int(own.sum()) // _UPDATES))
        batches = ArrayBatches({"x": ready[own], "target": target[own]}, size, last="drop")

        def evaluate(predict: Predict) -> Metric:
            lost = float(log_loss(predict({"x": ready[stop]})["odds"][:, 0], agree[stop]).mean())
            return Metric("log loss", lost, lost, lost, int(stop.sum()), "mean", higher_is_better=False)

        fit(
            stepper, batches, evaluate,
            FitSettings(
                epochs=settings.epochs, learning_rate=settings.learning_rate, schedule=parse_schedule("cosine"),
                weight_decay=settings.weight_decay, seed=settings.seed, patience=settings.patience,
            ), predict_batch=_AT_ONCE,
        )  # fmt: skip
        return _unscaled({name: array.astype(np.float64) for name, array in stepper.weights().items()}, mean, scale)

    def _ready(self, agree: Array) -> Stepper:
        """The step, from the beginning: it starts from what is known before anything is read, the log odds of agreement."""
        if self._stepper is None:
            model = _graph(self._width, self._units, self._settings.seed)
            names = [tensor.name for tensor in model.graph.initializer]
            loss = BinaryCrossEntropy(output="odds")
            self._stepper = Stepper(
                build_step(model, loss, AdamW(decay_vectors=False), names, outputs=False), threads=1
            )
        self._stepper.reset()
        state = self._stepper.state()
        share = (agree.sum() + 1) / (len(agree) + 2)
        state["bias"][...] = np.log(share / (1 - share))
        self._stepper.load(state)
        return self._stepper


def log_loss(odds: Array, agree: Array) -> Array:
    """(N,) surprise, nats, of agreement (N,) by log odds (N,)."""
    found: Array = np.logaddexp(0, np.where(agree, -1, 1) * odds.astype(np.float64))
    return found


def _unscaled(weights: Mapping[str, Array], mean: Array, scale: Array) -> Weights:
    """The same function of inputs that were not scaled."""
    line = weights["line"][:, 0] * scale
    bias = float(weights["bias"][0] - mean @ line)
    if "entering" not in weights:
        return Weights(line, bias, None)
    entering = weights["entering"] * scale[:, None]
    return Weights(line, bias, Layer(entering, weights["units"] - mean @ entering, weights["leaving"][:, 0]))


def _graph(width: int, units: int, seed: int) -> ModelProto:
    """x (batch, width) -> odds (batch, 1)."""
    draw = np.random.default_rng(seed)
    stored = {"line": np.zeros((width, 1)), "bias": np.zeros(1)}
    nodes = [helper.make_node("Gemm", ["x", "line", "bias"], ["straight" if units else "odds"])]
    if units:
        stored["entering"] = draw.normal(0, (2 / width) ** 0.5, (width, units))
        stored["units"] = np.zeros(units)
        stored["leaving"] = draw.normal(0, _START * units**-0.5, (units, 1))
        nodes += [
            helper.make_node("Gemm", ["x", "entering", "units"], ["before"]),
            helper.make_node("Relu", ["before"], ["after"]),
            helper.make_node("MatMul", ["after", "leaving"], ["curved"]),
            helper.make_node("Add", ["straight", "curved"], ["odds"]),
        ]
    graph = helper.make_graph(
        nodes, "head", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", width])],
        [helper.make_tensor_value_info("odds", TensorProto.FLOAT, ["batch", 1])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in stored.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=9)
