"""A repository of the Hugging Face Hub, on disk, becomes variants of one model: each opened, each compared with fp32.

``hub_layout`` says which file is what, ``hub_preprocessing`` what happens to an image before the model, ``fidelity`` how far a
smaller variant is off; ``hub_download`` gets the files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgewise.bundle.strict_json import parse_object
from edgewise.errors import ModelError, NotFoundError, UnsupportedError
from edgewise.importing.fidelity import compare_variants
from edgewise.importing.folder import Folder
from edgewise.importing.hub_layout import SUFFIXES, find_onnx_files, kept_files, read_labels, read_task
from edgewise.importing.hub_preprocessing import read_image_steps
from edgewise.importing.image_front import takes_image, with_image_front
from edgewise.importing.imported import ImportedModel
from edgewise.importing.onnx_file import import_onnx

__all__ = ["HubImport", "import_hub"]

_JSON_LIMIT = 4 << 20  # bytes


@dataclass(frozen=True, slots=True)
class HubImport:
    """What a repository holds.

    variants: named as Transformers.js names them (fp32, fp16, q8, ...), fp32 first. files: tokenizer, licence, model card.
    notes: what was done about preprocessing, and which files were left out and why.
    """

    variants: tuple[ImportedModel, ...]
    labels: tuple[str, ...]
    task: str
    files: Mapping[str, bytes]
    notes: tuple[str, ...]


def import_hub(folder: Path, *, allow_unfaithful: bool = False) -> HubImport:
    """The model in the repository at ``folder``.

    Where preprocessor_config.json states image preprocessing exactly, it becomes part of the graph: the variants then take raw
    uint8 images (batch, height, width, RGB). Raises MismatchError, with the numbers, for a variant whose outputs have a cosine
    below 0.9 against fp32's, unless ``allow_unfaithful``; UnsupportedError where there is no ONNX model; what ``import_onnx``
    raises for the fp32 file. A smaller variant that cannot run here is left out, and the notes say why.
    """
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}", remedy="Check the path, or fetch the repository first.")
    place = Folder(folder)
    config = _json(place, "config.json")
    labels, task = read_labels(config), read_task(config)
    models, notes = _models(place, labels)
    models, more = _with_preprocessing(place, models)
    notes += more
    reference, *others = models
    if reference.name == "fp32" and others:
        vocabulary = config.get("vocab_size")
        compared = compare_variants(
            reference,
            others,
            vocabulary=vocabulary if isinstance(vocabulary, int) else 0,
            allow_unfaithful=allow_unfaithful,
        )
        models = [reference, *(model for model, _ in compared)]
    elif others:
        notes.append(f"there is no fp32 variant, so nothing says how far {', '.join(m.name for m in models)} are off")
    return HubImport(tuple(models), labels, task, kept_files(place), tuple(notes))


def _models(place: Folder, labels: tuple[str, ...]) -> tuple[list[ImportedModel], list[str]]:
    models: list[ImportedModel] = []
    notes: list[str] = []
    for suffix, path in find_onnx_files(place).items():
        name, precision = SUFFIXES[suffix]
        place.size(path)  # refuses a link before the file is opened
        try:
            model = import_onnx(place.root / path)
        except (UnsupportedError, ModelError) as error:
            if not suffix:
                raise
            notes.append(f"{path} is left out: {error.what}")
            continue
        if model.precision != precision:
            notes.append(f"{path} is named as {precision}; its weights look like {model.precision}")
        models.append(
            replace(model, name=name, precision=precision, labels=labels, notes=(*model.notes, f"from {path}"))
        )
    if not models:
        raise UnsupportedError(f"no ONNX file of the repository can run here: {'; '.join(notes)}")
    return models, notes


def _with_preprocessing(place: Folder, models: list[ImportedModel]) -> tuple[list[ImportedModel], list[str]]:
    config = _json(place, "preprocessor_config.json")
    if not config:
        return models, []
    steps, notes = read_image_steps(config)
    if steps is None:
        return models, notes
    unfit = [reason for model in models if (reason := takes_image(model, steps))]
    if unfit:
        return models, [f"preprocessing is left to the application: {unfit[0]}"]
    return [with_image_front(model, steps) for model in models], notes


def _json(place: Folder, path: str) -> dict[str, Any]:
    return parse_object(place.read(path, _JSON_LIMIT), path) if place.has(path) else {}
