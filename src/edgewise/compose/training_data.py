"""`edgewise train`: whatever data the user names, as what is trained with and what is held out."""

from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgewise.compose.data_sets import data_set_folder
from edgewise.compose.demo import digits_data
from edgewise.compose.training_checks import check_whole, checked
from edgewise.compose.training_choices import check_data_options, rate_of_sound
from edgewise.errors import DataError, InputError
from edgewise.measure.dataset import Dataset, with_labels
from edgewise.measure.media import read_wav
from edgewise.measure.npz import Array
from edgewise.net.catalogue import list_sets
from edgewise.training.data.columns import Columns
from edgewise.training.data.next_items import Choices, films, next_items
from edgewise.training.data.public_sets import activity, intents, pcb_defects, spoken_digits
from edgewise.training.data.sources import read_training_data
from edgewise.training.data.splitting import Split, split, split_groups

__all__ = ["Material", "Wanted", "read_material"]

_SHARE = 0.2
_WAVES = (".wav",)
#: A defect of a circuit board -> what it is where copper and gap are exchanged.
_NEGATIVE = {
    "open": "short", "short": "open", "mousebite": "spur", "spur": "mousebite", "copper": "pin-hole", "pin-hole": "copper",
}  # fmt: skip
Progress = Callable[[str, int, int], object]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a model says of its samples before any is read: height and width of images, samples of a clip, channels.

    floats: the type that samples of floats are brought to.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    length: int | None = None
    floats: str = "float32"


@dataclass(frozen=True, slots=True)
class Material:
    """split: the two halves. rate: Hz of sound, 0 where it is not known. public: name of the public set, or "".

    unknown: samples that belong to no class, for training and for evaluation. names: of the items of a history. log: every choice
    up to where the evaluation begins. times: (N,) when each training sample was chosen, in seconds. size: height and width that
    pictures were brought to, None where they are as they were.
    """

    split: Split
    rate: int = 0
    public: str = ""
    warnings: tuple[str, ...] = ()
    unknown: tuple[Array, Array] | None = None
    names: tuple[str, ...] = ()
    log: Choices | None = None
    times: Array | None = None
    size: tuple[int, int] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, or of the items."""
        return self.split.train.labels or self.names


def read_material(options: Namespace, wanted: Wanted, progress: Progress) -> Material:
    """The data that ``--train`` and ``--eval`` name: files, folders, or a public set by its name. Checked as a whole.

    Raises NotFoundError, DataError with every item at fault, InputError for options that do not go together.
    """
    named = {item.name for item in list_sets()}
    path = Path(options.train)
    if options.train in named and not path.exists():
        return _public(options, wanted, progress)
    rate = rate_of_sound(options, _rate_of(path), options.train)
    length = options.length or wanted.length or (rate if path.is_dir() and rate else None)
    columns = Columns(label=options.label_column, text=options.text_column, group=options.group_column)
    size = options.size or wanted.size
    data = _in_floats(_read(path, size, wanted.channels, length, columns, options.labels), wanted.floats)
    check_data_options(options, data)
    if options.eval is None:
        halves = _halves(check_whole(data, options), options)
    else:
        _alone(options, "--eval", "share", "by_group", "hold_out")
        other = _in_floats(
            _read(Path(options.eval), size, wanted.channels, length, columns, options.labels), wanted.floats
        )
        halves = Split(data, with_labels(other, data.labels))
    pictures = path.is_dir() and data.x.ndim == 4
    halves, warnings = checked(halves, options)
    return Material(halves, rate, warnings=warnings, size=size if pictures else None)


def _read(
    path: Path, size: tuple[int, int] | None, channels: int | None, length: int | None, columns: Columns, labels: Path | None
) -> Dataset:  # fmt: skip
    data = read_training_data(path, size=size, channels=channels, length=length, columns=columns)
    if labels is None:
        return data
    try:
        names = tuple(line.strip() for line in labels.read_text("utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the labels {labels} cannot be read: {error}", remedy="Write one class a line, in UTF-8."
        ) from None
    if not names:
        raise DataError(f"the labels {labels} name no class", remedy="Write one class a line.")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"the labels {labels} have {', '.join(twice)} more than once", remedy="Name each class once.")
    if data.labels:
        return with_labels(data, names)
    return Dataset(data.x, data.y, data.group, names, data.name, data.digest)


def _in_floats(data: Dataset, wanted: str) -> Dataset:
    """Samples in float64, as NumPy makes them, or in float16, as the model takes them."""
    if data.x.dtype.kind != "f" or data.x.dtype == wanted:
        return data
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and Dataset names its row
        x = data.x.astype(wanted)
    return Dataset(x, data.y, data.group, data.labels, data.name, data.digest)


def _halves(data: Dataset, options: Namespace) -> Split:
    if options.hold_out:
        _alone(options, "--hold-out", "share", "by_group")
        return _without(data, options.hold_out)
    share = _SHARE if options.share is None else options.share
    return split_groups(data, share, options.seed) if options.by_group else split(data, share, options.seed)


def _without(data: Dataset, group: str) -> Split:
    names = np.array([]) if data.group is None else data.group.astype(str)
    if group not in names:
        known = ", ".join(np.unique(names)[:10]) or "none"
        raise InputError(f"there is no group {group!r} to hold out; there are {known}")
    return Split(data.take(names != group), data.take(names == group))


def _alone(options: Namespace, option: str, *others: str) -> None:
    given = [
        f"--{name.replace('_', '-')}" for name in others if str(getattr(options, name)) not in ("None", "False", "")
    ]
    if given:
        raise InputError(
            f"{option} says what is held out, and so does {' and '.join(given)}", remedy="Leave one of them out."
        )


def _rate_of(path: Path) -> int:
    """The sample rate of a folder's sound, by its first file; 0 where there is none."""
    if not path.is_dir():
        return 0
    waves = (file for part in sorted(path.iterdir()) if part.is_dir() for file in sorted(part.iterdir()))
    first = next((file for file in waves if file.suffix.lower() in _WAVES), None)
    if first is None:
        return 0
    try:
        return read_wav(first)[1]
    except DataError:  # reading the whole folder names it, with all others that are damaged
        return 0


def _public(options: Namespace, wanted: Wanted, progress: Progress) -> Material:
    name = options.train
    if name not in _PUBLIC:
        raise InputError(f"{name} is no set to train with; there are {', '.join(_PUBLIC)}")
    if options.eval is not None:
        raise InputError(f"{name} has a part of its own for evaluation", remedy="Leave --eval out.")
    folder = data_set_folder(name, progress)
    found = _PUBLIC[name](folder, wanted)
    check_data_options(options, found.split.train, name)
    halves = found.split
    if options.hold_out or options.by_group or options.share is not None:
        if found.log is not None:
            raise InputError(f"{name} is split by time", remedy="Leave --hold-out, --by-group and --share out.")
        whole = _joined(halves)
        halves = _halves(whole, options)
    if name == "defects_pcb":  # after the split, so that no patch is learnt in negative and measured as it is
        halves = Split(_with_negatives(halves.train), halves.evaluation)
    rate = rate_of_sound(options, found.rate, name)
    halves, warnings = checked(halves, options)
    return Material(halves, rate, name, warnings, found.unknown, found.names, found.log, found.times)


def _joined(halves: Split) -> Dataset:
    train, held = halves.train, halves.evaluation
    group = None if train.group is None or held.group is None else np.concatenate([train.group, held.group])
    x, y = np.concatenate([train.x, held.x]), np.concatenate([train.y, held.y])
    return Dataset(x, y, group, train.labels, train.name)


def _intents(folder: Path, _: Wanted) -> Material:
    found = intents(folder)
    return Material(
        Split(found.train, found.evaluation), unknown=(found.unknown_train, found.unknown_evaluation)
    )  # fmt: skip


def _films(folder: Path, _: Wanted) -> Material:
    whole = films(folder)
    before, after = next_items(whole)
    past = whole.time <= before.time.max()
    log = Choices(whole.user[past], whole.item[past], whole.value[past], whole.time[past], whole.names)
    halves = Split(before.dataset("films"), after.dataset("films"))
    return Material(halves, names=whole.names, log=log, times=before.time)


def _with_negatives(train: Dataset) -> Dataset:
    """Every patch a second time, in negative: copper and gap change places, and with them the defects' names."""
    other = np.array([train.labels.index(_NEGATIVE.get(label, label)) for label in train.labels])
    return Dataset(
        np.concatenate([train.x, 255 - train.x]), np.concatenate([train.y, other[train.y]]),
        None if train.group is None else np.concatenate([train.group, train.group]), train.labels, train.name,
    )  # fmt: skip


_PUBLIC: Mapping[str, Callable[[Path, Wanted], Material]] = {
    "activity_st_har": lambda folder, wanted: Material(activity(folder)),
    "assistant_clinc150": _intents,
    "behaviour_movietweetings": _films,
    "defects_pcb": lambda folder, wanted: Material(pcb_defects(folder)),
    "digits": lambda folder, wanted: Material(Split(digits_data("train"), digits_data("eval"))),
    "speech_digits": lambda folder, wanted: Material(spoken_digits(folder, wanted.length or 8000), 8000),
}
