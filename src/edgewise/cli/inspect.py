"""`edgewise inspect`: everything a bundle says about itself, as a page of tables."""

import argparse
from pathlib import Path
from typing import Any

from edgewise.cli.options import add_trust
from edgewise.cli.output import add_json, heading, print_json, table, unit_bytes, unit_ms
from edgewise.compose.report import Report, make_report
from edgewise.measure.receipt import Receipt

__all__ = ["register", "run"]


def register(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "inspect",
        help="show what is in a bundle: interface, variants, receipts, signatures",
        description="Show what is in a bundle. Nothing of it is run. Whether its signature is trusted is shown, not demanded.",
    )
    parser.add_argument("bundle", metavar="NAME|FILE")
    add_trust(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    report = make_report(options.bundle, Path(options.trust) if options.trust else None)
    if options.json:
        print_json(report.to_json())
        return 0
    _print(report)
    return 0


def _print(report: Report) -> None:
    document = report.bundle.document
    rows = [
        ("name", document.name), ("version", document.version), ("task", document.task), ("licence", document.licence or "-"),
        ("description", document.description or "-"), ("manifest", report.bundle.index.manifests[0].digest),
        ("size", unit_bytes(report.size)), ("signature", report.signature),
    ]  # fmt: skip
    table(rows)
    heading("Interface")
    states = {state.input: state.output for state in document.states}
    tensors = [
        ("input", str(spec), f"state, from {states[spec.name]}" if spec.name in states else "")
        for spec in document.inputs
    ]
    tensors += [("output", str(spec), "decides" if spec.name == document.decision else "") for spec in document.outputs]
    table(tensors)
    if document.labels:
        shown = ", ".join(document.labels[:20])
        print(f"labels ({len(document.labels)}): {shown}{', ...' if len(document.labels) > 20 else ''}")
    heading("Variants")
    table(
        [
            (
                v.name,
                v.format,
                v.precision,
                unit_bytes(v.size),
                ", ".join(f"{key} {value}" for key, value in v.requires.items() if value),
                v.digest[7:19],
            )
            for v in document.variants
        ],
        ("name", "format", "precision", "size", "requires", "sha256"),
    )
    heading("Receipts")
    if not report.receipts:
        print("none")
    for receipt, trusted in report.receipts:
        _print_receipt(receipt, trusted)
    golden = document.golden
    heading("Golden set")
    print(
        "none" if golden is None
        else f"{report.golden_count} inputs; tolerance {golden.absolute:g} + {golden.relative:g} x value; "
        f"at least {golden.agreement:.1%} equal decisions"
    )  # fmt: skip
    if document.files:
        heading("Files")
        table([(file.path, file.media_type, unit_bytes(file.size)) for file in document.files])


def _print_receipt(receipt: Receipt, trusted: bool) -> None:
    device, data, latency = receipt.device, receipt.data, receipt.latency
    by = f"{receipt.engine} {receipt.engine_version}, {receipt.provider}"
    print(f"{receipt.variant}: {by}, {'trusted' if trusted else 'NOT TRUSTED'}")
    rows = [
        (f"  {m.name}", f"{m.value:.4f}", f"{m.low:.4f}..{m.high:.4f}", f"{m.confidence:.0%} {m.method}, n={m.samples}")
        for m in receipt.metrics
    ]
    if latency:
        rate = f"{latency.throughput_per_second:.0f}/s, n={latency.runs}"
        rows.append(("  p50", unit_ms(latency.p50_ms), f"p95 {unit_ms(latency.p95_ms)}", rate))
    if receipt.peak_rss:
        rows.append(("  peak memory", unit_bytes(receipt.peak_rss), "", "fresh process"))
    rows.append(
        ("  placement", ", ".join(f"{name}: {count}" for name, count in receipt.placement.items()), "", "nodes")
    )
    digest = str(data.get("digest", ""))[:19]
    rows.append(("  data", str(data.get("name", "?")), f"{data.get('samples', '?')} samples", digest))
    rows.append(("  device", str(device.get("cpu", "?")), f"{device.get('cores', '?')} cores", receipt.measured_at))
    table(rows)
    print()
