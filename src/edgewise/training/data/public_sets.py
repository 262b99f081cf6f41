"""Public data sets as training and evaluation data, split so that nothing alike is on both sides.

Each function takes the folder of one set, as `edgewise data get NAME` prints it. Raises DataError where a file is missing or
has not the arrays that the set has.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.bundle.strict_json import parse_object
from edgewise.errors import DataError, EdgewiseError
from edgewise.measure.dataset import Dataset
from edgewise.measure.npz import Array, load_npz
from edgewise.training.data.splitting import Split
from edgewise.training.data.windows import cut_windows, padded_clips

__all__ = ["Intents", "activity", "intents", "pcb_defects", "spoken_digits"]

_TEST_TAKES = 5  # takes 0..4 of each speaker and digit: the set's own test part


@dataclass(frozen=True, slots=True)
class Intents:
    """CLINC150: texts (N,) of objects with 150 intents, and texts that belong to none of them.

    unknown_*: out-of-scope texts (N,), which no intent fits; 100, 100 and 1000.
    """

    train: Dataset
    validation: Dataset
    evaluation: Dataset
    unknown_train: Array
    unknown_validation: Array
    unknown_evaluation: Array


def pcb_defects(folder: Path) -> Split:
    """DeepPCB (Tang et al. 2019, arXiv 1902.06197): patches (N, 64, 64) uint8, 7 classes; whole scans (``group``) are held out."""
    arrays = _arrays(folder / "deeppcb_patches64.npz", "x", "y", "group", "is_test_grouped", "class_names")
    labels = tuple(str(name) for name in arrays["class_names"])
    data = Dataset(arrays["x"], arrays["y"].astype(np.int64), arrays["group"], labels, "defects_pcb")
    return _by(data, arrays["is_test_grouped"])


def spoken_digits(folder: Path, length: int = 8000, speaker: str = "") -> Split:
    """Free Spoken Digit Dataset: clips (N, length) float32 in -1..1 at 8 kHz, in the middle of silence; ``group`` is the speaker.

    Held out are takes 0 to 4 of everybody (the set's own test part); or, where one is named, all of that ``speaker``, which is
    how somebody new will fare. Longer clips keep their middle.
    """
    arrays = _arrays(folder / "fsdd_8khz_int16.npz", "audio", "offset", "label", "speaker", "take")
    if speaker and speaker not in arrays["speaker"]:
        known = ", ".join(np.unique(arrays["speaker"]))
        raise DataError(f"there is no speaker {speaker!r}; there are {known}", rule="public-set")
    clips = padded_clips(arrays["audio"], arrays["offset"], length).astype(np.float32) / np.float32(2**15)
    labels = tuple(str(digit) for digit in range(10))
    data = Dataset(clips, arrays["label"].astype(np.int64), arrays["speaker"], labels, "speech_digits")
    return _by(data, arrays["speaker"] == speaker if speaker else arrays["take"] < _TEST_TAKES)


def activity(folder: Path, size: int = 64, hop: int = 16, test_hop: int = 32) -> Split:
    """ST's activity recordings: windows (N, size, 3) int16 in milli-g at 26 Hz, in 3 classes; whole recordings are held out.

    hop: between windows to train with; test_hop: between those to evaluate with, half a window as published.
    """
    arrays = _arrays(folder / "st_har_26hz_int16.npz", "acc_mg", "offset", "label", "is_test", "label_names")
    labels = tuple(str(name) for name in arrays["label_names"])
    halves = []
    for held, step in ((False, hop), (True, test_hop)):
        data = cut_windows(
            arrays["acc_mg"], arrays["offset"], arrays["label"].astype(np.int64),
            size=size, hop=step, labels=labels, name="activity_st_har",
        )  # fmt: skip
        halves.append(data.take(arrays["is_test"][data.group] == held))
    return Split(*halves)


def intents(folder: Path, file: str = "data_full.json") -> Intents:
    """CLINC150 (Larson et al. 2019, arXiv 1909.02027): the authors' training, validation and test parts."""
    path = folder / file
    try:
        content = parse_object(path.read_bytes(), file)
    except (OSError, EdgewiseError) as error:
        raise DataError(f"{path} cannot be read: {error}", rule="public-set") from None
    pairs = {name: _pairs(content.get(name), f"{file}: {name}") for name in ("train", "val", "test")}
    unknown = {name: _pairs(content.get(f"oos_{name}"), f"{file}: oos_{name}") for name in ("train", "val", "test")}
    labels = tuple(sorted({intent for _, intent in pairs["train"]}))
    place = {label: at for at, label in enumerate(labels)}
    data: list[Dataset] = []
    for name, rows in pairs.items():
        if strange := {intent for _, intent in rows} - place.keys():
            raise DataError(f"{file}: {name} has intents that train has not: {', '.join(sorted(strange)[:10])}")
        y = np.array([place[intent] for _, intent in rows], np.int64)
        data.append(Dataset(_texts(rows), y, None, labels, "assistant_clinc150"))
    train, validation, evaluation = data
    return Intents(train, validation, evaluation, *(_texts(rows) for rows in unknown.values()))


def _by(data: Dataset, held: Array) -> Split:
    return Split(data.take(~held), data.take(held))


def _arrays(path: Path, *names: str) -> Mapping[str, Array]:
    arrays = load_npz(path)
    if missing := [name for name in names if name not in arrays]:
        raise DataError(f"{path} has no array {', '.join(missing)}", rule="public-set")
    return arrays


def _pairs(rows: Any, what: str) -> list[tuple[str, str]]:
    good = isinstance(rows, list) and all(
        isinstance(row, list) and len(row) == 2 and all(isinstance(part, str) for part in row) for row in rows
    )
    if not good or not rows:
        raise DataError(f"{what} is no list of pairs of text and intent", rule="public-set")
    return [(text, intent) for text, intent in rows]


def _texts(rows: list[tuple[str, str]]) -> Array:
    texts = np.empty(len(rows), object)
    texts[:] = [text for text, _ in rows]
    return texts
