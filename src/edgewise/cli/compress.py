"""`edgewise compress`: a smaller, faster model that lost nothing that counts, found by measuring."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewise.cli.options import byte_count, image_size
from edgewise.cli.output import Progress, add_json, print_json, table, unit_bytes, unit_ms
from edgewise.cli.streams import printable
from edgewise.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from edgewise.compose.compress import Compressed  # extra: train
    from edgewise.compress.search.result import Row
    from edgewise.compress.search.run import Progress as Step

__all__ = ["register", "run"]

#: What reading data asks for and this command has no option of.
_DATA = {"share": None, "by_group": False, "hold_out": "", "network": "", "loss": ""}


def register(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "compress",
        help="search for a smaller, faster form of a model that answers as well, by measuring",
        description="Try chains of passes (quantize, prune, fine-tune, ...) on an ONNX file, drop what does worse, measure bytes, "
        "time, memory and accuracy of the rest on this machine, and keep what lost nothing that counts on held-out data.",
    )
    parser.add_argument("model", metavar="MODEL", help="an ONNX file")
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="DIR", help="for the models, the report and the journal"
    )
    add_json(parser)
    _add_data(parser.add_argument_group("data"))
    _add_teaching(parser.add_argument_group("who teaches and who learns"))
    _add_goals(parser.add_argument_group("what is asked for"))
    _add_running(parser.add_argument_group("running"))
    parser.set_defaults(run=run, **_DATA)


def _add_data(group: Any) -> None:
    group.add_argument(
        "--train", required=True, metavar="DATA",
        help="what passes learn from and candidates are compared by: .npz with x and y, a folder of class folders, a table, or the "
        "name of a public set (`edgewise data list`)",
    )  # fmt: skip
    group.add_argument(
        "--eval", metavar="DATA", help="what only the gate at the end looks at (default: a part of the training data)"
    )
    group.add_argument("--size", type=image_size, metavar="HxW", help="bring every image to this size")
    group.add_argument("--length", type=int, metavar="N", help="bring every clip to this many samples")
    group.add_argument("--sample-rate", type=int, default=0, metavar="HZ", help="of sound that does not say it itself")
    group.add_argument(
        "--labels", type=Path, metavar="FILE", help="class names, one a line, in the order of the numbers"
    )
    group.add_argument("--label-column", default="", metavar="NAME", help="of a table")
    group.add_argument("--text-column", default="", metavar="NAME", help="of a table")
    group.add_argument("--group-column", default="", metavar="NAME", help="of a table")
    group.add_argument(
        "--before", default="", metavar="FRAGMENT", help="preprocessing to join in front (docs/preprocessing.md)"
    )
    group.add_argument(
        "--augment", default="usual", metavar="WORDS", help="augmentation of samples that passes learn from, as in `edgewise train`"
    )  # fmt: skip
    group.add_argument("--decision", default="", metavar="OUTPUT", help="the output that counts (default: the first)")


def _add_teaching(group: Any) -> None:
    group.add_argument(
        "--teacher", default="", metavar="MODEL|URL",
        help="another model than MODEL teaches: an ONNX or TFLite file, or https://HOST/v2/models/NAME (Open Inference "
        "Protocol v2), to which the samples that passes learn from are then sent",
    )  # fmt: skip
    group.add_argument(
        "--teacher-output", default="", metavar="OUTPUT", help="the teacher's output that is learnt from"
    )
    group.add_argument(
        "--unsafe-plain-http",
        action="store_true",
        help="send samples to a teacher on another machine without encryption",
    )
    group.add_argument(
        "--student", default="", metavar="FILE|NETWORK",
        help="also teach this ONNX file, or this reference network (`edgewise train --help`), in MODEL's place",
    )  # fmt: skip
    group.add_argument(
        "--unlabelled", default="", metavar="DATA",
        help="more samples for students to be taught on: .npz with x, or a folder of pictures or sound",
    )  # fmt: skip


def _add_goals(group: Any) -> None:
    group.add_argument(
        "--max-drop", type=float, default=0.5, metavar="POINTS",
        help="accuracy that may be lost on held-out data, in points (of an error: percent); a significant loss is refused however "
        "small (default 0.5)",
    )  # fmt: skip
    group.add_argument(
        "--upstream", default="", metavar="URL|FILE",
        help="also tell which result costs least beside this upstream, which answers what a device is unsure of: an address (the "
        "held-out samples are sent there), a bundle, or an .npz of answers; see `edgewise calibrate`",
    )  # fmt: skip
    group.add_argument(
        "--epsilon", type=float, default=1.0, metavar="POINTS", help="beside --upstream: most that may be lost (default 1)"
    )  # fmt: skip
    group.add_argument(
        "--target", default="", metavar="TARGET",
        help="runtime that the result is for (`edgewise inspect --target list`): nothing is used that falls back or fails there; "
        "time and memory are still those of onnxruntime here",
    )  # fmt: skip
    group.add_argument("--max-size", type=byte_count, metavar="BYTES", help="of the file, as in 100KB")
    group.add_argument(
        "--max-latency-ratio", type=float, default=1.05, metavar="R",
        help="median time in parts of the original's (default 1.05: no slower than it came, within noise)",
    )  # fmt: skip
    group.add_argument(
        "--max-rss",
        type=byte_count,
        metavar="BYTES",
        help="peak memory of a process that runs it, Python included, as in 90MB",
    )


def _add_running(group: Any) -> None:
    group.add_argument(
        "--chains", action="append", default=[], metavar="PATTERN", help="try these chains alone, as in 'int8*' (default: all)"
    )  # fmt: skip
    group.add_argument(
        "--workers", type=int, metavar="N", help="at a time: processes (default 1), or tasks of the cluster (default: its CPUs)"
    )  # fmt: skip
    group.add_argument(
        "--cluster", default="", metavar="ADDRESS",
        help="try candidates on a Ray cluster: HOST:PORT, ray://HOST:PORT, `auto` for the one of this machine, `local` to start "
        "one for the search; times are still taken on this machine",
    )  # fmt: skip
    group.add_argument(
        "--epochs", type=int, default=12, metavar="N", help="of learning, for the finalists (default 12)"
    )
    group.add_argument("--minutes", type=float, metavar="M", help="begin nothing new after about so long")
    group.add_argument("--resume", action="store_true", help="go on with the search in DIR, if there is one")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of every draw (default 0)")


def run(options: argparse.Namespace) -> int:
    try:
        # Deferred: these need the extra "train".
        from edgewise.compose.compress import compress  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"compressing needs {error.name}", remedy="pip install 'edgewise[train]'") from None
    bar = _Bar()
    try:
        result = compress(options, bar)
    finally:
        bar.close()
    if options.json:
        print_json(result.to_json())
    else:
        _print(result, options.output)
    return 0 if result.reached else InputError.exit_code


def _print(result: "Compressed", folder: Path) -> None:
    found = result.found
    rows = [row for row in found.rows if row.finalist]
    memory = any(row.peak is not None for row in rows)
    metric = rows[0].verdict.metric.name if rows[0].verdict else "metric"
    heads = (
        "candidate",
        "bytes",
        "ratio",
        "p50",
        "ratio",
        *(("memory",) if memory else ()),
        metric,
        "lost",
        "p",
        "verdict",
    )
    table([_cells(result, row, memory) for row in sorted(rows, key=lambda row: (bool(row.unmet), row.size))], heads)
    failed = [row for row in found.rows if row.failed]
    dropped = [row for row in found.rows if not row.finalist and not row.failed]
    print(f"{len(found.rows) - 1} candidates tried, {len(dropped)} dropped on the way, {len(failed)} not possible here")
    for row in failed:
        print(f"not possible: {row.name}: {row.failed}")
    for condition in result.conditions:
        print(condition)
    if result.reached:
        written = ", ".join(dict.fromkeys(result.files.values()))
        print(f"written to {folder}: {written}, report.html, report.json, pareto.png")
        return
    nearest = found.row(found.nearest)
    print(f"not reachable; nearest is {nearest.name}: {', '.join(nearest.unmet)}")
    print(f"written to {folder}: report.html, report.json, pareto.png")


def _cells(result: "Compressed", row: "Row", memory: bool) -> tuple[str, ...]:
    assert row.timed is not None
    assert row.verdict is not None
    roles = [role for role, name in result.found.chosen.items() if name == row.name]
    p_value = row.verdict.p_value
    test = f"{p_value:.2g}" if p_value is not None else "lost" if row.verdict.significant else "-"
    return (
        row.name, unit_bytes(row.size), f"{row.size / result.found.original.size:.3f}", unit_ms(row.timed.latency.p50_ms),
        f"{row.timed.ratio:.3f}", *((unit_bytes(row.peak) if row.peak else "-",) if memory else ()),
        f"{row.verdict.metric.value:.4f}", f"{row.verdict.drop:+.2f}", test,
        "; ".join(row.unmet) or ", ".join(roles) or ("worth having" if row.name in result.found.front else "beaten"),
    )  # fmt: skip


class _Bar:
    """A bar with what is tried, the best so far and the time left on a terminal; elsewhere a line for each step."""

    def __init__(self) -> None:
        self._fetch = Progress()
        self._bar: Any = None
        self._rung = 0
        self._last = ""
        self._best = ""

    def note(self, text: str) -> None:
        self._write(f"note: {text}")

    def fetched(self, what: str, done: int, total: int) -> None:
        self._fetch(what, done, total)

    def step(self, what: str, done: int, total: int) -> None:
        if self._bar is not None and total:
            self._bar.set_postfix_str(f"{what} {100 * done // total} %, {self._last}")

    def progress(self, progress: "Step") -> None:
        final = progress.rung > progress.rungs
        where = "finalists" if final else f"rung {progress.rung}/{progress.rungs}"
        left = _left(progress.seconds_left)
        best = f"best so far: {progress.best}" if progress.best else ""
        self._last = ", ".join(part for part in (left, best) if part)
        trying = ", ".join(progress.trying) or ("measured once more, everything" if final else "")
        if sys.stderr.isatty():
            self._draw(progress, f"{where} {trying}"[:60])
        elif progress.trying or (final and not progress.done):
            self._write("  ".join(filter(None, (f"{where}  {progress.done}/{progress.total}  {trying}", left))))
            if best and best != self._best:
                self._write(best)
            self._best = best

    def close(self) -> None:
        self._fetch.close()
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _draw(self, progress: "Step", what: str) -> None:
        from tqdm import tqdm  # noqa: PLC0415  (only where a bar is shown)

        if self._bar is None or self._rung != progress.rung:
            self.close()
            self._rung = progress.rung
            self._bar = tqdm(
                total=progress.total, leave=False, bar_format="{desc} |{bar:20}| {n_fmt}/{total_fmt} {postfix}"
            )
        self._bar.total, self._bar.n = progress.total, progress.done
        self._bar.set_description_str(printable(what), refresh=False)
        self._bar.set_postfix_str(printable(self._last), refresh=False)
        self._bar.refresh()

    def _write(self, text: str) -> None:
        text = printable(text)
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds // 60:.0f} min {seconds % 60:.0f} s left"
