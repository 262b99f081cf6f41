"""What stands between the samples as they are kept and the part of a model that learns: preprocessing and augmentation.

Preprocessing is a graph, joined in front of the trained model, so that the file takes what the data holds. In training it runs
by itself, before the step: nothing in it learns, and augmentation can work on both sides of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, isfinite, log2
from typing import Any, Literal

import numpy as np
from onnx import ModelProto

from edgewise.digests import digest_of
from edgewise.errors import InputError
from edgewise.graph.audio import Framing, log_mel
from edgewise.graph.join import prepend
from edgewise.graph.loudness import to_peak
from edgewise.graph.mel import MelBank
from edgewise.measure.npz import Array
from edgewise.training.augment.registry import AUGMENTATIONS, PRESETS, parse_augmentations
from edgewise.training.augment.step import LabelMixing, Step
from edgewise.training.augment.text import TokenDropout
from edgewise.training.data.conversion import FrontGraph
from edgewise.training.data.text_hash import TextEncoder, TextHash
from edgewise.training.recipes.recipe import USUAL, Recipe

__all__ = ["SOUND", "Front", "Kind", "build_front"]

Kind = Literal["image", "audio", "sensor", "text", "tokens", "table", "history"]
#: Settings of the mel bands that a recipe may change, with the usual values. window, hop: seconds; floor: added to the power.
SOUND: Mapping[str, float] = {"mels": 40, "low": 20.0, "window": 0.025, "hop": 0.02, "floor": 1e-2}
_WORDS = {"image": "image", "audio": "audio", "sensor": "sensor", "text": "text", "tokens": "text"}
_NOBODY = np.random.default_rng(0)  # what has no chance in it draws nothing
_AT_ONCE = 256
_TRIM = 16  # ids that the length of a batch of texts is rounded up to


@dataclass(frozen=True, slots=True)
class Front:
    """kind: of the samples. graph: from a sample to what the network takes; None where that is the same.

    before, after: augmentation on both sides of it. encoder: texts to ids and weights.
    """

    kind: Kind
    graph: ModelProto | None = None
    before: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()
    encoder: TextEncoder | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """What happens to a batch in training."""
        middle = () if self.graph is None else (FrontGraph(self.graph.SerializeToString()),)
        return (*self.before, *middle, *self.after)

    @property
    def digest(self) -> str:
        """What it does to samples, so that a run does not go on with another front."""
        graph = b"" if self.graph is None else self.graph.SerializeToString(deterministic=True)
        return digest_of(graph + repr((self.kind, self.before, self.after, self.encoder)).encode())

    @property
    def mixes_labels(self) -> bool:
        """Whether augmentation needs soft labels."""
        return any(isinstance(step, LabelMixing) for step in (*self.before, *self.after))

    def network_form(self, x: Array) -> tuple[tuple[int, ...], str]:
        """Shape (without the batch) and dtype of what the network takes for samples like ``x``."""
        made = self.still(x[:1], "x")
        first = next(iter(made.values()))
        return first.shape[1:], first.dtype.name

    def still(self, x: Array, name: str) -> dict[str, Array]:
        """The network's inputs for ``x``, without augmentation: input name -> array."""
        if self.encoder is not None:
            return {key: np.asarray(array) for key, array in self.encoder.still()(x, _NOBODY).items()}
        if self.graph is None:
            return {name: x}
        front = FrontGraph(self.graph.SerializeToString())
        parts = [front(x[at : at + _AT_ONCE], _NOBODY) for at in range(0, len(x), _AT_ONCE)]
        return {name: np.concatenate(parts)}

    def joined(self, model: ModelProto) -> ModelProto:
        """``model`` with the preprocessing in front."""
        return model if self.graph is None else prepend(self.graph, model)


@dataclass(frozen=True, slots=True)
class _Augmentation:
    before: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()
    word_dropout: float = 0.0


def build_front(
    kind: Kind, recipe: Recipe, x: Array, *, rate: int = 0, graph: ModelProto | None = None,
    hashing: TextHash | None = None, spectral: bool = True,
) -> Front:  # fmt: skip
    """The front for samples ``x`` of a kind.

    rate: Hz of sound. graph: a preprocessing of the caller's own. hashing: of a model that has one already. spectral: whether
    sound becomes mel bands, or goes in as it is.
    """
    augmentation = _augmentation(recipe.augment, kind, spectral=kind == "audio" and (spectral or graph is not None))
    if kind == "text":
        own = hashing or _hashing(recipe.text)
        weighted = "weights" if recipe.text.get("weighted", True) else ""
        # A bag has no order, so a batch may be as short as its texts; where the order counts the length is the model's.
        encoder = TextEncoder(own, None, augmentation.word_dropout, weights=weighted, trim=_TRIM if weighted else 0)
        return Front(kind, encoder=encoder)
    if kind == "audio" and graph is None and spectral:
        graph = _mel_bands(x, rate, {**SOUND, **recipe.sound})
    return Front(kind, graph, augmentation.before, augmentation.after)


def _hashing(given: Mapping[str, Any]) -> TextHash:
    chosen = {key: value for key, value in given.items() if key in {"buckets", "length", "words", "chars"}}
    if "chars" in chosen:
        chars = chosen["chars"]
        chosen["chars"] = tuple(chars) if isinstance(chars, list | tuple) else () if chars is None else (chars,)
    every = [*(value for name, value in chosen.items() if name != "chars"), *chosen.get("chars", ())]
    if odd := [value for value in every if isinstance(value, bool) or not isinstance(value, int)]:
        raise InputError(
            f"texts are cut by whole numbers, not {', '.join(map(str, odd))}", remedy="Write --set chars=3,4,5."
        )
    return TextHash(**chosen)


def _mel_bands(x: Array, rate: int, sound: Mapping[str, float]) -> ModelProto:
    if rate < 1:
        raise InputError(
            f"rows of numbers, as here {x.dtype} {x.shape}, are taken for sound, which needs its sample rate",
            remedy="Say it: --sample-rate 16000. Rows that are no sound go to cnn1d, or are saved as windows (N, steps, channels).",
        )
    if unknown := sorted(set(sound) - set(SOUND)):
        raise InputError(f"sound has no setting {', '.join(unknown)}; it has {', '.join(SOUND)}")
    wrong = [name for name, value in sound.items() if not _is_number(value, whole=name == "mels")]
    if wrong or sound["window"] * rate < 2 or sound["hop"] * rate < 1:
        said = ", ".join(f"{name}={sound[name]}" for name in wrong or ("window", "hop"))
        raise InputError(
            f"sound of {rate} Hz cannot be cut by {said}",
            remedy="These are numbers, mels a whole one; window and hop are in seconds: two samples of the sound or more, and one.",
        )
    # Frames of a power of two: other sizes are slow and less exact in a Fourier transform.
    size = 1 << ceil(log2(rate * sound["window"]))
    samples = int(x.shape[1])
    framing = Framing(rate, size, round(rate * sound["hop"]), centre=False, samples=samples)
    bank = MelBank(int(sound["mels"]), sound["low"], rate / 2, "htk", area_norm=False)
    loud = to_peak(samples, dtype="int16" if x.dtype == np.int16 else "float32")
    return prepend(loud, log_mel(framing, bank, offset=sound["floor"], time_first=True, input_name="loud"))


def _is_number(value: object, *, whole: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isfinite(value) and (not whole or value % 1 == 0)


def _augmentation(words: str, kind: Kind, *, spectral: bool) -> _Augmentation:
    if kind not in _WORDS:
        if words not in ("none", "", USUAL):
            raise InputError(f"there is no augmentation for {kind} data: {words}", remedy="Leave --augment out.")
        return _Augmentation()
    name = _WORDS[kind]
    words = PRESETS[name] if words == USUAL else words
    front: list[str] = []
    back: list[str] = []
    for word in filter(None, (part.strip() for part in words.split(","))):
        stem = word.partition("@")[0].partition("=")[0]
        on_bands = spectral and stem in {*AUGMENTATIONS["spectrogram"], "spectrogram"} - {*AUGMENTATIONS["audio"]}
        (back if on_bands else front).append(word)
    before = parse_augmentations(",".join(front), name)
    after = parse_augmentations(",".join(back), "spectrogram") if back else ()
    if kind != "text":
        return _Augmentation(before, after)
    rates = [step.rate for step in before if isinstance(step, TokenDropout)]
    if len(rates) != len(before):
        raise InputError(
            "texts are augmented by drop=RATE alone: it leaves out words", remedy="Write --augment drop=0.15."
        )
    return _Augmentation(word_dropout=max(rates, default=0.0))
