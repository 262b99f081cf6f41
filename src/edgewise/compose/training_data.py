"""`edgewise train`: whatever data the user names, as what is trained with and what is held out."""

from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgewise.compose.data_sets import data_set_folder
from edgewise.compose.demo import digits_data
from edgewise.errors import DataError, InputError
from edgewise.measure.dataset import Dataset, rows_by_number, with_labels
from edgewise.measure.media import read_wav
from edgewise.measure.npz import Array
from edgewise.net.catalogue import list_sets
from edgewise.networks.registry import NETWORKS
from edgewise.training.data.checks import check_data
from edgewise.training.data.columns import Columns
from edgewise.training.data.next_items import Choices, films, next_items
from edgewise.training.data.places import check_masks, check_objects
from edgewise.training.data.public_sets import activity, intents, pcb_defects, spoken_digits
from edgewise.training.data.sources import read_training_data
from edgewise.training.data.splitting import Split, split, split_groups
from edgewise.training.recipes.front import Kind

__all__ = ["Material", "Wanted", "kind_of", "read_material"]

_SHARE = 0.2
_WAVES = (".wav",)
#: A defect of a circuit board -> what it is where copper and gap are exchanged.
_NEGATIVE = {
    "open": "short", "short": "open", "mousebite": "spur", "spur": "mousebite", "copper": "pin-hole", "pin-hole": "copper",
}  # fmt: skip
Progress = Callable[[str, int, int], object]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a model says of its samples before any is read: height and width of images, samples of a clip, channels."""

    size: tuple[int, int] | None = None
    channels: int | None = None
    length: int | None = None


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
    own = _rate_of(path)
    if own and options.sample_rate not in (0, own):
        raise InputError(
            f"--sample-rate {options.sample_rate}: the clips in {path} say {own} themselves", remedy="Leave it out."
        )
    rate = options.sample_rate or own
    length = options.length or wanted.length or (rate if path.is_dir() and rate else None)
    columns = Columns(label=options.label_column, text=options.text_column, group=options.group_column)
    size = options.size or wanted.size
    data = _read(path, size, wanted.channels, length, columns, options.labels, options.network)
    if path.is_dir() and (options.length if data.x.ndim > 2 else options.size):
        what, option = ("pictures", "--length") if data.x.ndim > 2 else ("sound", "--size")
        raise InputError(f"{path} holds {what}, and {option} is for the other kind", remedy="Leave it out.")
    if options.eval is None:
        halves = _halves(data, options)
    else:
        _alone(options, "--eval", "share", "by_group", "hold_out")
        other = _read(Path(options.eval), size, wanted.channels, length, columns, options.labels, options.network)
        halves = Split(data, with_labels(other, data.labels))
    pictures = path.is_dir() and data.x.ndim == 4
    return Material(halves, rate, warnings=_checked(halves, options), size=size if pictures else None)


def _read(
    path: Path, size: tuple[int, int] | None, channels: int | None, length: int | None, columns: Columns, labels: Path | None,
    network: str,
) -> Dataset:  # fmt: skip
    data = read_training_data(path, size=size, channels=channels, length=length, columns=columns)
    if network in NETWORKS and data.x.dtype in (
        np.float16,
        np.float64,
    ):  # networks learn from float32, and are files for it
        data = replace(data, x=data.x.astype(np.float32))
    if labels is None:
        return data
    try:
        names = tuple(line.strip() for line in labels.read_text("utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the labels {labels} cannot be read: {error}", remedy="Write one class a line, in UTF-8."
        ) from None
    if not names or len(set(names)) < len(names):
        twice = next((name for name in names if names.count(name) > 1), "")
        raise DataError(
            f"the labels {labels} name {f'{twice!r} twice' if twice else 'no class'}",
            remedy="Write one class a line, each once.",
        )
    if data.labels:
        return with_labels(data, names)
    return Dataset(data.x, data.y, data.group, names, data.name, data.digest)


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
        f"--{name.replace('_', '-')}"
        for name in others
        if getattr(options, name) or (name == "share" and options.share is not None)
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
    halves = found.split
    if options.hold_out or options.by_group or options.share is not None:
        if found.log is not None:
            raise InputError(f"{name} is split by time", remedy="Leave --hold-out, --by-group and --share out.")
        whole = _joined(halves)
        halves = _halves(whole, options)
    if name == "defects_pcb":  # after the split, so that no patch is learnt in negative and measured as it is
        halves = Split(_with_negatives(halves.train), halves.evaluation)
    rate = options.sample_rate or found.rate
    return Material(halves, rate, name, _checked(halves, options), found.unknown, found.names, found.log, found.times)


def _checked(halves: Split, options: Namespace) -> tuple[str, ...]:
    if options.network == "unet":
        check_masks(halves.train, halves.evaluation)
    if options.network == "ssd":
        check_objects(halves.train, halves.evaluation)
    if options.network != "two-tower":
        return check_data(halves.train, halves.evaluation, least=1 if options.eval else 2)
    # Items are no classes: that some are rare, or new in the evaluation, is how it is.
    for what, data in (("training data", halves.train), ("evaluation data", halves.evaluation)):
        whole = data.x.ndim == 2 and data.y.ndim == 1 and data.x.dtype.kind in "iu" and data.y.dtype.kind in "iu"
        if whole and len(rows := np.flatnonzero((data.x < 0).any(axis=1) | (data.y < 1))):
            raise DataError(
                f"{what}: items count from 1, and in a history 0 is nothing; there are others in {rows_by_number(rows)}",
                remedy="Number the items from 1.", rule="training-data",
            )  # fmt: skip
        if not whole:
            raise DataError(
                f"{what}: histories are x (N, length) of item numbers from 1, 0 for nothing, and y (N,) the item that came next; "
                f"x is {data.x.dtype} {data.x.shape}, y {data.y.dtype} {data.y.shape}",
                rule="training-data",
            )  # fmt: skip
    return ()


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


def kind_of(x: Array, takes: str) -> Kind:
    """What samples ``x`` are to something that takes "image", "sequence", "bag" or "history", or any array ("").

    Raises InputError where the two do not go together.
    """
    if x.dtype.kind in "UOT":
        if takes in ("bag", "sequence", ""):
            return "text"
        raise InputError(
            f"the data is text, and this network takes {takes} data", remedy="Take text-bag, gru or encoder."
        )
    if takes == "history":
        return "history"
    if takes == "bag" or (takes == "sequence" and x.ndim == 2 and x.dtype.kind in "iu" and x.dtype.itemsize > 2):
        return "tokens"
    if x.ndim == 2:
        return "audio" if (x.dtype.kind in "fi" and takes != "") or x.shape[1] >= 1000 else "table"
    return "image" if takes == "image" or x.ndim == 4 else "sensor"
