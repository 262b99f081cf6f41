"""`edgewise train`: from what the user wrote to a recipe."""

import json
from argparse import Namespace
from math import isfinite
from pathlib import Path
from typing import Any

from edgewise.compose.pack_options import check_target
from edgewise.errors import InputError
from edgewise.net.catalogue import list_sets
from edgewise.networks.registry import NETWORKS
from edgewise.training.data.tables import TABLES
from edgewise.training.recipes.front import SOUND
from edgewise.training.recipes.recipe import Recipe, recipe_for

__all__ = ["check_options", "read_recipe"]

_EXAMPLES = {
    "chars": "chars=3,4,5",
    "window": "window=0.025",
    "hop": "hop=0.02",
    "low": "low=20",
    "floor": "floor=0.01",
}
_TEXT = {"buckets", "words", "chars"}
_CHANGES = (
    "epochs", "batch", "learning_rate", "schedule", "optimizer", "weight_decay", "label_smoothing", "clip", "augment",
    "average", "patience", "keep", "accumulate",
)  # fmt: skip


_MOST_THREADS = 1024  # beyond any device; the runtime starts as many as it is told to
#: Options that say something of an ONNX file, and of tables.
_OF_FILES, _OF_TABLES = ("loss", "head", "decision", "before"), ("label_column", "text_column", "group_column")


def check_options(options: Namespace) -> None:
    """Raises InputError with every option that cannot be, or that would say nothing here, before anything is read."""
    given = [f"{_flag(name)} is for an ONNX file" for name in _OF_FILES if getattr(options, name)]
    problems = given if options.network in NETWORKS else []
    least = {"seeds": 1, "recompute": 1, "lora": 0, "checkpoint_every": 0, "seed": 0, "threads": 0}
    values = {name: getattr(options, name) for name in least}
    problems += [
        f"{_flag(name)} is at least {low}, not {values[name]}"
        for name, low in least.items()
        if values[name] is not None and values[name] < low
    ]
    if (options.threads or 0) > _MOST_THREADS:
        problems.append(f"--threads is at most {_MOST_THREADS}, not {options.threads}")
    if options.memory is not None and options.memory < 1:
        problems.append(f"--memory is at least one byte, not {options.memory}")
    if options.checkpoint_every and options.checkpoint is None:
        problems.append("--checkpoint-every needs a --checkpoint FOLDER to write to")
    problems += _of_data(options)
    if options.output.suffix != ".onnx":
        problems.append(f"--output {options.output} is no name of an ONNX file: it ends in .onnx")
    if options.plot is not None and options.plot.suffix.lower() != ".png":
        problems.append(f"--plot {options.plot} is no name of a picture: it ends in .png")
    if problems:
        raise InputError("; ".join(problems), remedy="Correct these options, or leave them out.")
    check_target(options.output)
    if options.plot is not None:
        check_target(options.plot)
    if options.checkpoint is not None:
        check_target(options.checkpoint / "seed")


def _of_data(options: Namespace) -> list[str]:
    """Options about a form of data that neither ``--train`` nor ``--eval`` has."""
    paths = [Path(name) for name in (options.train, options.eval) if name is not None]
    if not paths[0].exists():
        if options.train not in {item.name for item in list_sets()}:
            return []  # reading it says that it is not there
        own = ("labels", "size", "length", *_OF_TABLES)
        return [
            f"{_flag(name)} says nothing of a public set" for name in own if getattr(options, name) not in (None, "")
        ]
    problems = []
    if options.length is not None and options.length < 1:
        problems.append(f"--length is at least 1, not {options.length}")
    if options.sample_rate < 0:
        problems.append(f"--sample-rate is in Hz and above 0, not {options.sample_rate}")
    if not any(path.is_dir() for path in paths):
        problems += [
            f"{_flag(name)} is for folders of files, and {paths[0]} is none"
            for name in ("size", "length")
            if getattr(options, name)
        ]
    if not any(path.suffix.lower() in TABLES for path in paths):
        problems += [
            f"{_flag(name)} is for a table, and {paths[0]} is none" for name in _OF_TABLES if getattr(options, name)
        ]
    return problems


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def read_recipe(options: Namespace) -> Recipe:
    """The recipe of the network (and of the public set, where there is one) with what the user wants otherwise.

    Raises InputError for a setting that is written wrongly or twice.
    """
    recipe = recipe_for(options.network, options.train)
    settings: dict[str, Any] = {}
    sound: dict[str, Any] = {}
    text: dict[str, Any] = {}
    for entry in options.set:
        name, equals, value = entry.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise InputError(f"--set {entry}: a value is needed, as in dropout=0.3")
        place = sound if name in SOUND else text if name in _TEXT else settings
        if name in place:
            raise InputError(f"--set {name} is given twice", remedy="Leave one of the two out.")
        place[name] = _value(value.strip())
        if place is not settings:
            _refuse_words(name, place[name])
    if settings and options.network not in NETWORKS:
        raise InputError(f"an ONNX file has no setting {', '.join(settings)}", remedy="Leave --set out.")
    if settings.get("length") is not None and options.network in ("text-bag", "gru", "encoder"):
        text["length"] = settings.pop("length")
        _refuse_words("length", text["length"])
    changes = {name: getattr(options, name) for name in _CHANGES}
    if options.patience and options.keep == "last":
        raise InputError(
            "--patience waits for a better epoch, and --keep last wants none", remedy="Leave one of them out."
        )
    if options.patience and options.keep is None:
        changes["keep"] = "best"
    return recipe.but(**changes, settings=settings, sound=sound, text=text)


def _refuse_words(name: str, value: Any) -> None:
    numbers = value if isinstance(value, list) else [value]
    plain = all(isinstance(each, int | float) and not isinstance(each, bool) and isfinite(each) for each in numbers)
    whole = name not in SOUND or name == "mels"
    if (
        not plain
        or (isinstance(value, list) and name != "chars")
        or (whole and any(each != int(each) for each in numbers))
    ):
        form = (
            "a whole number, or several between commas"
            if name == "chars"
            else "a whole number"
            if whole
            else "a number"
        )
        raise InputError(
            f"--set {name}={value}: {name} is {form}", remedy=f"Write it as in {_EXAMPLES.get(name, name + '=40')}."
        )
    if name in ("window", "hop") and numbers[0] <= 0:
        raise InputError(
            f"--set {name}={value}: {name} is in seconds and above 0", remedy=f"Write it as in {_EXAMPLES[name]}."
        )


def _value(text: str) -> Any:
    """A number, a truth, a text; several between commas are a list."""
    if "," in text:
        return [_value(part.strip()) for part in text.split(",") if part.strip()]
    words = {"yes": True, "true": True, "no": False, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        number = json.loads(text)
    except ValueError:
        return text
    return number if isinstance(number, int | float) else text
