"""From and to ONNX Runtime's own model package (``.ortpackage``), as read by onnxruntime 1.32.

A package is a folder: ``manifest.json`` names components, a component (``component.json``, or inline) names variants, each
for one execution provider, and ``executor_info["ort"]["model_file"]`` of a variant names its model. The reader in onnxruntime
lets the manifest itself lift path confinement (``"layout": "installed"``) and does not compare shared assets with the digest
in their name; here every path is read below the package and nowhere else, and those digests are compared.
docs/adr/0006-ortpackage.md says why bundles relate to packages by import and export only.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from typing import Any

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.document import PRECISIONS, Variant
from edgewise.bundle.fields import Form
from edgewise.bundle.limits import DEFAULT_LIMITS
from edgewise.bundle.strict_json import parse_object
from edgewise.errors import EdgewiseError, InputError, ModelError, NotFoundError, UnsupportedError
from edgewise.importing.folder import Folder, is_plain_path
from edgewise.importing.imported import ImportedModel, name_from
from edgewise.importing.onnx_file import import_onnx
from edgewise.runtime import telemetry

telemetry.disable()

import onnxruntime as ort  # noqa: E402  (the switch above must come first)

__all__ = ["COMPONENT", "export_ort_package", "import_ort_package"]

#: The one component of a package that edgewise writes.
COMPONENT = "model"
_CPU = "CPUExecutionProvider"
_OURS = "edgewise"  # our key in additional_metadata, where a package keeps what its readers do not interpret
_SCHEMA = "1."  # readers take any minor version of their major one


@dataclass(frozen=True, slots=True)
class _Found:
    """One variant of a package that onnxruntime itself could run: its model file, and what was recorded on it."""

    component: str
    name: str
    provider: str
    options: tuple[str, ...]
    model: str  # path below the package
    labels: tuple[str, ...]
    recorded: Mapping[str, Any]


def import_ort_package(folder: Path) -> list[ImportedModel]:
    """Every variant of every component that can be read and run here, in the package's order; the others are named in the notes.

    Raises RefusedError for a path or link that leads out of the package, ModelError for a file that is not the one recorded,
    UnsupportedError where no variant can be imported, NotFoundError where there is no package.
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
    models: list[ImportedModel] = []
    left_out: list[str] = []
    for component, base, details in _components(package, manifest):
        for name, variant in _object(details, "variants", component).items():
            label = f"{component}/{name}"
            try:
                found = _find(package, manifest, component, base, name, variant, details)
                models.append(_import(folder, found))
            except (UnsupportedError, ModelError) as error:
                if error.details.get("changed"):
                    raise
                left_out.append(f"{label} is left out: {error.what}")
    if not models:
        raise UnsupportedError(
            f"no variant of {folder.name} can be imported: {'; '.join(left_out) or 'it lists none'}", left_out=left_out
        )
    if len({model.name for model in models}) != len(models):
        raise InputError("two variants of the package come to the same name", remedy="Rename one in the package.")
    return [model.with_notes(*left_out) for model in models]


def export_ort_package(bundle: Bundle, folder: Path, *, first: str = "") -> list[str]:
    """Write the ONNX variants of ``bundle`` as a package with one component, and open it once with onnxruntime.

    first: the variant to list first; among variants for one provider onnxruntime takes the first. Labels, interface and the
    digest of our document go along as additional metadata; signatures and receipts have no place in a package. Returns the
    names of the variants that were left out because they are no ONNX. Raises InputError where ``folder`` has content,
    UnsupportedError where no variant is ONNX.
    """
    if folder.is_symlink() or folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not an empty folder", remedy="Name a folder that does not exist yet.")
    variants = [variant for variant in bundle.document.variants if variant.format == "onnx"]
    if not variants:
        raise UnsupportedError(f"{bundle.ref} has no ONNX variant; a package of ONNX Runtime holds nothing else")
    if first:
        variants.sort(key=lambda variant: variant.name != bundle.variant(first).name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        listed = {
            variant.name: _write_variant(bundle, variant, draft / COMPONENT / variant.name) for variant in variants
        }
        _write_json(draft / COMPONENT / "component.json", {"variants": listed, "additional_metadata": _about(bundle)})
        _write_json(draft / "manifest.json", _manifest(bundle))
        _prove(draft, [variant.name for variant in variants])
        draft.chmod(0o755)
        draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return [variant.name for variant in bundle.document.variants if variant not in variants]


# --------------------------------------------------------------------------------- reading


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


def _find(
    package: Folder,
    manifest: Mapping[str, Any],
    component: str,
    base: str,
    name: str,
    variant: Any,
    details: Mapping[str, Any],
) -> _Found:
    form = Form(variant, "package variant", f"{component}/{name}")
    provider = form.text("ep", default="")
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
    model = info.get("model_file") if isinstance(info, dict) else None
    if not isinstance(info, dict) or not isinstance(model, str):
        raise UnsupportedError("it names no model for onnxruntime (executor_info.ort.model_file)")
    options = info.get("session_options") or {}
    if "session.model_external_initializers_file_folder_path" in options:
        raise UnsupportedError("its weights lie in another folder than its model")
    path = _shared(package, manifest, model) if model.startswith("sha256:") else _join(home, model)
    package.size(path)
    return _Found(
        component, name, provider, tuple(sorted({**options, **(info.get("provider_options") or {})})), path,
        tuple(str(label) for label in _ours(details).get("labels") or ()), _ours(variant),
    )  # fmt: skip


def _shared(package: Folder, manifest: Mapping[str, Any], reference: str) -> str:
    """The path of ``sha256:HEX/FILE``, after comparing the asset's content with the digest, which onnxruntime does not."""
    uri, _, rest = reference.partition("/")
    hexdigits = uri.removeprefix("sha256:")
    placed = (manifest.get("shared_assets") or {}).get(uri, f"shared_assets/sha256-{hexdigits}")
    if not isinstance(placed, str) or not is_plain_path(placed) or not rest:
        raise UnsupportedError(f"the shared asset {reference[:100]!r} does not lie in the package")
    path = f"{placed}/{rest}"
    package.size(path)  # refuses links and ways out before anything walks the folder
    for link in (place for place in (package.root / placed).rglob("*") if place.is_symlink()):
        package.size(link.relative_to(package.root).as_posix())
    found = ort.ModelPackage.compute_directory_hash(str(package.root / placed))
    if found != uri:
        raise ModelError(f"the shared asset {uri} has the content {found}", changed=True, expected=uri, got=found)
    return path


def _import(folder: Path, found: _Found) -> ImportedModel:
    model = import_onnx(folder / found.model)
    recorded = found.recorded.get("digests")
    if isinstance(recorded, list) and recorded and list(model.digests) != recorded:
        raise ModelError(
            f"{found.component}/{found.name} is not the file that was exported: digests {list(model.digests)}, recorded "
            f"{recorded}",
            remedy="Export the package again.", changed=True,
        )  # fmt: skip
    precision = found.recorded.get("precision")
    notes = [
        f"from {folder.name}, component {found.component}, variant {found.name}, for {found.provider or 'no provider'}"
    ]
    if found.options:
        notes.append(f"session and provider options are not taken over: {', '.join(found.options)}")
    if isinstance(document := found.recorded.get("document"), str):
        notes.append(f"exported from the bundle document {document[:80]}")
    prefix = "" if found.component == COMPONENT else f"{found.component}-"
    return replace(
        model,
        name=name_from(f"{prefix}{found.name}"),
        precision=precision if precision in PRECISIONS else model.precision,
        labels=found.labels or model.labels,
        notes=(*model.notes, *notes),
    )


def _ours(value: Any) -> dict[str, Any]:
    metadata = value.get("additional_metadata") if isinstance(value, dict) else None
    ours = metadata.get(_OURS) if isinstance(metadata, dict) else None
    return ours if isinstance(ours, dict) else {}


def _json(package: Folder, path: str) -> dict[str, Any]:
    return parse_object(package.read(path, DEFAULT_LIMITS.json_bytes), path)


def _object(value: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    found = value.get(key)
    if not isinstance(found, dict):
        raise ModelError(f"{where}: {key} has to be an object", remedy="Write the package again with onnxruntime 1.32.")
    return found


def _join(base: str, path: str) -> str:
    # Not normalised: a path with a way up in it is to be refused, not repaired.
    return f"{base}/{path}" if base else path


def _parent(path: str) -> str:
    parent = str(PurePosixPath(path).parent)
    return "" if parent == "." else parent


# --------------------------------------------------------------------------------- writing


def _write_variant(bundle: Bundle, variant: Variant, folder: Path) -> dict[str, Any]:
    folder.mkdir(parents=True)
    model, *rest = bundle.model_files(variant).items()
    name = PurePosixPath(model[0]).name
    if name in dict(rest):
        raise UnsupportedError(f"{variant.name}: the model and its data would both be called {name}")
    # External data is named relative to the model, so the model lies at the top whatever its path in the bundle was.
    for path, data in ((name, model[1]), *rest):
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    ours = {
        "document": bundle.document_digest, "digests": [file.digest for file in variant.files],
        "precision": variant.precision, "inputs": dict(variant.inputs), "outputs": dict(variant.outputs),
    }  # fmt: skip
    return {
        "variant_directory": variant.name, "ep": _CPU, "executor_info": {"ort": {"model_file": name}},
        "additional_metadata": {_OURS: ours},
    }  # fmt: skip


def _about(bundle: Bundle) -> dict[str, Any]:
    document = bundle.document
    return {
        _OURS: {
            "task": document.task, "labels": list(document.labels), "decision": document.decision,
            "inputs": [spec.to_json() for spec in document.inputs],
            "outputs": [spec.to_json() for spec in document.outputs],
            "states": [state.to_json() for state in document.states],
        }
    }  # fmt: skip


def _manifest(bundle: Bundle) -> dict[str, Any]:
    document = bundle.document
    manifest: dict[str, Any] = {
        "schema_version": "1.0", "layout": "portable", "package_name": document.name, "package_version": document.version,
        "components": {COMPONENT: COMPONENT},
        "additional_metadata": {_OURS: {"document": bundle.document_digest, "licence": document.licence}},
    }  # fmt: skip
    return manifest | ({"description": document.description} if document.description else {})


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    # Not our canonical form: the order of the variants has a meaning here.
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _prove(folder: Path, names: list[str]) -> None:
    try:
        context = ort.ModelPackageContext(str(folder))
        seen = list(context.get_variant_names(COMPONENT))
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"onnxruntime does not read the package that was written: {error}") from None
    if seen != names:
        raise EdgewiseError(f"onnxruntime reads the variants {seen}; {names} were written")
