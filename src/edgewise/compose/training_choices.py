"""`edgewise train`: options that do not go together, and paths that cannot be written, before anything is read."""

from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

from edgewise.compose.pack_options import check_target
from edgewise.errors import InputError
from edgewise.measure.dataset import Dataset
from edgewise.networks.registry import NETWORKS
from edgewise.training.data.tables import TABLES
from edgewise.training.recipes.front import SOUND, Kind

__all__ = ["TEXT", "check_data_options", "check_kind_options", "check_options", "rate_of_sound"]

_OF_FILES = ("loss", "head", "decision", "before")
_OF_TABLES = ("label_column", "text_column", "group_column")
#: Settings of how texts become ids.
TEXT = {"buckets", "words", "chars"}
_MOST_THREADS = 256


def check_options(options: Namespace) -> None:
    """Raises InputError for what can be told before any data is read."""
    problems = [
        text
        for holds, text in (
            (options.threads is None or 1 <= options.threads <= _MOST_THREADS, f"--threads is 1 to {_MOST_THREADS}"),
            (options.memory is None or options.memory > 0, "--memory is above 0"),
            (options.length is None or options.length > 0, "--length is at least 1"),
            (options.seeds >= 1, f"--seeds is at least 1, not {options.seeds}"),
            (options.seed >= 0, f"--seed is at least 0, not {options.seed}"),
            (options.lora >= 0, f"--lora is at least 0, not {options.lora}"),
            (options.recompute >= 1, f"--recompute is at least 1, not {options.recompute}"),
            (options.checkpoint_every >= 0, f"--checkpoint-every is at least 0, not {options.checkpoint_every}"),
            (options.sample_rate >= 0, "--sample-rate is above 0"),
            (not options.checkpoint_every or options.checkpoint, "--checkpoint-every needs --checkpoint FOLDER"),
        )
        if not holds
    ]
    if options.network in NETWORKS and (given := _given(options, _OF_FILES)):
        problems.append(f"{options.network} is built anew, and {', '.join(given)} is for an ONNX file")
    if problems:
        raise InputError("; ".join(problems), problems=problems)
    _check_paths(options)


def _check_paths(options: Namespace) -> None:
    written = [options.output, *([options.plot] if options.plot else ())]
    beside = [options.output.with_suffix(suffix) for suffix in (".labels.txt", ".text.json")]
    for path in (*written, *beside):
        check_target(path)
    read = [Path(name) for name in (options.train, options.eval, options.labels) if name]
    places = [path.resolve() for path in (*written, *beside)]
    if len(set(places)) < len(places):
        raise InputError(f"--plot {options.plot} would be written over the model or what lies beside it")
    for path in read:
        if path.exists() and path.resolve() in places:
            raise InputError(f"{path} is read, and would be written over", remedy="Choose another -o or --plot.")
    if options.checkpoint:
        check_target(options.checkpoint / "seed-0" / "checkpoint-0")
    if options.output.suffix != ".onnx":
        raise InputError(f"{options.output} is no name of an ONNX file", remedy="Choose an -o that ends in .onnx.")
    if options.plot and options.plot.suffix.lower() != ".png":
        raise InputError(f"{options.plot} is no name of a picture", remedy="Choose a --plot that ends in .png.")


def check_data_options(options: Namespace, data: Dataset, public: str = "") -> None:
    """Raises InputError for options that the data, as it was read, leaves without effect."""
    paths = [] if public else [Path(name) for name in (options.train, options.eval) if name]
    folder, table = any(path.is_dir() for path in paths), any(path.suffix.lower() in TABLES for path in paths)
    ignored = [
        *([] if folder and data.x.ndim == 4 else _given(options, ("size",))),
        *([] if folder and data.x.ndim == 2 else _given(options, ("length",))),
        *([] if table else _given(options, _OF_TABLES)),
        *(_given(options, ("labels",)) if public else []),
    ]
    if ignored:
        what = f"the set {public}" if public else f"{options.train}, x {data.x.dtype} {data.x.shape}"
        raise InputError(
            f"{', '.join(ignored)} changes nothing for {what}",
            remedy="Leave it out: --size is for folders of pictures, --length for folders of sound, --label-column and the like "
            "for tables, --labels for files and folders.",
        )


def rate_of_sound(options: Namespace, own: int, what: str) -> int:
    """Hz: what the data itself says, else --sample-rate. Raises InputError where both say something, and not the same."""
    if own and options.sample_rate not in (0, own):
        raise InputError(
            f"--sample-rate is {options.sample_rate}, and {what} says {own} Hz",
            remedy="Leave it out, or resample the sound.",
        )
    return own or int(options.sample_rate)


def check_kind_options(options: Namespace, kind: Kind) -> None:
    """Raises InputError for options of another kind of samples."""
    if kind != "audio" and options.sample_rate:
        raise InputError(f"--sample-rate is for sound, and these samples are {kind} data", remedy="Leave it out.")
    sound, text = (sorted({entry.partition("=")[0].strip() for entry in options.set} & set(of)) for of in (SOUND, TEXT))
    if (sound and kind != "audio") or (text and kind != "text"):
        names = ", ".join(sound if sound and kind != "audio" else text)
        raise InputError(f"--set {names} changes nothing for {kind} data", remedy="Leave it out.")


def _given(options: Namespace, names: Iterable[str]) -> list[str]:
    return [f"--{name.replace('_', '-')}" for name in names if getattr(options, name)]
