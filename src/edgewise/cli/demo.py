"""`edgewise demo`: the whole loop on real data, in about a minute."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewise.cli.output import Progress, add_json, heading, print_json, short, table, unit_bytes, unit_ms
from edgewise.errors import MissingExtraError

if TYPE_CHECKING:
    from edgewise.compose.demo import DemoResult  # extra: pack

__all__ = ["register", "run"]


def register(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "demo",
        help="the whole loop on real data, in about a minute",
        description="Pack two variants of a digit classifier with receipts and golden set, sign, verify, load, choose by "
        "measuring, answer 497 held-out images of handwritten digits, and print what was found.",
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("digits.bundle"), metavar="FILE", help="default digits.bundle"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    try:
        from edgewise.compose.demo import run_demo  # noqa: PLC0415  (extra: pack)
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"the demo needs {error.name}", remedy="pip install 'edgewise[pack]'") from None
    progress = Progress()
    try:
        result = run_demo(options.output, lambda step: print(f"- {step}", file=sys.stderr, flush=True), progress)
    finally:
        progress.close()
    if options.json:
        print_json(result.to_json())
    else:
        _print(result)
    return 0 if result.verified.passed else 4


def _print(result: "DemoResult") -> None:
    session, packed, fresh = result.session, result.packed, result.measured
    heading("Packed")
    table(
        [
            (
                item.candidate.variant,
                f"{item.candidate.engine}/{short(item.candidate.provider)}",
                unit_bytes(item.size),
                str(item.metrics[0]),
                unit_ms(item.latency.p50_ms),
                unit_bytes(item.peak_rss) if item.peak_rss else "-",
                ", ".join(f"{count} on {short(name)}" for name, count in item.placement.items()),
            )
            for item in packed.evaluations
        ],
        ("variant", "by", "size", "accuracy (95 % interval)", "p50", "peak memory", "graph nodes"),
    )
    heading("Verified")
    table([(check.what, check.state, check.details) for check in result.verified.checks])
    heading("Answered here")
    receipt = next(item for item in packed.evaluations if item.candidate.variant == session.origin.variant)
    ratio = result.ours.p50_ms / result.bare.p50_ms
    extra = (result.ours.p50_ms - result.bare.p50_ms) * 1000
    table(
        [
            ("chosen", f"{session.origin.variant} by {session.origin.engine} on {session.origin.provider}"),
            ("because", session.origin.reason),
            ("accuracy", f"{fresh} on {fresh.samples} held-out images; its receipt says {receipt.metrics[0]}"),
            (
                "p50",
                f"{unit_ms(result.ours.p50_ms)}; onnxruntime alone {unit_ms(result.bare.p50_ms)} ({ratio:.2f}x, {extra:+.1f} µs)",
            ),
            ("throughput", f"{result.ours.throughput_per_second:.0f} answers a second, one thread, one at a time"),
            ("learning", next(note for note in packed.notes if "can learn" in note)),
            ("bundle", f"{result.path}, {unit_bytes(result.path.stat().st_size)}, also installed as 'digits'"),
        ]
    )
    print("\nNext: edgewise run digits examples/digits/*.png      edgewise inspect digits      edgewise doctor")
    print("      edgewise train cnn --train digits -o own.onnx        (pip install 'edgewise[train]')")
