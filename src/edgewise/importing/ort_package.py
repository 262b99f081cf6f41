"""From ONNX Runtime's own model package (``.ortpackage``), as read by onnxruntime 1.32; ``ort_package_writing`` is the way back.

A package is a folder: ``manifest.json`` names components, a component (``component.json``, or inline) names variants, each
for one execution provider, and ``executor_info["ort"]["model_file"]`` of a variant names its model. The reader in onnxruntime
lets the manifest itself lift path confinement (``"layout": "installed"``) and does not compare shared assets with the digest
in their name; here every path is read below the package and nowhere else, and those digests are compared.
docs/adr/0006-ortpackage.md says why bundles relate to packages by import and export only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from edgewise.bundle.document import LABEL
from edgewise.bundle.fields import Form
from edgewise.bundle.limits import DEFAULT_LIMITS
from edgewise.bundle.strict_json import parse_object
from edgewise.bundle.tensors import IDENTIFIER, StateSpec, TensorSpec
from edgewise.errors import InputError, ModelError, NotFoundError, UnsupportedError
from edgewise.importing.folder import Folder, is_plain_path
from edgewise.importing.imported import ImportedModel, name_from
from edgewise.importing.onnx_file import import_onnx
from edgewise.importing.ort_package_fitting import fitted
from edgewise.importing.ort_package_metadata import (
    ModelFacts,
    PackageFacts,
    VariantFacts,
    read_model_facts,
    read_package_facts,
    read_variant_facts,
)
from edgewise.runtime import telemetry

telemetry.disable()

import onnxruntime as ort  # noqa: E402  (the switch above must come first)

__all__ = ["COMPONENT", "PackageImport", "import_ort_package"]

#: The one component of a package that edgewise writes.
COMPONENT = "model"
_SCHEMA = "1."  # readers take any minor version of their major one


@dataclass(frozen=True, slots=True)
class PackageImport:
    """What a package holds. Only packages that edgewise wrote say more than the variants themselves.

    variants: every variant that can be read and run here, in the package's order. task, labels, decision, states, inputs: what
    is recorded on the first one's component, in the names of its file; inputs are empty where nothing is recorded beyond what
    the file states. notes: which variants were left out and why, and what is recorded but does not fit.
    """

    variants: tuple[ImportedModel, ...]
    task: str = ""
    labels: tuple[str, ...] = ()
    decision: str = ""
    states: tuple[StateSpec, ...] = ()
    inputs: tuple[TensorSpec, ...] = ()
    description: str = ""
    licence: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    """One variant of a package that onnxruntime itself could run: its model file, and what was recorded on it."""

    component: str
    name: str
    provider: str
    options: tuple[str, ...]
    model: str  # path below the package


def import_ort_package(folder: Path) -> PackageImport:
    """Every variant of every component that can be read and run here, and what edgewise recorded on them.

    Raises RefusedError for a path or link that leads out of the package, ModelError for a file that is not the one recorded and
    for a record that is malformed, UnsupportedError where no variant can be imported, NotFoundError where there is no package.
    """
    package = Folder(folder)
    if not package.has("manifest.json"):
        raise NotFoundError(
            f"{folder} has no manifest.json", remedy="Name the folder of an ONNX Runtime model package."
        )
    manifest = _json(package, "manifest.json")
    version = manifest.get("schema_version")
    if not isinstance(version, str) or not version.startswith(_SCHEMA):
        raise UnsupportedError(f"the package has schema version {version!r:.40}; {_SCHEMA}x is read")
    about = read_package_facts(manifest)
    read: list[tuple[ImportedModel, ModelFacts, VariantFacts]] = []
    left_out: list[str] = []
    for component, base, details in _components(package, manifest):
        facts = read_model_facts(details, component)
        for name, variant in _object(details, "variants", component).items():
            recorded = read_variant_facts(variant, f"{component}/{name}")
            try:
                found = _find(package, manifest, component, base, name, variant)
                read.append((_import(folder, found, facts, recorded), facts, recorded))
            except (UnsupportedError, ModelError) as error:
                if error.details.get("changed"):
                    raise
                left_out.append(f"{component}/{name} is left out: {error.what}")
    if not read:
        raise UnsupportedError(
            f"no variant of {folder.resolve()} can be imported: {'; '.join(left_out) or 'it lists none'}",
            left_out=left_out,
        )
    if len({model.name for model, _, _ in read}) != len(read):
        raise InputError("two variants of the package come to the same name", remedy="Rename one in the package.")
    return _described(read, about, left_out)


def _described(
    read: list[tuple[ImportedModel, ModelFacts, VariantFacts]], about: PackageFacts, left_out: list[str]
) -> PackageImport:
    # The first variant's interface becomes a bundle's; other components are other models.
    model, facts, recorded = read[0]
    facts, dropped = fitted(facts, recorded, model)
    return PackageImport(
        tuple(model for model, _, _ in read), facts.task, facts.labels, facts.decision, facts.states, facts.inputs,
        about.description, about.licence, (*left_out, *dropped),
    )  # fmt: skip


def _components(package: Folder, manifest: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, folder below the package, and content of each component."""
    for name, entry in _object(manifest, "components", "manifest.json").items():
        if isinstance(entry, dict):
            yield name, "", entry
        elif isinstance(entry, str):
            path = entry if entry.endswith(".json") else f"{entry}/component.json"
            yield name, _parent(path), _json(package, path)
        else:
            raise ModelError(f"manifest.json: the component {name[:60]!r} is neither an object nor a path")


def _find(package: Folder, manifest: Mapping[str, Any], component: str, base: str, name: str, variant: Any) -> _Found:
    form = Form(variant, "package variant", f"{component}/{name}")
    provider = form.text("ep", pattern=LABEL, default="")
    directory = form.text("variant_directory", default="")
    executors = form.anything("executor_info") or {}
    form.finish()
    # The folder is the component's own where no folder of the variant's name lies in it.
    home = _join(base, directory or name)
    if not directory and not (package.root / home).is_dir():
        home = base
    info = executors.get("ort") if isinstance(executors, dict) else None
    if isinstance(info, str):
        info = _json(package, _join(home, info))
    if not isinstance(info, dict) or not isinstance(info.get("model_file"), str):
        raise UnsupportedError("it names no model for onnxruntime (executor_info.ort.model_file)")
    form = Form(info, "package variant", f"{component}/{name}.executor_info.ort")
    model, options = form.text("model_file"), form.mapping("session_options")
    options = {**options, **form.mapping("provider_options")}
    form.finish()
    if "session.model_external_initializers_file_folder_path" in options:
        raise UnsupportedError("its weights lie in another folder than its model")
    path = _shared(package, manifest, model) if model.startswith("sha256:") else _join(home, model)
    package.size(path)
    shown = (option if IDENTIFIER.fullmatch(option) else ascii(option)[:100] for option in sorted(options))
    return _Found(component, name, provider, tuple(shown), path)


def _shared(package: Folder, manifest: Mapping[str, Any], reference: str) -> str:
    """The path of ``sha256:HEX/FILE``, after comparing the asset's content with the digest, which onnxruntime does not."""
    uri, _, rest = reference.partition("/")
    assets = manifest.get("shared_assets")
    default = f"shared_assets/sha256-{uri.removeprefix('sha256:')}"
    placed = assets.get(uri, default) if isinstance(assets, dict) else default
    if not isinstance(placed, str) or not is_plain_path(placed) or not rest:
        raise UnsupportedError(f"the shared asset {reference[:100]!r} does not lie in the package")
    path = f"{placed}/{rest}"
    package.size(path)  # refuses links and ways out before anything walks the folder
    for link in (place for place in (package.root / placed).rglob("*") if place.is_symlink()):
        package.size(link.relative_to(package.root).as_posix())
    found = ort.ModelPackage.compute_directory_hash(str(package.root / placed))
    if found != uri:
        raise ModelError(
            f"the shared asset {uri[:80]!r} has the content {found}", changed=True, expected=uri, got=found
        )
    return path


def _import(folder: Path, found: _Found, facts: ModelFacts, recorded: VariantFacts) -> ImportedModel:
    model = import_onnx(folder / found.model)
    if recorded.digests and model.digests != recorded.digests:
        raise ModelError(
            f"{found.component}/{found.name} is not the file that was exported: digests {list(model.digests)}, recorded "
            f"{list(recorded.digests)}",
            remedy="Export the package again.", changed=True,
        )  # fmt: skip
    place = f"component {found.component}, variant {found.name}, for {found.provider or 'no provider'}"
    notes = [f"from {folder.resolve().name}, {place}"]
    if found.options:
        notes.append(f"session and provider options are not taken over: {', '.join(found.options)}")
    if recorded.document:
        notes.append(f"exported from the bundle document {recorded.document}")
    prefix = "" if found.component == COMPONENT else f"{found.component}-"
    return replace(
        model,
        name=name_from(f"{prefix}{found.name}"),
        precision=recorded.precision or model.precision,
        labels=facts.labels or model.labels,
        notes=(*model.notes, *notes),
    )


def _json(package: Folder, path: str) -> dict[str, Any]:
    return parse_object(package.read(path, DEFAULT_LIMITS.json_bytes), path)


def _object(value: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    found = value.get(key)
    if not isinstance(found, dict):
        raise ModelError(f"{where}: {key} has to be an object", remedy="Write the package again with onnxruntime 1.32.")
    # The keys are names that notes and errors print.
    odd = next((name for name in found if not IDENTIFIER.fullmatch(name)), None)
    if odd is not None:
        raise ModelError(
            f"{where}: {key} has the name {ascii(odd)[:60]}", remedy="Use names of 1 to 256 printable characters."
        )
    return found


def _join(base: str, path: str) -> str:
    # Not normalised: a path with a way up in it is to be refused, not repaired.
    return f"{base}/{path}" if base else path


def _parent(path: str) -> str:
    parent = str(PurePosixPath(path).parent)
    return "" if parent == "." else parent
