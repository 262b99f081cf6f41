"""What a bundle's document says beyond the model file, kept in an ONNX Runtime package under ``additional_metadata.edgewise``.

Readers of packages leave additional_metadata alone, so it comes back as it was written: on the component what the model is for,
on each variant what its files were, on the manifest what people read. It is text by a stranger all the same. What is written
there is read here in the forms of the bundle document; a package by another tool has nothing under our key.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.document import LABEL, PRECISIONS, PROSE, TASKS, Document, Variant
from edgewise.bundle.fields import Form
from edgewise.bundle.tensors import IDENTIFIER, StateSpec, TensorSpec, read_state, read_tensor
from edgewise.digests import is_digest
from edgewise.errors import DocumentError, ModelError

__all__ = [
    "ModelFacts",
    "PackageFacts",
    "VariantFacts",
    "model_metadata",
    "package_metadata",
    "read_model_facts",
    "read_package_facts",
    "read_variant_facts",
    "variant_metadata",
]

_OURS = "edgewise"
_MODEL_FIELDS = ("task", "labels", "decision", "inputs", "outputs", "states")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a component says on its model; fields as in ``bundle.document.Document``, empty where it says nothing."""

    task: str = ""
    labels: tuple[str, ...] = ()
    decision: str = ""
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    states: tuple[StateSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class VariantFacts:
    """What a variant says on its files.

    document: digest of the bundle document that it was exported from. digests: of its files, the model's first. inputs, outputs:
    the interface's name of a tensor -> the name in the file, where they differ.
    """

    document: str = ""
    digests: tuple[str, ...] = ()
    precision: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PackageFacts:
    """What the manifest says for people."""

    description: str = ""
    licence: str = ""


# --------------------------------------------------------------------------------- writing


def model_metadata(document: Document) -> dict[str, Any]:
    """The additional metadata of the component that holds the document's model."""
    value = document.to_json()
    return {_OURS: {name: value[name] for name in _MODEL_FIELDS if name in value}}


def variant_metadata(bundle: Bundle, variant: Variant) -> dict[str, Any]:
    """The additional metadata of one variant."""
    return {
        _OURS: {
            "document": bundle.document_digest, "digests": [file.digest for file in variant.files],
            "precision": variant.precision, "inputs": dict(variant.inputs), "outputs": dict(variant.outputs),
        }
    }  # fmt: skip


def package_metadata(bundle: Bundle) -> dict[str, Any]:
    """The additional metadata of the manifest."""
    document = bundle.document
    return {
        _OURS: {
            "document": bundle.document_digest, "description": document.description, "licence": document.licence,
        }
    }  # fmt: skip


# --------------------------------------------------------------------------------- reading


def read_model_facts(component: Mapping[str, Any], where: str) -> ModelFacts:
    """What ``component`` says under our key; ``where`` names it in errors. Raises ModelError for what is malformed."""
    form = _form(component, where)
    if form is None:
        return ModelFacts()
    facts = ModelFacts(
        task=form.text("task", one_of=TASKS, default=""),
        labels=tuple(
            form.values("labels", lambda item: isinstance(item, str) and LABEL.fullmatch(item) is not None, "a label")
        ),
        decision=form.text("decision", pattern=IDENTIFIER, default=""),
        inputs=tuple(form.items("inputs", read_tensor, limit=256, optional=True)),
        outputs=tuple(form.items("outputs", read_tensor, limit=256, optional=True)),
        states=tuple(form.items("states", read_state, limit=256, optional=True)),
    )
    _finish(form)
    return facts


def read_variant_facts(variant: Any, where: str) -> VariantFacts:
    """What ``variant`` says under our key; ``where`` names it in errors. Raises ModelError for what is malformed."""
    form = _form(variant, where)
    if form is None:
        return VariantFacts()
    facts = VariantFacts(
        form.text("document", pattern=LABEL, default=""),
        tuple(form.values("digests", is_digest, "a digest")),
        form.text("precision", one_of=PRECISIONS, default=""),
        form.mapping("inputs"),
        form.mapping("outputs"),
    )
    _finish(form)
    return facts


def read_package_facts(manifest: Mapping[str, Any]) -> PackageFacts:
    """What ``manifest`` says under our key. Raises ModelError for what is malformed."""
    form = _form(manifest, "manifest.json")
    if form is None:
        return PackageFacts()
    facts = PackageFacts(
        form.text("description", pattern=PROSE, default=""), form.text("licence", pattern=LABEL, default="")
    )
    _finish(form)
    return facts


def _form(value: Any, where: str) -> Form | None:
    metadata = value.get("additional_metadata") if isinstance(value, dict) else None
    if not isinstance(metadata, dict) or _OURS not in metadata:
        return None
    ours = metadata[_OURS]
    if isinstance(ours, dict):  # an empty text says nothing: as good as not there
        ours = {name: item for name, item in ours.items() if item != ""}
    return Form(ours, "description by edgewise", f"{where}: additional_metadata.{_OURS}")


def _finish(form: Form) -> None:
    try:
        form.finish()
    except DocumentError as error:
        raise ModelError(
            error.what,
            remedy=f"Export the bundle again, or delete {_OURS} from the package's additional_metadata and name task, labels and "
            "the like when packing.",
            problems=error.problems,
        ) from None
