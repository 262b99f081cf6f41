"""`edgewise train`: data in, a trained and measured ONNX model out."""

import argparse
import sys
from pathlib import Path
from typing import Any

from edgewise.cli.options import byte_count, image_size
from edgewise.cli.output import Progress, add_json, print_json, table
from edgewise.cli.streams import printable
from edgewise.errors import MissingExtraError

__all__ = ["register", "run"]

_NETWORKS = "cnn, ds-cnn, resnet8, mobilenet, cnn1d, gru, encoder, text-bag, two-tower, autoencoder, unet, ssd"


def register(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "train",
        help="train a network, or fine-tune any ONNX file, on your data",
        description="Make a model from data in one command, or go on from any ONNX file. The step of training is an ONNX graph "
        "too, so it runs on the runtime that is here already. The file takes raw samples, and is measured as a file.",
    )
    parser.add_argument("network", metavar="NETWORK|MODEL.onnx", help=f"one of {_NETWORKS}; or a file to fine-tune")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE", help="the ONNX file to write")
    add_json(parser)
    _add_data(parser.add_argument_group("data"))
    _add_learning(parser.add_argument_group("learning"))
    _add_model(parser.add_argument_group("what learns"))
    _add_running(parser.add_argument_group("running"))
    parser.set_defaults(run=run)


def _add_data(group: Any) -> None:
    group.add_argument(
        "--train", required=True, metavar="DATA",
        help=".npz with x and y, a folder of class folders (images or wav), a table (.parquet, .csv, .jsonl), or the name of a "
        "public set (`edgewise data list`)",
    )  # fmt: skip
    group.add_argument("--eval", metavar="DATA", help="what to measure on (default: a part of the training data)")
    group.add_argument("--share", type=float, metavar="0..1", help="how much of the data to hold out (default 0.2)")
    group.add_argument("--by-group", action="store_true", help="hold out whole groups: people, machines, recordings")
    group.add_argument("--hold-out", default="", metavar="GROUP", help="hold out this one group")
    group.add_argument("--size", type=image_size, metavar="HxW", help="bring every image to this size")
    group.add_argument("--length", type=int, metavar="N", help="bring every clip to this many samples (default: 1 s)")
    group.add_argument("--sample-rate", type=int, default=0, metavar="HZ", help="of sound that does not say it itself")
    group.add_argument(
        "--labels", type=Path, metavar="FILE", help="class names, one a line, in the order of the numbers"
    )
    group.add_argument(
        "--label-column", default="", metavar="NAME", help="of a table (default: label, y, target, class)"
    )
    group.add_argument("--text-column", default="", metavar="NAME", help="of a table (default: text, sentence)")
    group.add_argument("--group-column", default="", metavar="NAME", help="of a table (default: group)")
    group.add_argument(
        "--before", default="", metavar="FRAGMENT",
        help="preprocessing to join in front of an ONNX file, as in image:mean=0.5,std=0.5 (docs/preprocessing.md)",
    )  # fmt: skip
    group.add_argument(
        "--augment", metavar="WORDS", help="as in flip,shift=4,noise=0.02@0.5; `none`; default: what suits the data"
    )


def _add_learning(group: Any) -> None:
    group.add_argument("--epochs", type=int, metavar="N", help="passes over the data")
    group.add_argument("--batch", type=int, metavar="N", help="samples in a step")
    group.add_argument("--lr", dest="learning_rate", type=float, metavar="RATE", help="the highest learning rate")
    group.add_argument(
        "--schedule", metavar="WORDS", help="as in one-cycle:peak=0.2, cosine:warmup=0.1, step, constant"
    )
    group.add_argument("--optimizer", metavar="NAME", help="adamw, adam or sgd")
    group.add_argument("--weight-decay", type=float, metavar="X", help="how fast weights shrink by themselves")
    group.add_argument(
        "--label-smoothing", type=float, metavar="0..1", help="share of each label spread over all classes"
    )
    group.add_argument(
        "--clip", type=float, metavar="NORM", help="largest norm of all gradients together; 0 for no limit"
    )
    group.add_argument("--accumulate", type=int, metavar="N", help="batches whose gradients make one step")
    group.add_argument("--average", type=float, metavar="DECAY", help="answer by averaged weights, as in 0.99")
    group.add_argument("--patience", type=int, metavar="EPOCHS", help="stop when nothing has improved for so long")
    group.add_argument("--keep", choices=("best", "last"), help="which epoch's weights are kept (default: best)")
    group.add_argument("--loss", default="", metavar="NAME", help="for an ONNX file: cross-entropy, bce, mse or huber")
    group.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the starting values and the order (default 0)"
    )
    group.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="train so many times; the model of the median figure is kept"
    )


def _add_model(group: Any) -> None:
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the network, as in widths=16,32,64",
    )
    group.add_argument("--freeze", action="append", default=[], metavar="PATTERN", help="weights that stay as they are")
    group.add_argument(
        "--only", action="append", default=[], metavar="PATTERN", help="weights that learn, and no others"
    )
    group.add_argument(
        "--head",
        action="store_true",
        help="a new last layer, even for as many classes; --only 'head.*' trains it alone",
    )
    group.add_argument(
        "--lora", type=int, default=0, metavar="RANK", help="learn adapters of this rank, merged at the end"
    )
    group.add_argument("--decision", default="", metavar="OUTPUT", help="the output that learns (default: the first)")


def _add_running(group: Any) -> None:
    group.add_argument("--threads", type=int, metavar="N", help="of the runtime (default: every core)")
    group.add_argument("--memory", type=byte_count, metavar="BYTES", help="refuse a step that needs more, as in 200MB")
    group.add_argument(
        "--recompute",
        type=int,
        default=1,
        metavar="PARTS",
        help="keep less of the forward pass: less memory, more time",
    )
    group.add_argument(
        "--checkpoint", type=Path, metavar="FOLDER", help="keep checkpoints; the same command again goes on from there"
    )
    group.add_argument(
        "--checkpoint-every",
        type=int,
        default=0,
        metavar="BATCHES",
        help="also within an epoch (default: after each epoch)",
    )
    group.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the learning curve")


def run(options: argparse.Namespace) -> int:
    try:
        # Deferred: these need the extra "train".
        from edgewise.compose.training import train  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"training needs {error.name}", remedy="pip install 'edgewise[train]'") from None
    bar = _Bar()
    try:
        result = train(options, bar)
    finally:
        bar.close()
    if options.json:
        print_json(result.to_json())
    else:
        _print(result)
    return 130 if result.interrupted else 0


def _print(result: Any) -> None:
    name = result.chosen.metric.name
    rows = []
    for each in result.runs:
        best, done = each.result.best_epoch, len(each.result.history)
        rows.append((
            f"{each.seed}{' *' if each is result.chosen and len(result.runs) > 1 else ''}",
            "-" if each.before is None else str(each.before),
            str(each.metric), *(str(metric) for metric in each.others),
            f"{best or done} of {done}", f"{each.seconds:.1f} s", f"{each.samples_per_second:.0f}/s",
        ))  # fmt: skip
    others = [metric.name for metric in result.chosen.others]
    table(rows, ("seed", "as it came", name, *others, "epoch", "time", "samples"))
    print(
        f"{result.samples[0]} samples to learn from, {result.samples[1]} to measure on; {result.parameters} weights learnt"
    )
    if sum(record.metric is not None for record in result.chosen.result.history) > 1:
        print(
            "the epoch was chosen on the samples that it is measured on: expect a little less elsewhere (--keep last: no choice)"
        )
    print(f"written: {', '.join(str(path) for path in result.files)}")
    if result.interrupted:
        print("stopped early: the file holds the best weights so far")


class _Bar:
    """A bar with samples per second and time left on a terminal; elsewhere a line for each epoch."""

    def __init__(self) -> None:
        self._fetch = Progress()
        self._bar: Any = None
        self._seed: int | None = None

    def note(self, text: str) -> None:
        self._write(f"note: {text}")

    def fetched(self, what: str, done: int, total: int) -> None:
        self._fetch(what, done, total)

    def step(self, seed: int, progress: Any) -> None:
        record = progress.record
        if sys.stderr.isatty():
            self._draw(seed, progress)
        if record is not None:
            metric = "" if record.metric is None else f"  {record.metric.name} {record.metric}"
            self._write(
                f"seed {seed}  epoch {record.epoch}/{progress.epochs}  loss {record.loss:.4g}{metric}  "
                f"{progress.samples_per_second:.0f} samples/s"
            )

    def close(self) -> None:
        self._fetch.close()
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _draw(self, seed: int, progress: Any) -> None:
        from tqdm import tqdm  # noqa: PLC0415  (only where a bar is shown)

        total = progress.epochs * progress.steps
        if self._bar is None or self._seed != seed:
            self.close()
            self._seed = seed
            self._bar = tqdm(total=total, leave=False, bar_format="{desc} |{bar}| {percentage:3.0f}% {postfix}")
        done = (progress.epoch - 1) * progress.steps + progress.step
        self._bar.n = done
        self._bar.set_description_str(f"seed {seed} epoch {progress.epoch}/{progress.epochs}", refresh=False)
        left = progress.seconds_left
        self._bar.set_postfix_str(
            f"loss {progress.loss:.4g}, {progress.samples_per_second:.0f} samples/s, {left / 60:.0f} min {left % 60:.0f} s left",
            refresh=False,
        )
        self._bar.update(0)

    def _write(self, text: str) -> None:
        text = printable(text)
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
