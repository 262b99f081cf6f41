"""`edgewise calibrate`: what a device may answer by itself, under a promise."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewise.cli.options import add_trust
from edgewise.cli.output import Progress, add_json, heading, print_json, table
from edgewise.cli.streams import printable
from edgewise.errors import DataError

if TYPE_CHECKING:
    from edgewise.compose.calibrating import Result

__all__ = ["register", "run"]


def register(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "calibrate",
        help="fit the threshold below which a device asks upstream, under a promise of what that loses",
        description="Run every variant of a bundle on calibration samples, ask upstream about the same samples, and fit for each "
        "variant the threshold at which as much as possible is answered on the device while the promise holds: at most EPSILON "
        "points below upstream, but for a chance of DELTA percent over the draw of the samples. The variant with the least "
        "expected cost is chosen; the result is a bundle with signed calibrations (docs/deferring.md).",
    )
    parser.add_argument("bundle", metavar="NAME|FILE")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE", help="the bundle to write")
    add_json(parser)
    _add_data(parser.add_argument_group("samples and upstream"))
    _add_promise(parser.add_argument_group("the promise"))
    _add_choice(parser.add_argument_group("what is chosen among"))
    group = parser.add_argument_group("what is written")
    group.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        help="key to sign with (default: your own); the publisher's makes it a new release",
    )
    group.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="also draw offload against what is lost (extra: train)"
    )
    group.add_argument("--page", type=Path, metavar="FILE.html", help="also write the same as a page")
    add_trust(parser)
    parser.set_defaults(run=run)


def _add_data(group: Any) -> None:
    group.add_argument(
        "--data", required=True, type=Path, metavar="DATA",
        help="samples drawn like those that will come, and none that the model learnt from: .npz with x (and y), a folder of "
        "images or wav files, a table of texts; labels are needed for --against gap alone",
    )  # fmt: skip
    group.add_argument(
        "--upstream", required=True, metavar="UPSTREAM",
        help="who is asked where the device is unsure: an address as of `edgewise run --upstream`, to which the samples are sent "
        "(https://HOST/v2/models/NAME), another bundle, or an .npz with its answers to the samples in their order",
    )  # fmt: skip
    group.add_argument(
        "--upstream-variant", default="", metavar="NAME", help="of an upstream bundle (default: the one chosen here)"
    )
    group.add_argument(
        "--upstream-ms", type=float, metavar="MS",
        help="time of one question there and back (default: as measured where it is a URL, else 100)",
    )  # fmt: skip
    group.add_argument(
        "--unsafe-plain-http", action="store_true", help="send samples to another machine without encryption"
    )
    group.add_argument(
        "--block", action="store_true",
        help="samples of one group (array `group`: a camera, a person, a recording) are correlated: count each group once",
    )  # fmt: skip
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of every draw (default 0)")


def _add_promise(group: Any) -> None:
    group.add_argument(
        "--epsilon", type=float, default=1.0, metavar="POINTS",
        help="most that may be lost against upstream, in points: 1 is one answer in a hundred (default 1)",
    )  # fmt: skip
    group.add_argument(
        "--delta", type=float, default=5.0, metavar="PERCENT",
        help="chance that the calibration samples were too lucky and the promise does not hold, in percent (default 5)",
    )  # fmt: skip
    group.add_argument(
        "--against", choices=("auto", "agreement", "gap", "loss"), default="auto",
        help="what counts as lost: answers that are others than upstream's (agreement, no labels needed), accuracy (gap, labels "
        "needed), or a loss of the task with weights (default auto: what costs less by samples that the promise does not rest on)",
    )  # fmt: skip
    group.add_argument(
        "--per-class", action="store_true", help="hold the promise in each class that the device decides"
    )
    group.add_argument(
        "--weight", action="append", default=[], metavar="LABEL=COST",
        help="cost of a wrong answer where upstream says LABEL (default 1 each); points are then parts of the largest",
    )  # fmt: skip

    for name, words in (
        ("--cut", "the score from which a sample is an anomaly, a box is kept, a label is set"),
        ("--tolerance", "of numbers: the difference to upstream's that does not matter"),
        ("--cosine", "of embeddings: the cosine below which two of them differ"),
    ):
        group.add_argument(name, type=float, metavar="VALUE", help=words)


def _add_choice(group: Any) -> None:
    group.add_argument(
        "--rule",
        default="auto",
        metavar="NAME|auto",
        help="how sure an answer is (default auto: the best by other samples)",
    )
    group.add_argument(
        "--variant", action="append", default=[], metavar="NAME", help="of the bundle (default: all that run here)"
    )
    group.add_argument(
        "--head",
        action="store_true",
        help="learn, from three samples in ten, on which inputs a variant answers as upstream does, and put that into its graph",
    )
    group.add_argument(
        "--cascade", action="store_true", help="also try a small variant first, then a bigger one, then upstream"
    )
    group.add_argument(
        "--minimise", choices=("latency", "bytes", "energy", "money"), default="latency",
        help="what is made small: expected time, bytes sent, energy (a proxy) or money for an answer (default latency)",
    )  # fmt: skip
    group.add_argument("--price", type=float, metavar="USD", help="of one call upstream, for --minimise money")


def run(options: argparse.Namespace) -> int:
    from edgewise.compose.calibrating import calibrate_path  # noqa: PLC0415  (what fits reads data as training does)

    progress = Progress()
    try:
        result = calibrate_path(options, progress, _note)
    finally:
        progress.close()
    if options.json:
        print_json(result.to_json())
    else:
        _print(result, options)
    return 0 if result.kept else DataError.exit_code


def _note(text: str) -> None:
    sys.stderr.write(f"note: {printable(text)}\n")
    sys.stderr.flush()


def _print(result: "Result", options: argparse.Namespace) -> None:
    from edgewise.compose.calibrating_telling import (  # noqa: PLC0415  (as above)
        HEAD,
        group_rows,
        price_of,
        rests_on,
        variant_rows,
    )

    chosen = result.calibrated.chosen
    rows, own = variant_rows(result.calibrated, result.minimise)
    table([("*" if at == own else "", *row) for at, row in enumerate(rows)], ("", *HEAD))
    if groups := group_rows(chosen):
        heading(f"Kept on the device by {chosen.name}, by class")
        table(groups, ("class", "from a score of"))
    print(f"\n{result.promise}")
    print(price_of(chosen))
    print(rests_on(chosen))
    print(f"upstream: {result.upstream.told}")
    for line in (*result.calibrated.notes, *result.told):
        print(line)
    written = [str(path) for path in (options.plot, options.page) if path is not None]
    if result.output is not None:
        by = "a new release" if result.released else "evidence beside its release"
        count = len(result.calibrated.each) + (len(chosen.stages) > 1)
        print(f"{result.output}: {result.ref} with {count} calibration{'s' if count > 1 else ''}, {by}")
    if written:
        print(f"written: {', '.join(written)}")
