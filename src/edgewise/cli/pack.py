"""`edgewise pack`: model files in, one signed bundle with evidence out."""

import argparse
from pathlib import Path
from typing import Any

from edgewise.bundle.document import TASKS
from edgewise.cli.output import Progress, add_json, print_json, short, table, unit_bytes, unit_ms
from edgewise.errors import MissingExtraError
from edgewise.packing.training_request import LOSSES, OPTIMIZERS

__all__ = ["register", "run"]


def register(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "pack",
        help="pack model files into a signed bundle with measured evidence",
        description="Pack ONNX and TFLite files, a Hugging Face folder, an .ortpackage or what `edgewise compress` wrote into one "
        "signed bundle. With --eval each variant is measured on this device; the results travel in the bundle as signed receipts.",
    )
    parser.add_argument(
        "models", nargs="+", metavar="MODEL", help="PATH or VARIANT=PATH; the first one's interface is the bundle's"
    )
    parser.add_argument("--name", required=True, help="name of the model: lower case, digits, hyphens")
    parser.add_argument("--version", required=True, help="version, for instance 1.0.0")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE", help="the bundle file to write")
    parser.add_argument("--description", default="", help="one sentence for people")
    parser.add_argument("--licence", default="", help="SPDX identifier of the model's licence")
    parser.add_argument("--install", action="store_true", help="also install it, so that it is found by its name")
    add_json(parser)
    _add_interface(parser.add_argument_group("interface"))
    _add_evidence(parser.add_argument_group("evidence"))
    _add_learning(parser.add_argument_group("learning on the device"))
    parser.set_defaults(run=run)


def _add_interface(group: Any) -> None:
    group.add_argument("--task", choices=TASKS, default="", help="what it does (default: from its source, else tensor)")
    group.add_argument("--labels", type=Path, metavar="FILE", help="class names, one a line")
    group.add_argument("--decision", default="", metavar="OUTPUT", help="the output that decides (default: the first)")
    group.add_argument("--range", default="", metavar="LOW,HIGH", help="values that the first input may have")
    group.add_argument(
        "--sample-rate",
        type=int,
        default=0,
        metavar="HZ",
        help="of an audio input; a wav file of another rate is refused",
    )
    group.add_argument(
        "--before", default="", metavar="FRAGMENT",
        help="preprocessing to join in front, KIND:KEY=VALUE,..., as in image:size=224x224 (docs/preprocessing.md)",
    )  # fmt: skip
    group.add_argument(
        "--after", action="append", default=[], metavar="FRAGMENT",
        help="what to join behind, as in softmax, top-k:k=5, labels, boxes:boxes=NAME,scores=NAME; may be repeated",
    )  # fmt: skip
    group.add_argument(
        "--set", action="append", default=[], metavar="INPUT=VALUE", help="make an input a constant of the graph"
    )
    group.add_argument(
        "--state", action="append", default=[], metavar="IN=OUT", help="output OUT is input IN of the next call"
    )


def _add_evidence(group: Any) -> None:
    group.add_argument(
        "--eval", type=Path, metavar="DATA", help="labelled data: receipts and golden set are made from it"
    )
    group.add_argument("--golden", type=Path, metavar="DATA", help="take the golden inputs from this data instead")
    group.add_argument("--golden-count", type=int, default=32, metavar="N", help="golden inputs to choose (default 32)")
    group.add_argument(
        "--reference", type=Path, metavar="NPZ",
        help="arrays in/INPUT and out/OUTPUT that each model has to reproduce as it arrives",
    )  # fmt: skip
    group.add_argument(
        "--tolerance", type=float, default=1e-4, metavar="ABS",
        help="largest difference to the reference (default 1e-4); below fp32 a cosine of 0.9 is asked for instead",
    )  # fmt: skip
    group.add_argument(
        "--allow-unfaithful", action="store_true", help="also pack variants that answer otherwise than the first one"
    )
    signing = group.add_mutually_exclusive_group()
    signing.add_argument("--key", type=Path, metavar="FILE", help="private key to sign with (default: your own)")
    signing.add_argument(
        "--unsigned", action="store_true", help="do not sign; such a bundle loads only with --unsafe-no-verification"
    )


def _add_learning(group: Any) -> None:
    group.add_argument(
        "--trainable", action="append", nargs="?", const="*", default=[], metavar="PATTERN",
        help="add a training step; alone it trains all weights, else those whose names match (may be repeated)",
    )  # fmt: skip
    group.add_argument(
        "--freeze",
        action="append",
        default=[],
        metavar="PATTERN",
        help="weights that stay as they are; may be repeated",
    )
    group.add_argument("--loss", choices=LOSSES, default="", help="what it learns by (default: what the task asks for)")
    group.add_argument("--optimizer", choices=OPTIMIZERS, default="adam", help="(default adam)")
    group.add_argument(
        "--learning-rate",
        type=float,
        metavar="RATE",
        help="where the device says nothing else (default: the optimiser's)",
    )
    group.add_argument(
        "--lora", type=int, default=0, metavar="RANK",
        help="train adapters of this rank beside the layers instead of the weights; patterns then name nodes",
    )  # fmt: skip
    group.add_argument(
        "--batch-statistics", action="store_true",
        help="batch normalisation learns too: for hundreds of examples, not for dozens",
    )  # fmt: skip
    group.add_argument(
        "--recompute", type=int, default=1, metavar="PARTS",
        help="keep values only between so many parts and compute the rest again: less memory, more time",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    try:
        # Deferred: these need the extra "pack".
        from edgewise.compose.pack_files import pack_files  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"packing needs {error.name}", remedy="pip install 'edgewise[pack]'") from None
    progress = Progress()
    try:
        packed, notes = pack_files(options, progress)
    finally:
        progress.close()
    bundle = packed.bundle
    size = options.output.stat().st_size
    if options.json:
        print_json(
            {
                "ref": bundle.ref,
                "path": str(options.output),
                "bytes": size,
                "digest": bundle.index.manifests[0].digest,
                "signed": not options.unsigned,
                "notes": list(notes),
                "evaluations": [item.to_json() for item in packed.evaluations],
            }
        )
        return 0
    print(f"{options.output}: {bundle.ref}, {unit_bytes(size)}{', not signed' if options.unsigned else ', signed'}")
    for note in notes:
        print(f"note: {note}")
    if packed.evaluations:
        table(
            [
                (
                    item.candidate.variant,
                    f"{item.candidate.engine}/{short(item.candidate.provider)}",
                    unit_bytes(item.size),
                    *(str(metric) for metric in item.metrics),
                    unit_ms(item.latency.p50_ms),
                )
                for item in packed.evaluations
            ],
            ("variant", "by", "size", *(metric.name for metric in packed.evaluations[0].metrics), "p50 here"),
        )
    return 0
