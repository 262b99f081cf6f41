"""Options of `edgewise pack` in words, turned into values: constants, states, ranges, labels. Wrong words raise InputError."""

import math
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.bundle.tensors import StateSpec, TensorSpec
from edgewise.compose.writable import check_target
from edgewise.errors import InputError
from edgewise.graph.edit import freeze_input
from edgewise.graph.inspect import read_model
from edgewise.importing.imported import ImportedModel
from edgewise.packing.training_request import TrainingRequest
from edgewise.store.files import read_bounded

__all__ = [
    "check_target",
    "read_labels",
    "read_states",
    "read_training",
    "with_constants",
    "with_range",
    "with_sample_rate",
]

_LABEL_BYTES = 1 << 20
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def with_constants(model: ImportedModel, settings: list[str]) -> ImportedModel:
    """The model with each ``INPUT=VALUE`` of ``settings`` turned into a constant."""
    for setting in settings:
        name, _, text = setting.partition("=")
        spec = next((item for item in model.inputs if item.name == name), None)
        if spec is None or model.format != "onnx" or len(model.files) != 1:
            raise InputError(
                f"--set {setting}: {model.name} is no single ONNX file with an input {name!r}; its inputs are "
                f"{', '.join(item.name for item in model.inputs)}"
            )
        parts = text.split(",") if "," in text else text
        graph = freeze_input(read_model(model.model), name, _constant(parts, spec, setting))
        model = replace(
            model,
            files={next(iter(model.files)): graph.SerializeToString()},
            inputs=tuple(item for item in model.inputs if item.name != name),
        )
    return model


def _constant(text: str | list[str], spec: TensorSpec, setting: str) -> Any:
    words = [text] if isinstance(text, str) else text
    if spec.dtype == "bool":
        if not all(word.strip().lower() in _TRUTH for word in words):
            raise InputError(f"--set {setting}: {spec.name} is true or false")
        values = np.array([_TRUTH[word.strip().lower()] for word in words])
    else:
        try:
            values = np.array(words).astype("U" if spec.dtype == "str" else spec.dtype)
        except (ValueError, OverflowError):
            raise InputError(f"--set {setting}: {','.join(words)!r} is not {spec.dtype}") from None
    return values[0] if isinstance(text, str) else values


def read_states(texts: list[str], model: ImportedModel) -> tuple[StateSpec, ...]:
    """``IN=OUT`` each."""
    states = []
    for text in texts:
        into, _, out = text.partition("=")
        if into not in {spec.name for spec in model.inputs} or out not in {spec.name for spec in model.outputs}:
            raise InputError(
                f"--state {text}: inputs are {', '.join(spec.name for spec in model.inputs)}; outputs are "
                f"{', '.join(spec.name for spec in model.outputs)}",
                remedy="Write it as INPUT=OUTPUT: what the output gives goes into the input at the next call.",
            )
        states.append(StateSpec(into, out))
    return tuple(states)


def read_training(options: Namespace) -> TrainingRequest | None:
    """The training step that is asked for; None where none is. Raises InputError for its settings without ``--trainable``."""
    asked = TrainingRequest(
        tuple(options.trainable) or ("*",), tuple(options.freeze), options.loss, options.optimizer, options.learning_rate,
        options.lora, options.batch_statistics, options.recompute,
    )  # fmt: skip
    if options.trainable:
        return asked
    if asked != TrainingRequest():
        raise InputError(
            "--freeze, --loss, --optimizer, --learning-rate, --lora, --batch-statistics and --recompute are for a training step",
            remedy="Add --trainable, alone for all weights or with a pattern of their names.",
        )
    return None


def with_range(inputs: tuple[TensorSpec, ...], text: str) -> tuple[TensorSpec, ...]:
    """The inputs, the first with the range ``LOW,HIGH`` where one is given."""
    if not text:
        return inputs
    first = inputs[0]
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--range {text}: two numbers separated by a comma are needed") from None
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise InputError(f"--range {text}: two finite numbers are needed, the lower first")
    if first.dtype in ("str", "bool"):
        raise InputError(f"--range {text}: {first} has no range")
    if np.dtype(first.dtype).kind in "iu":
        limits = np.iinfo(first.dtype)
        if low != int(low) or high != int(high) or low < limits.min or high > limits.max:
            raise InputError(f"--range {text}: {first} holds whole numbers from {limits.min} to {limits.max}")
    return (replace(first, range=(low, high)), *inputs[1:])


def with_sample_rate(inputs: tuple[TensorSpec, ...], rate: int) -> tuple[TensorSpec, ...]:
    """The inputs, the first as audio of ``rate`` samples a second where one is given."""
    if not rate:
        return inputs
    if rate < 0 or inputs[0].dtype not in ("float32", "int16"):
        raise InputError(f"--sample-rate {rate}: {inputs[0]} is not audio in float32 or int16")
    return (replace(inputs[0], content="audio", extra={**inputs[0].extra, "sampleRate": rate}), *inputs[1:])


def read_labels(path: Path | None) -> tuple[str, ...]:
    """The lines of a label file. A blank line among them is an error: left out, it would shift every label behind it."""
    if path is None:
        return ()
    try:
        text = read_bounded(path, _LABEL_BYTES, "the label file").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: byte {error.start}", remedy="Save it as UTF-8.") from None
    lines = [line.strip() for line in text.rstrip().splitlines()]
    blank = [number for number, line in enumerate(lines, 1) if not line]
    if blank or not lines:
        raise InputError(
            f"{path} has {'a blank line at ' + str(blank[0]) if blank else 'no labels'}",
            remedy="Give every class a line, in the model's order; write - for one without a name.",
        )
    return tuple(lines)
