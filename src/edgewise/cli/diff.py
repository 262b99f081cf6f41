"""`edgewise diff`: what one form of a model does otherwise than another, and where."""

import argparse
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewise.cli.output import Progress, add_json, heading, print_json, table, unit_bytes, unit_ms
from edgewise.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from edgewise.compress.explain.comparison import Comparison  # extra: pack

__all__ = ["register", "run"]

_ROWS = 12


def register(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "diff",
        help="compare two forms of a model: layers, decisions, bytes, milliseconds",
        description="Compare two forms of a model: where they differ, which inputs they decide otherwise, where bytes and time go.",
    )
    parser.add_argument("first", metavar="A", help="an ONNX file, or NAME:VARIANT of a bundle")
    parser.add_argument("second", metavar="B")
    parser.add_argument(
        "--data", type=Path, metavar="DATA", help="labelled samples (default: made up from the interface)"
    )
    parser.add_argument("--samples", type=int, default=2000, metavar="N", help="of the data, at most (default 2000)")
    parser.add_argument("--output", default="", metavar="NAME", help="the output that decides (default: the first)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write one self-contained page")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    try:
        from edgewise.compose.diff import diff  # noqa: PLC0415  (extra: pack)
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"comparing needs {error.name}", remedy="pip install 'edgewise[pack]'") from None
    if options.samples < 1:
        raise InputError("--samples is at least 1")
    progress = Progress()
    try:
        found, labels = diff(options, progress)
    finally:
        progress.close()
    if options.json:
        print_json(found.to_json())
    else:
        _print(found, labels)
    return 0


def _print(c: "Comparison", labels: tuple[str, ...]) -> None:
    ratio = c.second.latency.p50_ms / c.first.latency.p50_ms
    table(
        [
            ("bytes", unit_bytes(c.first.bytes), unit_bytes(c.second.bytes), f"{c.second.bytes / c.first.bytes:.3f}"),
            ("p50", unit_ms(c.first.latency.p50_ms), unit_ms(c.second.latency.p50_ms), f"{ratio:.3f}"),
            *_accuracy(c),
        ],
        ("", c.first.name, c.second.name, "ratio"),
    )
    print(f"largest difference of {c.output} on {c.samples} samples: {c.difference:.4g}")
    if c.decisions is not None:
        _decisions(c, labels)
    if c.layers:
        heading("Layers, the worst first")
        worst = sorted(c.layers, key=lambda layer: layer.sqnr)[:_ROWS]
        table(
            [(x.operator, x.second, "equal" if x.sqnr == inf else f"{x.sqnr:.1f} dB", f"{x.peak:.2%}") for x in worst],
            ("operator", "result", "signal to noise", "largest error"),
        )
    for title, sides in (
        ("Bytes", [[(s.layer, s.operator, unit_bytes(s.bytes)) for s in side.sizes] for side in (c.first, c.second)]),
        (
            "Time",
            [[(s.node, s.operator, f"{s.microseconds:.0f} µs") for s in side.times] for side in (c.first, c.second)],
        ),
    ):
        for name, rows in zip((c.first.name, c.second.name), sides, strict=True):
            heading(f"{title}: {name}")
            table(rows[:5])


def _accuracy(c: "Comparison") -> list[tuple[str, str, str, str]]:
    if c.decisions is None or c.decisions.accuracy is None:
        return []
    one, two = c.decisions.accuracy
    return [("accuracy", f"{one:.4f}", f"{two:.4f}", f"{100 * (two - one):+.2f} points, p {c.decisions.p:.3g}")]


def _decisions(c: "Comparison", labels: tuple[str, ...]) -> None:
    assert c.decisions is not None

    def called(label: int | None) -> str:
        return "-" if label is None else labels[label] if label < len(labels) else str(label)

    flips = c.decisions.flips
    print(f"decisions that differ: {len(flips)} ({len(flips) / c.samples:.2%})")
    if flips:
        heading("Inputs decided otherwise")
        table(
            [
                (
                    flip.row, called(flip.truth), called(flip.first), f"{flip.scores[0]:.3g}", called(flip.second),
                    f"{flip.scores[1]:.3g}",
                )
                for flip in flips[:_ROWS]
            ],
            ("row", "truth", "first", "score", "second", "score"),
        )  # fmt: skip
    changed = [each for each in c.decisions.classes if each.first != each.second]
    if changed:
        heading("Classes that changed")
        table(
            [(called(k.label), k.samples, k.first, k.second, f"{k.p:.3g}") for k in changed],
            ("class", "samples", "first right", "second right", "p"),
        )
