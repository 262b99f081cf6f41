"""One door for everything that can become a variant: a file or folder in, imported models by variant name out."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgewise.bundle.tensors import StateSpec, TensorSpec
from edgewise.errors import InputError, MissingExtraError, NotFoundError, StorageError
from edgewise.importing.compressed_folder import import_compressed, is_compressed
from edgewise.importing.imported import ImportedModel, name_from

__all__ = ["Imported", "import_models"]


@dataclass(frozen=True, slots=True)
class Imported:
    """What came in, and what its source says about it; what the source does not say is empty.

    models: variant name -> model. files: of the bundle and of no variant. decision, states, inputs: in the names of the first
    model; inputs are all of its inputs, with the ranges and kinds that its file cannot state, or empty: the model's own.
    description, licence: of the bundle that a package was exported from. notes: for people.
    """

    models: dict[str, ImportedModel]
    task: str = ""
    labels: tuple[str, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    decision: str = ""
    states: tuple[StateSpec, ...] = ()
    inputs: tuple[TensorSpec, ...] = ()
    description: str = ""
    licence: str = ""


def import_models(sources: Sequence[str], *, allow_unfaithful: bool = False) -> Imported:
    """Import each of ``sources``: ``PATH`` or ``VARIANT=PATH``. A text that is an existing path is a path, even with ``=`` in it.

    A path is an ONNX or TFLite file, a Hugging Face repository folder, an ``.ortpackage`` folder, a folder that `edgewise compress`
    wrote, or one with model files.
    Without a name a variant is called as in its package, else by its precision. The first source states the
    interface. allow_unfaithful: take smaller variants of a repository that differ from its fp32 one. Raises what the importers
    raise, and InputError where two variants get one name or one name is given to several.
    """
    models: dict[str, ImportedModel] = {}
    parts: list[Imported] = []
    for source in sources:
        named, path = _split(source)
        part = _import_one(path, allow_unfaithful)
        if named:
            part = _renamed(part, named, path)
        parts.append(part)
        for name, model in part.models.items():
            if name in models:
                raise InputError(
                    f"two variants would be called {name!r}",
                    remedy="Name them: edgewise pack small=a.onnx large=b.onnx",
                )
            models[name] = model
    first = parts[0] if parts else Imported({})
    others = [
        f"{source}: decision, states and ranges are not taken over; the first source states the interface"
        for source, part in list(zip(sources, parts, strict=True))[1:]
        if part.decision or part.states or part.inputs
    ]
    return replace(
        first,
        models=models,
        task=next((part.task for part in parts if part.task), ""),
        labels=next((part.labels for part in parts if part.labels), ()),
        files={path: data for part in parts for path, data in part.files.items()},
        notes=(*(note for part in parts for note in part.notes), *others),
        description=next((part.description for part in parts if part.description), ""),
        licence=next((part.licence for part in parts if part.licence), ""),
    )


def _split(source: str) -> tuple[str, Path]:
    """The variant's name, empty where none is given, and the path."""
    named, separator, text = source.partition("=")
    if source and (not separator or _exists(Path(source))):
        return "", Path(source)
    if not named or not text:
        raise InputError(
            f"{source!r} is neither an existing path nor VARIANT=PATH", remedy="Write it as in small=model.onnx."
        )
    if not _exists(Path(text)):
        raise NotFoundError(f"there is no model at {text}, nor at {source}", remedy="Check the path.", path=text)
    return named, Path(text)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a text that is longer than a name may be, or lies in a closed folder, is no path here
        return False


def _renamed(part: Imported, name: str, path: Path) -> Imported:
    if len(part.models) != 1:
        raise InputError(
            f"{name}={path}: the folder has {len(part.models)} models ({', '.join(part.models)}), and one name cannot go to all",
            remedy=f"Name them one by one, as in {name}=PATH for each model file, or leave {name}= out.",
        )
    return replace(part, models={name_from(name): next(iter(part.models.values()))})


def _import_one(path: Path, allow_unfaithful: bool) -> Imported:
    if not _exists(path):
        raise NotFoundError(f"there is no model at {path}", remedy="Check the path.", path=str(path))
    try:
        if path.is_dir():
            return _import_folder(path, allow_unfaithful)
        if path.suffix.lower() == ".tflite":
            from edgewise.importing.tflite_file import import_tflite  # noqa: PLC0415  (extra: litert)

            return _by_precision([import_tflite(path)])
        from edgewise.importing.onnx_file import import_onnx  # noqa: PLC0415  (extra: pack)

        return _by_precision([import_onnx(path)])
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"importing {path} needs {error.name}", remedy="pip install 'edgewise[pack]'") from None
    except OSError as error:
        raise StorageError.of("read", path, error) from error


def _import_folder(path: Path, allow_unfaithful: bool) -> Imported:
    if (path / "manifest.json").is_file():
        return _import_package(path)
    if is_compressed(path):
        made = import_compressed(path)
        alone = ("the search chose the model as it came: nothing smaller is packed",) if len(made.models) == 1 else ()
        return Imported(dict(made.models), made.task, made.labels, notes=alone, decision=made.decision)
    if (path / "config.json").is_file() or (path / "onnx").is_dir():
        from edgewise.importing.hub_repository import import_hub  # noqa: PLC0415  (extra: pack)

        hub = import_hub(path, allow_unfaithful=allow_unfaithful)
        named = _by_precision(list(hub.variants))
        return Imported(named.models, hub.task, hub.labels, dict(hub.files), (*named.notes, *hub.notes))
    models = sorted(file for file in path.iterdir() if file.suffix.lower() in (".onnx", ".tflite"))
    if not models:
        raise NotFoundError(
            f"the folder {path} has no model files", remedy="Pass a folder with .onnx or .tflite files."
        )
    found = [_import_one(file, allow_unfaithful) for file in models]
    return _by_precision([model for part in found for model in part.models.values()])


def _import_package(path: Path) -> Imported:
    from edgewise.importing.ort_package import import_ort_package  # noqa: PLC0415  (extra: pack)

    package = import_ort_package(path)
    named = _named([model.name for model in package.variants], list(package.variants))
    return replace(
        named, task=package.task, labels=package.labels, notes=(*named.notes, *package.notes), decision=package.decision,
        states=package.states, inputs=package.inputs, description=package.description, licence=package.licence,
    )  # fmt: skip


def _by_precision(models: list[ImportedModel]) -> Imported:
    """Named by precision where that tells them apart, else by file name."""
    precisions = [model.precision for model in models]
    apart = len(set(precisions)) == len(precisions)
    return _named(precisions if apart else [name_from(model.name) for model in models], models)


def _named(names: list[str], models: list[ImportedModel]) -> Imported:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"two variants would be called {twice[0]!r}", remedy="Name them: edgewise pack small=a.onnx large=b.onnx"
        )
    return Imported(
        dict(zip(names, models, strict=True)), notes=tuple(note for model in models for note in model.notes)
    )
