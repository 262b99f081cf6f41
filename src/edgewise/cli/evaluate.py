"""`edgewise eval`: what the receipts say, measured here."""

import argparse
from pathlib import Path
from typing import Any

from edgewise.cli.options import add_requirements, add_trust, read_requirements
from edgewise.cli.output import Progress, add_json, print_json, short, table, unit_bytes, unit_ms
from edgewise.compose.evaluating import Evaluated, Row, evaluate_path
from edgewise.errors import RequirementError

__all__ = ["register", "run"]


def register(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "eval",
        help="measure a bundle on labelled data: quality with interval, latency, memory, placement",
        description="Measure every variant on every engine and provider here, on labelled data, beside what the receipts say.",
    )
    parser.add_argument("bundle", metavar="NAME|FILE")
    parser.add_argument(
        "--data", required=True, type=Path, metavar="DATA", help=".npz with x and y, or a folder of class folders"
    )
    parser.add_argument(
        "--receipts", type=Path, metavar="FILE", help="also write a bundle with these results as further receipts"
    )
    parser.add_argument("--key", type=Path, metavar="FILE", help="key to sign the receipts with (default: your own)")
    add_requirements(parser)
    add_trust(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    progress = Progress()
    try:
        result = evaluate_path(options, read_requirements(options), progress)
    finally:
        progress.close()
    if options.json:
        print_json(result.to_json())
    else:
        _print(result)
    return 0 if result.met else RequirementError.exit_code


def _print(result: Evaluated) -> None:
    table([_cells(row) for row in result.rows], _headers(result))
    for row in result.rows:
        others = ", ".join(f"{metric.name} {metric}" for metric in row.evaluation.metrics[1:])
        if others:
            print(f"{row.evaluation.candidate.variant} by {row.evaluation.candidate.engine}: {others}")
    for row in result.rows:
        if row.unmet:
            print(f"not met: {row.evaluation.candidate}: {row.unmet}")
    for candidate, reason in result.failed:
        print(f"not measured: {candidate}: {reason}")
    if result.receipts:
        print(f"{result.receipts}: the bundle with {len(result.rows)} more receipts")


def _headers(result: Evaluated) -> tuple[str, ...]:
    name = result.rows[0].evaluation.metrics[0].name
    return ("variant", "by", name, "receipt", "p50", "p95", "rate", "memory", "size", "nodes")


def _cells(row: Row) -> tuple[str, ...]:
    item, promised = row.evaluation, row.receipt
    return (
        item.candidate.variant,
        f"{item.candidate.engine}/{short(item.candidate.provider)}",
        str(item.metrics[0]),
        str(promised.metrics[0]) if promised and promised.metrics else "-",
        unit_ms(item.latency.p50_ms),
        unit_ms(item.latency.p95_ms),
        f"{item.latency.throughput_per_second:.0f}/s",
        unit_bytes(item.peak_rss) if item.peak_rss else "-",
        unit_bytes(item.size),
        ", ".join(f"{count} {short(name)}" for name, count in item.placement.items()),
    )
