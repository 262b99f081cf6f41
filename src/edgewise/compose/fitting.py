"""`edgewise inspect --target`: the models that a word names, held against a runtime."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from onnx import ModelProto

from edgewise.compress.targets.check import Fit, check_target_fit
from edgewise.compress.targets.profile import Profile, find_profile, profiles
from edgewise.errors import UnsupportedError
from edgewise.graph.inspect import read_model
from edgewise.importing.onnx_file import import_onnx
from edgewise.store.bundles import find_bundle, open_path
from edgewise.store.home import Home

__all__ = ["all_profiles", "fits"]


def all_profiles() -> tuple[Profile, ...]:
    """Every target that there is a profile of."""
    return tuple(find_profile(name) for name in profiles())


def fits(word: str, target: str) -> dict[str, Fit]:
    """Model (a file, or each ONNX variant of a bundle) -> how it fits ``target``. Nothing is run.

    Raises NotFoundError for an unknown target, bundle or file, UnsupportedError for a bundle without an ONNX variant.
    """
    profile = find_profile(target)
    if Path(word).suffix == ".tflite":
        raise UnsupportedError(
            f"{word} is no ONNX file, and targets are checked for ONNX",
            remedy="`edgewise import` opens it with LiteRT here; `edgewise eval` tells which nodes ran on what.",
        )
    found = {name: check_target_fit(model, profile) for name, model in _models(word)}
    if not found:
        raise UnsupportedError(
            f"{word} has no ONNX variant, and targets are checked for ONNX", remedy="Name an ONNX file."
        )
    return found


def _models(word: str) -> Iterator[tuple[str, ModelProto]]:
    path = Path(word)
    if path.suffix == ".onnx":
        files = import_onnx(path).files
        yield path.name, read_model(next(iter(files.values())), external=lambda location: files[location])
        return
    bundle = open_path(find_bundle(word, Home.default()))
    for variant in bundle.document.variants:
        if variant.format == "onnx":
            parts = bundle.model_files(variant)
            by_name = {Path(name).name: data for name, data in parts.items()}
            yield variant.name, read_model(next(iter(parts.values())), external=_reader(by_name))


def _reader(files: Mapping[str, bytes]) -> Callable[[str], bytes]:
    return lambda location: files[Path(location).name]
