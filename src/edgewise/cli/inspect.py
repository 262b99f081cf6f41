"""`edgewise inspect`: everything a bundle says about itself, as a page of tables."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewise.bundle.derivation import Judgement
from edgewise.bundle.tensors import TensorSpec
from edgewise.cli.options import add_trust
from edgewise.cli.output import add_json, heading, print_json, short, table, unit_bytes, unit_ms
from edgewise.compose.report import Report, Teaching, make_report
from edgewise.errors import InputError, MissingExtraError
from edgewise.measure.receipt import Receipt
from edgewise.routing.calibration import Calibration

if TYPE_CHECKING:
    from edgewise.compress.targets.check import Fit  # extra: pack

__all__ = ["register", "run"]

#: What a promise is about, in a word.
_ABOUT = {"gap": "accuracy", "disagreement": "agreement", "loss": "cost"}


def register(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "inspect",
        help="show what is in a bundle: interface, variants, receipts, signatures",
        description="Show what is in a bundle. Nothing of it is run. Whether its signature is trusted is shown, not demanded. "
        "With --target: what of a model a runtime has, node by node; exit code 1 where it does not open there.",
    )
    parser.add_argument(
        "bundle", metavar="NAME|FILE", nargs="?", default="", help="a bundle; with --target also an ONNX file"
    )
    parser.add_argument(
        "--target", default="", metavar="TARGET",
        help="show what of the model would fall back or fail on a runtime, and why; `list` shows the runtimes",
    )  # fmt: skip
    add_trust(parser, unsafe=False)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.target:
        return _run_target(options)
    if not options.bundle:
        raise InputError("no bundle is named", remedy="edgewise inspect NAME|FILE; with --target also an ONNX file.")
    report = make_report(options.bundle, Path(options.trust) if options.trust else None)
    if options.json:
        print_json(report.to_json())
        return 0
    _print(report)
    return 0


def _run_target(options: argparse.Namespace) -> int:
    try:
        from edgewise.compose.fitting import all_profiles, fits  # noqa: PLC0415  (extra: pack)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"looking at a model needs {error.name}", remedy="pip install 'edgewise[pack]'"
        ) from None
    if options.target == "list":
        found = all_profiles()
        if options.json:
            print_json(
                [
                    {
                        "name": p.name,
                        "title": p.title,
                        "sources": list(p.sources),
                        "checked": p.checked,
                        "unknown": p.unknown,
                    }
                    for p in found
                ]
            )
        else:
            table(
                [
                    (p.name, p.title, len(p.operators), p.checked or "read in its source", "; ".join(p.sources))
                    for p in found
                ],
                ("target", "runtime", "operators", "checked by", "source"),
            )
        return 0
    if not options.bundle:
        raise InputError("no model is named", remedy="edgewise inspect MODEL.onnx|NAME --target TARGET")
    fitting = fits(options.bundle, options.target)
    if options.json:
        print_json({name: fit.to_json() for name, fit in fitting.items()})
    else:
        for name, fit in fitting.items():
            _print_fit(name, fit)
    return 0 if all(fit.runs for fit in fitting.values()) else 1


def _print_fit(name: str, fit: "Fit") -> None:
    heading(f"{name} on {fit.profile.title}")
    for problem in fit.problems:
        print(f"does not fit: {problem}")
    for remark in fit.remarks:
        print(remark)
    noted = [node for node in fit.nodes if node.state != "runs"]
    if noted:
        table(
            [(n.node, n.operator, n.otherwise or "runs, with limits", n.why) for n in noted],
            ("node", "operator", "there", "why"),
        )
    runs = sum(node.state != "missing" for node in fit.nodes)
    print(f"{runs} of {len(fit.nodes)} nodes run there; known from {'; '.join(fit.profile.sources)}")
    if fit.profile.unknown:
        print(f"not known: {fit.profile.unknown}")


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
        ("input", str(spec), _about(spec, f"state, from {states[spec.name]}" if spec.name in states else ""))
        for spec in document.inputs
    ]
    tensors += [
        ("output", str(spec), _about(spec, "decides" if spec.name == document.decision else ""))
        for spec in document.outputs
    ]
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
    _print_derivations(report)
    heading("Receipts")
    _print_receipts(report)
    _print_calibrations(report)
    if report.others:
        heading("Other evidence")
        table(report.others, ("kind", "counts"))
    heading("Golden set")
    _print_golden(report)
    _print_teaching(report)
    if document.files:
        heading("Files")
        table([(file.path, file.media_type, unit_bytes(file.size)) for file in document.files])


def _print_derivations(report: Report) -> None:
    variants = report.bundle.document.variants
    derived = [(variant.name, variant.derivation) for variant in variants if variant.derivation]
    if not derived:
        return
    heading("How variants were made, by the publisher's word")
    names = {variant.digest: variant.name for variant in variants}
    for name, derivation in derived:
        source = names.get(derivation.source, f"a model that is not here ({derivation.source[7:19]})")
        facts = [
            f"by {derivation.tool}" if derivation.tool else "",
            "" if derivation.seed is None else f"seed {derivation.seed}",
            "" if derivation.epochs is None else f"at most {derivation.epochs} epochs",
        ]
        print(", ".join(filter(None, (f"{name}: from {source}", *facts))))
        for step in derivation.steps:
            print(f"  - {step}")
        if derivation.judged:
            print(f"  {_judged(derivation.judged)}")
        for use in derivation.data:
            print(f"  {use.use}: {use.samples} samples" + (f" ({use.digest[:19]})" if use.digest else ""))


def _judged(judged: Judgement) -> str:
    sure = "" if judged.p_value is None else f", p {judged.p_value:.2g}"
    lost = f"{judged.drop:+.2f} points lost of {judged.allowed:g} allowed ({judged.test}{sure})"
    return f"{'passed' if judged.passes else 'NOT PASSED'}: {judged.metric} {judged.value:.4f}, {lost}"


def _print_golden(report: Report) -> None:
    document = report.bundle.document
    golden = document.golden
    if golden is None:
        print("none")
    else:
        made = ", made up from the interface" if golden.extra.get("source") == "seeded" else ""
        print(
            f"{report.golden_count} inputs{made}; at least {golden.agreement:.1%} of the decisions have to be the same"
        )
        allowed = [
            (v.name, f"{golden.tolerance(v.name):g} x spread + {golden.relative:g} x |value|")
            for v in document.variants
        ]
        table(allowed, ("variant", "allowed difference"))


def _print_teaching(report: Report) -> None:
    if report.teaching:
        heading("Learning on the device")
        table(
            [
                (
                    step.variant,
                    f"{step.weights:,} in {step.tensors} tensors",
                    step.loss or "-",
                    step.optimizer or "-",
                    "-" if step.learning_rate is None else f"{step.learning_rate:g}",
                    _needed(step),
                    unit_bytes(step.size),
                )
                for step in report.teaching
            ],
            ("variant", "trains", "loss", "optimiser", "rate", "memory", "size"),
        )


def _needed(step: Teaching) -> str:
    memory = step.memory
    if memory is None:
        return "not known"
    return f"{unit_bytes(memory.fixed)} + {unit_bytes(memory.per_sample)} for each example of a batch"


def _about(spec: TensorSpec, role: str) -> str:
    """What else the interface says of a tensor."""
    parts = [role, spec.content if spec.content != "tensor" else ""]
    rate, quantized = spec.extra.get("sampleRate"), spec.extra.get("quantization")
    parts.append(f"{rate} Hz" if rate else "")
    if isinstance(quantized, dict) and isinstance(quantized.get("scale"), (int, float)):
        parts.append(f"real = {quantized['scale']:.6g} x (value - {quantized.get('zeroPoint')})")
    return ", ".join(filter(None, parts))


def _print_receipts(report: Report) -> None:
    """One row for each receipt; what it was measured on comes below, once for all that have it in common."""
    if not report.receipts:
        print("none")
        return
    order = [variant.name for variant in report.bundle.document.variants]
    receipts = sorted(
        report.receipts, key=lambda pair: order.index(pair[0].variant) if pair[0].variant in order else 99
    )
    places: dict[str, int] = {}
    told = {receipt.metrics[0].name for receipt, _ in receipts if receipt.metrics}
    rows = []
    for receipt, trusted in receipts:
        place = places.setdefault(_place(receipt), len(places) + 1)
        first = receipt.metrics[0] if receipt.metrics else None
        latency = receipt.latency
        rows.append(
            (
                receipt.variant,
                f"{receipt.engine}/{short(receipt.provider)}",
                "-" if first is None else str(first) if len(told) == 1 else f"{first.name} {first}",
                unit_ms(latency.p50_ms) if latency else "-",
                unit_ms(latency.p95_ms) if latency else "-",
                unit_bytes(receipt.peak_rss) if receipt.peak_rss else "-",
                ", ".join(f"{count} {short(name)}" for name, count in receipt.placement.items()),
                "yes" if trusted else "NO",
                f"[{place}]",
            )
        )
    quality = next(iter(told)) if len(told) == 1 else "quality"
    table(rows, ("variant", "by", f"{quality} (95 %)", "p50", "p95", "memory", "nodes", "trusted", "on"))
    for receipt, _ in receipts:
        others = ", ".join(f"{metric.name} {metric}" for metric in receipt.metrics[1:])
        if others:
            print(f"{receipt.variant} by {receipt.engine}: {others}")
    for text, number in places.items():
        print(f"[{number}] {text}")


def _print_calibrations(report: Report) -> None:
    """By which each variant may ask upstream."""
    if not report.calibrations:
        return
    heading("Calibrations: what may be kept here, and what goes upstream")
    rows = [
        (
            " -> ".join(found.variants), str(found.rule.get("name", "?")), _limit(found),
            f"{100 * found.epsilon:g} points of {_ABOUT[found.loss]}, but for {100 * found.delta:g} %",
            f"{100 * found.offload:.1f} %",
            " ".join(filter(None, (found.against.name, found.against.version))) or "not said", found.measured_at,
            "yes" if trusted else "NO", "chosen" if found.chosen else "",
        )
        for found, trusted in report.calibrations
    ]  # fmt: skip
    table(rows, ("variant", "rule", "kept from", "at most lost", "upstream", "against", "measured", "trusted", ""))


def _limit(found: Calibration) -> str:
    if found.by_group:
        return f"by class ({len(found.by_group)})"
    return "nothing" if found.threshold is None else f"{found.threshold:.4g}"


def _place(receipt: Receipt) -> str:
    """Data, device and time of a measurement."""
    device, data = receipt.device, receipt.data
    parts = (
        f"{data.get('name', '?')}, {data.get('samples', '?')} samples ({str(data.get('digest', ''))[:19]})",
        f"{device.get('cpu', '?')}, {device.get('cores', '?')} cores",
        f"{receipt.engine} {receipt.engine_version.split('-')[0]}",
        receipt.measured_at,
    )
    return "; ".join(parts)
