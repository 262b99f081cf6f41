"""A network's config from the form of a data set."""

from collections.abc import Mapping
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from edgewise.errors import InputError, NotFoundError
from edgewise.networks.inputs import ImageInput, SequenceInput, TokenInput
from edgewise.networks.registry import NETWORKS, Config, Network

__all__ = ["fit_config"]

_COLOURS = {1, 3, 4}
_KEPT = {"uint8", "int8", "int16"}
_FLOATS = {"float16", "float32", "float64"}
_TOKENS = {"int32", "int64", "uint16", "uint32"}
_INPUT_SETTINGS = ("scale", "mean", "std", "standardised", "derived", "rest")


def fit_config(
    name: str, shape: tuple[int, ...], dtype: str, *, classes: int = 0, settings: Mapping[str, object] | None = None
) -> Config:
    """The config of network ``name`` for samples of ``shape`` (without the batch) and NumPy type ``dtype``.

    classes: how many there are; 0 keeps the default, and networks without classes ignore it. settings: fields of the config
    (widths, dropout ...), lists for tuples; with them ``scale``, ``mean`` and ``std`` of the input, and for tokens
    ``vocabulary``. Images are (H, W), (H, W, C) or (C, H, W) of 1, 3 or 4 colours; bytes are scaled by 1/255. Sequences are
    (T,) or (T, C); integers of more than 16 bits are tokens. Other float types count as float32: cast the data.
    Raises NotFoundError for an unknown network, InputError where data and network do not go together or a setting is unknown.
    """
    network = NETWORKS.get(name)
    if network is None:
        raise NotFoundError(f"there is no network {name!r}", remedy=f"Take one of {', '.join(NETWORKS)}.", name=name)
    given: dict[str, Any] = {key: _tuples(value) for key, value in (settings or {}).items()}
    known = {one.name for one in fields(network.config)} - {"input"}
    if "classes" in known and classes:
        given.setdefault("classes", classes)
    if network.input in {"image", "sequence"}:
        front: dict[str, Any] = {key: given.pop(key) for key in _INPUT_SETTINGS if key in given}
        given["input"] = _input(name, network, shape, dtype, front, given)
    elif dtype not in _TOKENS or len(shape) != 1:
        raise InputError(f"{name} takes ids, one row of integers per sample, not {dtype} {shape}")
    elif "length" not in given:
        given["length"] = shape[0]
    if unknown := sorted(set(given) - known - {"input"} | set(settings or {}) & {"input"}):
        raise InputError(
            f"{name} has no setting {', '.join(unknown)}",
            remedy=f"Its settings are {', '.join(sorted(known))}, and of its input {', '.join(_INPUT_SETTINGS)}.",
            settings=unknown,
        )
    kinds = get_type_hints(network.config)
    if wrong := [name for name, value in given.items() if not _is(value, kinds[name])]:
        said = ", ".join(f"{name} {given[name]!r}" for name in wrong)
        raise InputError(
            f"settings of {name} have the wrong type: {said}",
            remedy="Where numbers are counted they are whole; several are written with commas, as in widths=16,32.",
        )
    try:
        return network.config(**given)
    except TypeError as error:
        texts = [
            f"{one.name}={given[one.name]}" for one in fields(network.config)
            if isinstance(given.get(one.name), str) and not isinstance(one.default, str)
        ]  # fmt: skip
        raise InputError(
            f"a setting of {name} has the wrong type: {', '.join(texts) or error}",
            remedy="Numbers are written as in widths=16,32.",
        ) from error


def _input(
    name: str, network: Network, shape: tuple[int, ...], dtype: str, front: dict[str, Any], given: dict[str, Any]
) -> ImageInput | SequenceInput | TokenInput:
    if network.input == "sequence" and dtype in _TOKENS and len(shape) == 1 and name != "cnn1d":
        if "vocabulary" not in given:
            raise InputError(f"{name} over tokens needs to know how many there are", remedy="Set vocabulary.")
        return TokenInput(int(given.pop("vocabulary")), shape[0])
    if dtype not in _KEPT | _FLOATS:
        raise InputError(f"{name} takes {', '.join(sorted(_KEPT | _FLOATS))}, not {dtype}", remedy="Cast the data.")
    kind = dtype if dtype in _KEPT else "float32"
    try:
        if network.input == "sequence":
            return _sequence(name, shape, kind, front)
        return _image(name, shape, kind, front)
    except TypeError as error:
        raise InputError(f"a setting of the input of {name} is unknown or has the wrong type: {error}") from error


def _image(name: str, shape: tuple[int, ...], dtype: str, front: dict[str, Any]) -> ImageInput:
    if dtype == "uint8":
        front.setdefault("scale", 1 / 255)
    if len(shape) == 2:
        return ImageInput(*shape, 1, dtype, "nhw", **front)
    if len(shape) == 3 and shape[2] in _COLOURS:
        return ImageInput(*shape, dtype, "nhwc", **front)
    if len(shape) == 3 and shape[0] in _COLOURS:
        return ImageInput(*shape[1:], shape[0], dtype, "nchw", **front)
    raise InputError(f"{name} takes images (H, W), (H, W, C) or (C, H, W) of 1, 3 or 4 colours, not {shape}")


def _sequence(name: str, shape: tuple[int, ...], dtype: str, front: dict[str, Any]) -> SequenceInput:
    if len(shape) == 1:
        return SequenceInput(shape[0], 1, dtype, "nt", **front)
    if len(shape) == 2:
        return SequenceInput(*shape, dtype, "ntc", **front)
    raise InputError(f"{name} takes sequences (T,) or (T, C), not {shape}")


def _is(value: object, kind: Any) -> bool:
    """Whether ``value`` may stand in a field of this type, as far as numbers go: words are the config's to judge."""
    parts = get_args(kind)
    if get_origin(kind) is tuple:
        inner = parts[:1] * len(value) if isinstance(value, tuple) and Ellipsis in parts else parts
        return isinstance(value, tuple) and len(value) == len(inner) and all(map(_is, value, inner))
    if get_origin(kind) in (UnionType, Union):
        return any(_is(value, part) for part in parts)
    if kind in (bool, NoneType):
        return isinstance(value, kind)
    if kind in (int, float):
        return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    return True


def _tuples(value: object) -> object:
    return tuple(_tuples(one) for one in value) if isinstance(value, list | tuple) else value
