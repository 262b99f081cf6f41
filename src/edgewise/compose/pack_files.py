"""From the words of the command line to a bundle file."""

from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgewise.bundle.tensors import StateSpec, TensorSpec
from edgewise.compose.fragments import join_after, join_before
from edgewise.compose.importing import import_models
from edgewise.compose.keys import default_signing_key, load_private
from edgewise.compose.packing import Packed, PackRequest, pack
from edgewise.errors import InputError
from edgewise.graph.edit import freeze_input
from edgewise.graph.inspect import read_model
from edgewise.importing.check import checked_against
from edgewise.importing.imported import ImportedModel
from edgewise.measure.dataset import read_dataset
from edgewise.store.bundles import install_bundle, write_file
from edgewise.store.files import read_bounded
from edgewise.store.home import Home

__all__ = ["pack_files"]

_LABEL_BYTES = 1 << 20


def pack_files(options: Namespace, progress: Callable[[str, int, int], None]) -> tuple[Packed, tuple[str, ...]]:
    """Import, measure, sign and write what the options of `edgewise pack` name. Returns what was packed, and notes for people."""
    home = Home.default()
    key = None if options.unsigned else load_private(options.key) if options.key else default_signing_key(home)
    imported = import_models(options.models, allow_unfaithful=options.allow_unfaithful)
    labels = _labels(options.labels) or imported.labels
    models, decision = _prepared(imported.models, options, labels)
    first = next(iter(models.values()))
    states = tuple(_state(text, first) for text in options.state)
    data = read_dataset(options.eval) if options.eval else None
    golden = read_dataset(options.golden) if options.golden else None
    packed = pack(
        PackRequest(
            name=options.name,
            version=options.version,
            models=models,
            task=options.task or imported.task or "tensor",
            labels=labels or (data.labels if data else ()),
            decision=options.decision or decision,
            evaluation=data,
            golden=golden,
            data_name=data.name if data else "",
            golden_count=options.golden_count,
            inputs=_ranged(first.inputs, options.range),
            states=states,
            description=options.description,
            licence=options.licence,
            files=imported.files,
            allow_unfaithful=options.allow_unfaithful,
        ),
        key,
        progress=progress,
    )
    write_file(packed.bundle, options.output)
    if options.install:
        install_bundle(packed.bundle, home)
    notes = dict.fromkeys(note for model in models.values() for note in model.notes)
    return packed, (*dict.fromkeys((*imported.notes, *notes)), *packed.notes, *packed.skipped)


def _prepared(
    imported: Mapping[str, ImportedModel], options: Namespace, labels: tuple[str, ...]
) -> tuple[dict[str, ImportedModel], str]:
    """The models as they go into the bundle, and the output that decides where a fragment behind them says so."""
    decision = ""
    models: dict[str, ImportedModel] = {}
    for name, arrived in imported.items():
        model = _with_constants(arrived, options.set)
        if options.reference is not None:
            model = checked_against(model, options.reference, absolute=options.tolerance)
        if options.before:
            model = join_before(model, options.before)
        for text in options.after:
            model, decision = join_after(model, text, labels)
        models[name] = model
    return models, decision


def _with_constants(model: ImportedModel, settings: list[str]) -> ImportedModel:
    """The model with each ``INPUT=VALUE`` of ``settings`` turned into a constant."""
    for setting in settings:
        name, _, text = setting.partition("=")
        spec = next((item for item in model.inputs if item.name == name), None)
        if spec is None or model.format != "onnx" or len(model.files) != 1:
            raise InputError(f"--set {setting}: {model.name} is no single ONNX file with an input {name!r}")
        try:
            value = np.asarray(text.split(",") if "," in text else text).astype(spec.dtype)
        except ValueError:
            raise InputError(f"--set {setting}: {text!r} is not {spec.dtype}") from None
        graph = freeze_input(read_model(model.model), name, value)
        model = replace(
            model,
            files={next(iter(model.files)): graph.SerializeToString()},
            inputs=tuple(item for item in model.inputs if item.name != name),
        )
    return model


def _state(text: str, model: ImportedModel) -> StateSpec:
    into, _, out = text.partition("=")
    if into not in {spec.name for spec in model.inputs} or out not in {spec.name for spec in model.outputs}:
        known = f"inputs {[spec.name for spec in model.inputs]}, outputs {[spec.name for spec in model.outputs]}"
        raise InputError(f"--state {text}: the model has {known}")
    return StateSpec(into, out)


def _ranged(inputs: tuple[TensorSpec, ...], text: str) -> tuple[TensorSpec, ...]:
    if not text:
        return inputs
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--range {text}: two numbers separated by a comma are needed") from None
    return (replace(inputs[0], range=(low, high)), *inputs[1:])


def _labels(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    text = read_bounded(path, _LABEL_BYTES, "the label file").decode("utf-8", "replace")
    return tuple(line.strip() for line in text.splitlines() if line.strip())
