"""To ONNX Runtime's own model package: a bundle's ONNX variants as one component, proven by opening it with onnxruntime.

``ort_package`` says what a package is and reads it; docs/adr/0006-ortpackage.md says what it cannot hold.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from typing import Any

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.document import Variant
from edgewise.errors import EdgewiseError, InputError, ModelError, StorageError, UnsupportedError
from edgewise.importing.ort_package import COMPONENT
from edgewise.importing.ort_package_metadata import model_metadata, package_metadata, variant_metadata
from edgewise.runtime import telemetry

telemetry.disable()

import onnxruntime as ort  # noqa: E402  (the switch above must come first)

__all__ = ["export_ort_package"]

_CPU = "CPUExecutionProvider"


def export_ort_package(bundle: Bundle, folder: Path, *, first: str = "") -> list[str]:
    """Write the ONNX variants of ``bundle`` as a package with one component, and open it once with onnxruntime.

    first: the variant to list first; among variants for one provider onnxruntime takes the first. What the document says on the
    model, its licence, its description and its digest go along as additional metadata; signatures, receipts, the golden set and
    files of no variant have no place in a package. Returns the names of the variants that were left out because they are no
    ONNX. Raises InputError where ``folder`` has content, UnsupportedError where no variant is ONNX, StorageError where the
    package cannot be written; nothing is left behind then.
    """
    variants = [variant for variant in bundle.document.variants if variant.format == "onnx"]
    if not variants:
        raise UnsupportedError(f"{bundle.ref} has no ONNX variant; a package of ONNX Runtime holds nothing else")
    if first:
        variants.sort(key=lambda variant: variant.name != bundle.variant(first).name)
    try:
        if folder.is_symlink() or folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            raise InputError(
                f"{folder} exists and is not an empty folder", remedy="Name a folder that does not exist yet."
            )
        _write(bundle, variants, folder)
    except OSError as error:
        raise StorageError.of("write", folder, error) from error
    return [variant.name for variant in bundle.document.variants if variant not in variants]


def _write(bundle: Bundle, variants: Sequence[Variant], folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that the last step is a rename; not called like it, whose name may be as long as a name can be.
    draft = Path(mkdtemp(prefix=".ortpackage-", dir=folder.parent))
    try:
        listed = {
            variant.name: _write_variant(bundle, variant, draft / COMPONENT / variant.name) for variant in variants
        }
        about = model_metadata(bundle.document)
        _write_json(draft / COMPONENT / "component.json", {"variants": listed, "additional_metadata": about})
        _write_json(draft / "manifest.json", _manifest(bundle))
        _prove(draft, [variant.name for variant in variants])
        draft.chmod(0o755)
        draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


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
    return {
        "variant_directory": variant.name, "ep": _CPU, "executor_info": {"ort": {"model_file": name}},
        "additional_metadata": variant_metadata(bundle, variant),
    }  # fmt: skip


def _manifest(bundle: Bundle) -> dict[str, Any]:
    document = bundle.document
    manifest: dict[str, Any] = {
        "schema_version": "1.0", "layout": "portable", "package_name": document.name, "package_version": document.version,
        "components": {COMPONENT: COMPONENT}, "additional_metadata": package_metadata(bundle),
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
