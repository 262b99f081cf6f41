"""`edgewise demo`: the whole loop on real data, in half a minute."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewise.cli.output import Progress, add_json, heading, print_json, short, table, unit_bytes, unit_ms
from edgewise.errors import MissingExtraError

if TYPE_CHECKING:
    from edgewise.compose.demo_compress import Form
    from edgewise.compose.demo_route import Routed
    from edgewise.compose.demo_run import DemoResult  # extra: pack

__all__ = ["print_forms", "print_routed", "register", "run"]


def register(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "demo",
        help="the whole loop on real data, in half a minute",
        description="Make a digit classifier small (distilled, pruned, quantized), pack big and small with receipts and golden "
        "set, sign, verify, load, choose by measuring, answer 497 held-out images of handwritten digits, then noisy ones with the "
        "big network upstream, which is killed half way; and print what was found.",
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("digits.bundle"), metavar="FILE", help="default digits.bundle"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    try:
        from edgewise.compose.demo_run import run_demo  # noqa: PLC0415  (extra: pack)
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"the demo needs {error.name}", remedy="pip install 'edgewise[pack]'") from None
    progress = Progress()

    def report(step: str) -> None:
        progress.close()
        print(f"- {step}", file=sys.stderr, flush=True)

    try:
        result = run_demo(options.output, report, progress)
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
    print_forms(result.forms)
    print_routed(result.routed)
    print("\nNext: edgewise run digits examples/digits/*.png      edgewise inspect digits      edgewise doctor")
    print("      edgewise train cnn --train digits -o own.onnx        (pip install 'edgewise[train]')")


def print_routed(routed: "Routed") -> None:
    """The promise, what it costs, and the answers before and after the cut."""
    heading("Local first, upstream when unsure")
    fit = routed.fit
    promise = fit.promise
    print(
        f"Promise: at most {100 * promise.epsilon:g} points below the big network, but for a chance of {promise.delta:.0%}; made "
        f"on {fit.samples} noisy images.\nIt passes on {fit.chosen.offload:.1%}; whoever knows the truth could do with "
        f"{fit.oracle.offload:.1%}, and more images come nearer to that."
    )
    table(
        [
            (
                name,
                str(half.answered),
                str(half.answered - half.deferred - half.degraded),
                str(half.deferred),
                str(half.degraded),
                f"{half.right / half.answered:.3f}",
                unit_ms(half.slowest * 1000),
            )
            for name, half in (("upstream there", routed.before), ("upstream killed", routed.after))
        ],
        ("", "images", "kept", "answered upstream", "marked degraded", "accuracy", "slowest"),
    )
    print(
        f"By themselves, on the first half: small {routed.local:.3f}, big {routed.upstream:.3f}. A marked answer says why: "
        f"{routed.after.why}"
    )


def print_forms(forms: "Sequence[Form]") -> None:
    """What each step cost and gained."""
    heading("Made small")
    big, small = forms[0], forms[-1]
    table(
        [
            (
                form.name,
                unit_bytes(form.size),
                str(form.metric),
                f"{form.verdict.drop:+.2f}" if form.verdict else "-",
                f"{form.verdict.p_value:.2g}" if form.verdict and form.verdict.p_value is not None else "-",
                unit_ms(form.latency.p50_ms),
                f"{form.seconds:.1f} s" if form.verdict else "-",
            )
            for form in forms
        ],
        ("form", "bytes", "accuracy (95 % interval)", "points lost", "p", "p50", "took"),
    )
    assert small.verdict is not None
    lost = "nothing significant" if small.verdict.passes else "too much"
    print(
        f"{small.name} has 1/{big.size / small.size:.0f} of the bytes and {small.latency.p50_ms / big.latency.p50_ms:.2f} of the "
        f"time of {big.name}; it lost {lost} ({small.verdict.test}, on the same {small.metric.samples} held-out images)"
    )
