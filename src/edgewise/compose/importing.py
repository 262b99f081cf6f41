"""One door for everything that can become a variant: a file or folder in, imported models by variant name out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgewise.errors import InputError, MissingExtraError, NotFoundError
from edgewise.importing.imported import ImportedModel, name_from

__all__ = ["Imported", "import_models"]


@dataclass(frozen=True, slots=True)
class Imported:
    """models: variant name -> model. task, labels: where the source says them, else empty. notes: for people."""

    models: dict[str, ImportedModel]
    task: str = ""
    labels: tuple[str, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def import_models(sources: Sequence[str], *, allow_unfaithful: bool = False) -> Imported:
    """Import each of ``sources``: ``PATH`` or ``VARIANT=PATH``.

    A path is an ONNX or TFLite file, a Hugging Face repository folder, or an ``.ortpackage`` folder. Without a name a variant
    is called by its precision. allow_unfaithful: take smaller variants of a repository that differ from its fp32 one. Raises
    what the importers raise, and InputError where two variants get one name.
    """
    models: dict[str, ImportedModel] = {}
    parts: list[Imported] = []
    for source in sources:
        named, _, text = source.rpartition("=")
        part = _import_one(Path(text), allow_unfaithful)
        parts.append(part)
        for name, model in part.models.items():
            variant = name_from(named) if named and len(part.models) == 1 else name
            if variant in models:
                raise InputError(
                    f"two variants would be called {variant!r}",
                    remedy="Name them: edgewise pack small=a.onnx large=b.onnx",
                )
            models[variant] = model
    return Imported(
        models,
        next((part.task for part in parts if part.task), ""),
        next((part.labels for part in parts if part.labels), ()),
        {path: data for part in parts for path, data in part.files.items()},
        tuple(note for part in parts for note in part.notes),
    )


def _import_one(path: Path, allow_unfaithful: bool) -> Imported:
    if not path.exists():
        raise NotFoundError(f"there is no model at {path}", path=str(path))
    try:
        if path.is_dir():
            return _import_folder(path, allow_unfaithful)
        if path.suffix.lower() == ".tflite":
            from edgewise.importing.tflite_file import import_tflite  # noqa: PLC0415  (extra: litert)

            return _named([import_tflite(path)])
        from edgewise.importing.onnx_file import import_onnx  # noqa: PLC0415  (extra: pack)

        return _named([import_onnx(path)])
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"importing {path.name} needs {error.name}", remedy="pip install 'edgewise[pack]'"
        ) from None


def _import_folder(path: Path, allow_unfaithful: bool) -> Imported:
    if (path / "manifest.json").is_file():
        from edgewise.importing.ort_package import import_ort_package  # noqa: PLC0415  (extra: pack)

        return _named(import_ort_package(path))
    if (path / "config.json").is_file() or (path / "onnx").is_dir():
        from edgewise.importing.hub_repository import import_hub  # noqa: PLC0415  (extra: pack)

        hub = import_hub(path, allow_unfaithful=allow_unfaithful)
        named = _named(list(hub.variants))
        return Imported(named.models, hub.task, hub.labels, dict(hub.files), (*named.notes, *hub.notes))
    models = sorted(file for file in path.iterdir() if file.suffix.lower() in (".onnx", ".tflite"))
    if not models:
        raise NotFoundError(
            f"the folder {path} has no model files", remedy="Pass a folder with .onnx or .tflite files."
        )
    found = [_import_one(file, allow_unfaithful) for file in models]
    return _named([model for part in found for model in part.models.values()])


def _named(models: list[ImportedModel]) -> Imported:
    """By precision where that tells them apart, else by file name."""
    precisions = [model.precision for model in models]
    names = precisions if len(set(precisions)) == len(precisions) else [name_from(model.name) for model in models]
    return Imported(
        dict(zip(names, models, strict=True)), notes=tuple(note for model in models for note in model.notes)
    )
