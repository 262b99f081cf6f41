"""From the words of the command line to a bundle file."""

from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from edgewise.bundle.tensors import StateSpec, TensorSpec
from edgewise.compose.decoding import image_channels
from edgewise.compose.importing import Imported, import_models
from edgewise.compose.keys import default_signing_key, load_private
from edgewise.compose.pack_options import (
    check_target,
    read_labels,
    read_states,
    read_training,
    with_constants,
    with_range,
    with_sample_rate,
)
from edgewise.importing.check import checked_against
from edgewise.importing.imported import ImportedModel
from edgewise.measure.dataset import read_dataset, with_labels
from edgewise.packing.fragments import join_after, join_before
from edgewise.packing.pack import Packed, PackRequest, pack
from edgewise.store.bundles import install_bundle, write_file
from edgewise.store.home import Home

__all__ = ["pack_files"]


def pack_files(options: Namespace, progress: Callable[[str, int, int], None]) -> tuple[Packed, tuple[str, ...]]:
    """Import, measure, sign and write what the options of `edgewise pack` name. Returns what was packed, and notes for people."""
    home = Home.default()
    check_target(options.output)
    key = None if options.unsigned else load_private(options.key) if options.key else default_signing_key(home)
    imported = import_models(options.models, allow_unfaithful=options.allow_unfaithful)
    labels = read_labels(options.labels) or imported.labels
    models, decision = _prepared(imported.models, options, labels)
    first = next(iter(models.values()))
    outputs = {spec.name for spec in first.outputs}
    channels = image_channels(first.inputs)
    data = with_labels(read_dataset(options.eval, channels=channels), labels) if options.eval else None
    packed = pack(
        PackRequest(
            name=options.name,
            version=options.version,
            models=models,
            task=options.task or imported.task or "tensor",
            labels=labels or (data.labels if data else ()),
            decision=options.decision or decision or (imported.decision if imported.decision in outputs else ""),
            evaluation=data,
            golden=read_dataset(options.golden, labelled=False, channels=channels) if options.golden else None,
            data_name=data.name if data else "",
            golden_count=options.golden_count,
            inputs=with_sample_rate(with_range(_inputs(first, imported), options.range), options.sample_rate),
            states=read_states(options.state, first) or _states(first, imported),
            description=options.description or imported.description,
            licence=options.licence or imported.licence,
            files=imported.files,
            allow_unfaithful=options.allow_unfaithful,
            training=read_training(options),
        ),
        key,
        progress=progress,
    )
    write_file(packed.bundle, options.output)
    notes = dict.fromkeys((*imported.notes, *(note for model in models.values() for note in model.notes)))
    installed = _installed(packed, home) if options.install else ()
    return packed, (*notes, *packed.notes, *packed.skipped, *installed)


def _inputs(first: ImportedModel, imported: Imported) -> tuple[TensorSpec, ...]:
    """The interface as the model has it now, with what the source knows of inputs that are still there: ranges, kinds."""
    stated = {(spec.name, spec.dtype, len(spec.shape)): spec for spec in imported.inputs}
    return tuple(stated.get((spec.name, spec.dtype, len(spec.shape)), spec) for spec in first.inputs)


def _states(first: ImportedModel, imported: Imported) -> tuple[StateSpec, ...]:
    """What the source says of states, where constants and fragments have left both ends."""
    inputs, outputs = ({spec.name for spec in side} for side in (first.inputs, first.outputs))
    return tuple(state for state in imported.states if state.input in inputs and state.output in outputs)


def _installed(packed: Packed, home: Home) -> tuple[str, ...]:
    path: Path = home.bundles / packed.bundle.document.name / f"{packed.bundle.document.version}.bundle"
    before = path.exists()
    install_bundle(packed.bundle, home)
    return (f"{packed.bundle.ref} was installed before and is replaced",) if before else ()


def _prepared(
    imported: Mapping[str, ImportedModel], options: Namespace, labels: tuple[str, ...]
) -> tuple[dict[str, ImportedModel], str]:
    """The models as they go into the bundle, and the output that decides where a fragment behind them says so."""
    decision = ""
    models: dict[str, ImportedModel] = {}
    for name, arrived in imported.items():
        model = with_constants(arrived, options.set)
        steps = [f"{text} made a constant" for text in options.set]
        if options.reference is not None:
            model = checked_against(model, options.reference, absolute=options.tolerance)
        if options.before:
            model = join_before(model, options.before)
            steps.append(f"{options.before} joined in front")
        for text in options.after:
            model, decision = join_after(model, text, labels)
            steps.append(f"{text} joined behind")
        models[name] = replace(model, derivation=arrived.derivation and arrived.derivation.then(*steps))
    return models, decision
