"""How each network is trained where nothing else is said: one frozen value of settings, literal tables of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, get_args

from edgewise.errors import InputError
from edgewise.training.run.schedules import parse_schedule
from edgewise.training.run.settings import FitSettings
from edgewise.training.step.optimizers import SGD, Adam, AdamW, Optimizer

__all__ = ["FINE_TUNING", "NETWORK_RECIPES", "OPTIMIZERS", "PUBLIC_RECIPES", "Keep", "Recipe", "recipe_for"]

#: Which weights are kept: those of the epoch with the best figure on the held-out data, or the last ones.
Keep = Literal["best", "last"]
#: Name on the command line -> optimiser.
OPTIMIZERS: Mapping[str, type[SGD] | type[Adam] | type[AdamW]] = MappingProxyType(
    {"adamw": AdamW, "adam": Adam, "sgd": SGD}
)
#: Stands for the usual augmentation of the kind of data.
USUAL = "usual"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One way to train; validated when built. Raises InputError with every fault.

    learning_rate: the highest one; ``schedule`` in words. clip: largest norm of all gradients together, 0 for no limit.
    augment: words (see ``augment``); ``usual`` for the preset of the kind of data. average: decay of the averaged weights, 0
    for none. patience: evaluations without improvement before training ends, 0 for never. settings: of the network and of its
    input. text: of the hashing of texts. sound: of the mel bands. unknown: how often in
    an epoch each sample comes that belongs to no class, where the data has such. choices: where it is known when each
    item was chosen, days after which a sample counts half (``recent``), and of its popularity (``half_life``, ``least``).
    """

    epochs: int = 20
    batch: int = 64
    learning_rate: float = 3e-3
    schedule: str = "one-cycle:peak=0.2"
    optimizer: str = "adamw"
    weight_decay: float = 0.01
    label_smoothing: float = 0.1
    clip: float = 0.0
    augment: str = USUAL
    average: float = 0.0
    patience: int = 0
    keep: Keep = "best"
    accumulate: int = 1
    unknown: int = 0
    choices: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    text: Mapping[str, Any] = field(default_factory=dict)
    sound: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rules = [
            (self.epochs >= 1, f"epochs are at least 1, not {self.epochs}"),
            (self.batch >= 1, f"a batch has at least one sample, not {self.batch}"),
            (self.unknown >= 0, f"unknown is not negative, not {self.unknown}"),
            (self.accumulate >= 1, f"accumulate is at least 1, not {self.accumulate}"),
            (0 < self.learning_rate < math.inf, f"the learning rate is above 0, not {self.learning_rate}"),
            (0 <= self.weight_decay < math.inf, f"the weight decay is not negative, not {self.weight_decay}"),
            (0 <= self.label_smoothing < 1, f"label smoothing is in 0..1, not {self.label_smoothing}"),
            (0 <= self.clip < math.inf, f"clip is not negative, not {self.clip}"),
            (0 <= self.average < 1, f"average is at least 0 and below 1, not {self.average}"),
            (self.patience >= 0, f"patience is not negative, not {self.patience}"),
            (self.optimizer in OPTIMIZERS, f"the optimizer is {', '.join(OPTIMIZERS)}, not {self.optimizer!r}"),
            (self.keep in get_args(Keep), f"what is kept is {' or '.join(get_args(Keep))}, not {self.keep!r}"),
        ]
        if broken := [text for holds, text in rules if not holds]:
            raise InputError(f"training cannot be set up so: {'; '.join(broken)}", problems=broken)
        parse_schedule(self.schedule)

    def optimiser(self) -> Optimizer:
        """The optimiser, with its learning rate and weight decay as defaults."""
        return OPTIMIZERS[self.optimizer](rate=self.learning_rate, decay=self.weight_decay)

    def fit_settings(self, seed: int, *, evaluated: bool) -> FitSettings:
        """What the loop is told. evaluated: there is held-out data; the last weights count where those are to be kept."""
        return FitSettings(
            epochs=self.epochs, learning_rate=self.learning_rate, schedule=parse_schedule(self.schedule),
            weight_decay=self.weight_decay, max_norm=self.clip or None, seed=seed, average=self.average,
            patience=self.patience if self.keep == "best" else 0,
            # Evaluated once, at the end: so the best weights are the last ones, and no figure has chosen anything.
            evaluate_every=self.epochs if evaluated and self.keep == "last" else 1,
        )  # fmt: skip

    def but(self, **changes: Any) -> "Recipe":
        """The same with these changes; None leaves a field as it is, mappings are laid over what is there."""
        given = {name: value for name, value in changes.items() if value is not None}
        for name in ("settings", "text", "sound", "choices"):
            if name in given:
                given[name] = {**getattr(self, name), **given[name]}
        return replace(self, **given)


#: Texts as the sequence of their words: what networks that mind the order take.
_IN_ORDER: Mapping[str, Any] = MappingProxyType({"words": 1, "chars": (), "length": 32, "weighted": False})
#: Any ONNX file: small steps away from where it is.
FINE_TUNING = Recipe(epochs=10, batch=32, learning_rate=5e-4, label_smoothing=0.0)
#: Network -> how it is trained.
NETWORK_RECIPES: Mapping[str, Recipe] = MappingProxyType({
    "cnn": Recipe(settings={"dropout": 0.2, "pooling": "mean+max"}),
    "ds-cnn": Recipe(epochs=30, settings={"dropout": (0.0, 0.0, 0.2)}),
    "mobilenet": Recipe(epochs=30, settings={"dropout": 0.2}),
    "resnet8": Recipe(epochs=30, settings={"dropout": 0.2}),
    "cnn1d": Recipe(settings={"dropout": 0.3}),
    "gru": Recipe(epochs=30, clip=1.0, settings={"dropout": 0.2}, text=_IN_ORDER),
    "encoder": Recipe(epochs=30, learning_rate=1e-3, clip=1.0, text=_IN_ORDER),
    "text-bag": Recipe(
        epochs=12, learning_rate=2e-3, schedule="one-cycle:peak=0.1", weight_decay=0.0, augment="drop=0.15",
        settings={"dropout": 0.4, "width": 128, "hidden": (256,), "norm": "batch", "pooling": "sum"},
    ),
    "two-tower": Recipe(epochs=10, batch=256, weight_decay=0.0, label_smoothing=0.0, settings={"dropout": 0.2}),
    "autoencoder": Recipe(epochs=30, label_smoothing=0.0, learning_rate=2e-3),
    "unet": Recipe(epochs=30, batch=16, label_smoothing=0.0, augment="none"),
    "ssd": Recipe(epochs=60, batch=16, label_smoothing=0.0, clip=5.0, augment="none"),
})  # fmt: skip
#: Network and public set -> what that set's settings were found to be (on its training part alone).
PUBLIC_RECIPES: Mapping[tuple[str, str], Recipe] = MappingProxyType({
    ("cnn1d", "activity_st_har"): NETWORK_RECIPES["cnn1d"].but(
        keep="last", augment="rotate,scale=0.2,jitter=20:no", settings={"scale": 0.001},
    ),
    ("text-bag", "assistant_clinc150"): NETWORK_RECIPES["text-bag"].but(
        keep="last", epochs=16, batch=128, learning_rate=5e-3, augment="drop=0.1", unknown=3,
        text={"buckets": 16384, "chars": (2, 3, 4), "length": 256},
        settings={"width": 256, "hidden": (384,), "dropout": 0.5, "word_dropout": 0.3},
    ),
    ("two-tower", "behaviour_movietweetings"): NETWORK_RECIPES["two-tower"].but(
        keep="last", epochs=6, learning_rate=5e-3, weight_decay=0.3,
        choices={"recent": 30.0, "half_life": 2.0, "least": 0.02},
        settings={"width": 16, "dropout": 0.3},
    ),
    ("resnet8", "defects_pcb"): NETWORK_RECIPES["resnet8"].but(
        # Every patch is there twice, as it is and with copper and gap exchanged: five epochs are ten.
        keep="last", epochs=5, learning_rate=4e-3, weight_decay=0.02, augment="rot90,flip,shift=6",
        settings={"scale": 1 / 127.5, "mean": (1.0,), "stem": (5, 5), "stem_stride": 2, "pooling": "mean+max", "dropout": 0.2},
    ),
    ("cnn", "speech_digits"): NETWORK_RECIPES["cnn"].but(
        keep="last", epochs=30, learning_rate=5e-3, augment="slide,speed=0.1,hiss=-70:-25:yes@0.5,timemask=6,bandmask=4",
        settings={"widths": (16, 16, 32, 32, 48), "strides": (2, 1, 2, 1, 2)},
    ),
})  # fmt: skip


def recipe_for(network: str, public: str = "") -> Recipe:
    """How ``network`` is trained: on the public set of that name where there is a recipe for both, else in general.

    A name that is no network's is the path of an ONNX file.
    """
    return PUBLIC_RECIPES.get((network, public)) or NETWORK_RECIPES.get(network, FINE_TUNING)
