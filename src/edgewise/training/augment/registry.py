"""Augmentation by words, as the command line takes it: ``flip,shift=4,noise=0.02@0.5``; or a preset for a kind of data."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from types import MappingProxyType
from typing import Any

from edgewise.errors import InputError
from edgewise.training.augment import audio, image, sensor, text
from edgewise.training.augment.mix import Mixup
from edgewise.training.augment.step import Sometimes, Step
from edgewise.training.augment.time import Crop

__all__ = ["AUGMENTATIONS", "PRESETS", "parse_augmentations"]

#: Kind of data -> word -> what it means.
AUGMENTATIONS: Mapping[str, Mapping[str, Callable[..., Step]]] = MappingProxyType({
    "image": {
        "shift": image.Shift, "flip": image.Flip, "vflip": image.VerticalFlip,
        "rot90": image.Turn, "affine": image.Affine, "crop": image.CropResize,
        "light": image.Light, "noise": image.Noise, "cutout": image.Cutout, "mixup": Mixup,
    },
    "audio": {
        "shift": audio.Shift, "slide": audio.Slide, "gain": audio.Gain,
        "noise": audio.Noise, "hiss": audio.Hiss, "speed": audio.Speed,
        "polarity": audio.Polarity, "silence": audio.Silence, "bandstop": audio.BandStop,
        "crop": Crop, "mixup": Mixup,
    },
    "spectrogram": {"timemask": audio.TimeMask, "bandmask": audio.BandMask, "mixup": Mixup},
    "sensor": {
        "jitter": sensor.Jitter, "scale": sensor.Scale, "rotate": sensor.Rotate,
        "speed": sensor.Speed, "timewarp": sensor.TimeWarp, "channels": sensor.ChannelDropout,
        "shift": sensor.Shift, "crop": Crop, "mixup": Mixup,
    },
    "text": {"drop": text.TokenDropout, "swap": text.TokenSwap},
})  # fmt: skip
#: A careful choice for each kind: nothing that turns one class into another. Flips and turns are for the user to add.
PRESETS: Mapping[str, str] = MappingProxyType({
    "image": "shift,affine=5:0.05,light,noise",
    "audio": "slide,speed,gain,hiss@0.5",
    "spectrogram": "timemask,bandmask",
    "sensor": "scale,jitter,timewarp",
    "text": "drop",
    "none": "",
})  # fmt: skip


def parse_augmentations(words: str, kind: str) -> tuple[Step, ...]:
    """The steps that ``words`` name, in their order: ``NAME`` or ``NAME=VALUE:VALUE``, between commas, for the ``kind`` of data.

    ``NAME@0.5`` (behind the values, where there are any) is the step for that share of the samples.
    ``none`` is no step, and the kind's own name its preset. Raises InputError that lists every word at fault and what there is.
    """
    if kind not in AUGMENTATIONS:
        raise InputError(f"there is no kind of data {kind!r}; there are {', '.join(AUGMENTATIONS)}")
    steps: list[Step] = []
    problems: list[str] = []
    for word in (part.strip() for part in words.split(",")):
        if word in PRESETS:
            if word not in ("none", kind):
                problems.append(f"{word} is the preset for {word} data, and this is {kind} data")
                continue
            steps += parse_augmentations(PRESETS[word], kind) if PRESETS[word] else ()
        elif word:
            _read(word, kind, steps, problems)
    if problems:
        raise InputError(
            f"augmentation: {'; '.join(problems)}",
            remedy=f"For {kind} data there are: none, {kind}, {', '.join(_shown(kind))}; each with @SHARE for some of the samples.",
            problems=problems,
        )
    return tuple(steps)


def _read(word: str, kind: str, steps: list[Step], problems: list[str]) -> None:
    whole, _, odds = word.partition("@")
    name, _, values = whole.partition("=")
    make = AUGMENTATIONS[kind].get(name)
    if make is None:
        problems.append(f"{name!r} is unknown for {kind} data")
        return
    wanted = _fields(make)
    given = values.split(":") if values else []
    try:
        if len(given) > len(wanted):
            raise ValueError(f"takes at most {len(wanted)} values")
        step = make(*(_value(word, form) for word, (_, form, _) in zip(given, wanted, strict=False)))
        steps.append(Sometimes(step, _value(odds, float)) if odds else step)
    except InputError as error:
        problems.append(error.what)
    except TypeError:  # a field without a default was not given
        problems.append(f"{name} needs a value: {name}={wanted[0][0].upper()}")
    except ValueError as error:
        problems.append(f"{word}: {error}")


def _value(word: str, form: Any) -> float | bool:
    if form is bool:
        if word not in ("yes", "no"):
            raise ValueError(f"{word!r} is neither yes nor no")
        return word == "yes"
    try:
        value = form(word)
    except ValueError:
        raise ValueError(f"{word!r} is not a {'whole ' if form is int else ''}number") from None
    if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124  (NaN is what differs from itself)
        raise ValueError(f"{word!r} is not a finite number")
    return value


def _fields(make: Any) -> list[tuple[str, Any, Any]]:
    return [(field.name, field.type, field.default) for field in fields(make)]


def _shown(kind: str) -> list[str]:
    shown = []
    for name, make in AUGMENTATIONS[kind].items():
        parts = [
            field.upper() if default is MISSING else ("yes" if default else "no") if form is bool else f"{default:g}"
            for field, form, default in _fields(make)
        ]
        shown.append(f"{name}={':'.join(parts)}" if parts else name)
    return shown
