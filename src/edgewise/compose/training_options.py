"""`edgewise train`: from what the user wrote to a recipe."""

import json
from argparse import Namespace
from typing import Any

from edgewise.compose.training_choices import TEXT
from edgewise.errors import InputError
from edgewise.networks.registry import NETWORKS
from edgewise.training.recipes.front import SOUND
from edgewise.training.recipes.recipe import Recipe, recipe_for

__all__ = ["read_recipe"]

_CHANGES = (
    "epochs", "batch", "learning_rate", "schedule", "optimizer", "weight_decay", "label_smoothing", "clip", "augment",
    "average", "patience", "keep", "accumulate",
)  # fmt: skip


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
        place = sound if name in SOUND else text if name in TEXT else settings
        if name in place:
            raise InputError(f"--set {name} is given twice", remedy="Leave one of the two out.")
        place[name] = _value(value.strip())
    if options.set and options.network not in NETWORKS:
        names = ", ".join((*settings, *sound, *text))
        raise InputError(f"an ONNX file has no setting {names}", remedy="Leave --set out.")
    if settings.get("length") is not None and options.network in ("text-bag", "gru", "encoder"):
        text["length"] = settings.pop("length")
    changes = {name: getattr(options, name) for name in _CHANGES}
    if options.patience and options.keep == "last":
        raise InputError(
            "--patience waits for a better epoch, and --keep last wants none", remedy="Leave one of them out."
        )
    if options.patience and options.keep is None:
        changes["keep"] = "best"
    return recipe.but(**changes, settings=settings, sound=sound, text=text)


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
