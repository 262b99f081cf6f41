"""The document of a bundle that is being packed: one interface for all variants; contradictions are found before anything runs."""

from collections.abc import Mapping, Sequence

from edgewise.bundle.document import Document, Variant
from edgewise.bundle.tensors import StateSpec, TensorSpec
from edgewise.errors import InputError, ModelError
from edgewise.importing.imported import ImportedModel, file_entry

__all__ = ["check_labels", "describe", "narrowed"]

_INDICES = ("int32", "int64", "uint32", "uint64")


def describe(
    document: Document, models: Mapping[str, ImportedModel], files: Mapping[str, bytes]
) -> tuple[Document, list[bytes]]:
    """``document`` with variants and files, and the content of all of them.

    Raises ModelError where the variants do not take and give the same, InputError where states or labels do not fit.
    """
    first = next(iter(models.values()))
    variants: list[Variant] = []
    blobs: list[bytes] = []
    for name, model in models.items():
        _check_same_interface(first, model, name)
        variant, contents = model.to_variant(name)
        variants.append(variant)
        blobs += contents
    _check_states(document)
    check_labels(document)
    entries = tuple(file_entry(path, data) for path, data in sorted(files.items()))
    whole = Document(
        document.name, document.version, document.task, document.inputs, document.outputs, tuple(variants), document.decision,
        document.labels, document.states, None, entries, document.description, document.licence,
    )  # fmt: skip
    return whole, [*blobs, *(data for _, data in sorted(files.items()))]


def narrowed(models: Mapping[str, ImportedModel]) -> list[str]:
    """A sentence for each variant that takes less than the first one, whose interface is the bundle's."""
    first, *others = models.items()
    notes = []
    for name, model in others:
        for ours, theirs in zip(first[1].inputs, model.inputs, strict=False):
            pairs = zip(ours.shape, theirs.shape, strict=False)
            if any(isinstance(free, str) and isinstance(dim, int) for free, dim in pairs):
                notes.append(
                    f"{name} takes only {theirs} where {first[0]} takes {ours}: other sizes fail where it is chosen"
                )
    return notes


def check_labels(document: Document) -> None:
    """Raise InputError where there are not as many labels as the deciding output has classes."""
    if not document.labels or document.task not in ("classification", "multilabel"):
        return
    name = document.decision or document.outputs[0].name
    spec = next((spec for spec in document.outputs if spec.name == name), None)
    if spec is None or spec.dtype in (*_INDICES, "str") or len(spec.shape) < 2:
        return  # indices and texts do not say how many classes there are
    sizes = [dim for dim in spec.shape[1:] if dim != 1]
    if len(sizes) > 1 or any(isinstance(dim, str) for dim in sizes):
        return
    classes = sizes[0] if sizes else 2 if document.task == "classification" else 1
    if len(document.labels) != classes:
        raise InputError(
            f"{spec.name} has {classes} classes, and there are {len(document.labels)} labels: {', '.join(document.labels[:6])}...",
            remedy="Give one label for each class, in the model's order (--labels FILE, one a line).",
        )


def _check_same_interface(first: ImportedModel, model: ImportedModel, name: str) -> None:
    for kind in ("inputs", "outputs"):
        ours: Sequence[TensorSpec] = getattr(first, kind)
        theirs: Sequence[TensorSpec] = getattr(model, kind)
        if len(ours) != len(theirs) or not all(map(_alike, ours, theirs)):
            raise ModelError(
                f"the variant {name} has other {kind} than the first one: {'; '.join(map(str, theirs))}, not "
                f"{'; '.join(map(str, ours))}",
                remedy="Variants of one bundle answer the same inputs; rename tensors or add the conversion to the graph.",
            )


def _alike(ours: TensorSpec, theirs: TensorSpec) -> bool:
    return (ours.name, ours.dtype, len(ours.shape)) == (theirs.name, theirs.dtype, len(theirs.shape)) and all(
        isinstance(a, str) or isinstance(b, str) or a == b for a, b in zip(ours.shape, theirs.shape, strict=True)
    )


def _check_states(document: Document) -> None:
    inputs = {spec.name: spec for spec in document.inputs}
    outputs = {spec.name: spec for spec in document.outputs}
    for state in document.states:
        if state.input not in inputs or state.output not in outputs:
            raise InputError(
                f"there is no state {state.input}={state.output}: inputs are {', '.join(inputs)}, outputs {', '.join(outputs)}"
            )
        into, out = inputs[state.input], outputs[state.output]
        if not _alike(into, TensorSpec(into.name, out.dtype, out.shape)):
            raise InputError(
                f"the state {state.input} is {into}; the output {state.output} that it comes from is {out}"
            )
    _check_once(document.states)
    if len(document.states) == len(document.inputs):
        raise InputError(
            "every input is a state: the model takes nothing", remedy="Leave out the one that is given anew."
        )


def _check_once(states: Sequence[StateSpec]) -> None:
    for kind in ("input", "output"):
        names = [getattr(state, kind) for state in states]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise InputError(f"{', '.join(sorted(twice))} is named by two states")
