"""`edgewise export`: a bundle's ONNX variants as ONNX Runtime's own model package."""

import argparse
from pathlib import Path
from typing import Any

from edgewise.cli.options import add_trust
from edgewise.cli.output import add_json, print_json
from edgewise.compose.loading import open_verified
from edgewise.store.bundles import find_bundle
from edgewise.store.home import Home

__all__ = ["register", "run"]


def register(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "export",
        help="write a bundle's ONNX variants as an ONNX Runtime .ortpackage",
        description="Write a bundle's ONNX variants as an ONNX Runtime model package. Evidence does not travel: that format has no "
        "place for it.",
    )
    parser.add_argument("bundle", metavar="NAME|FILE")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FOLDER.ortpackage")
    add_trust(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    # Deferred: it imports onnxruntime, which `--help` does not need.
    from edgewise.importing.ort_package_writing import export_ort_package  # noqa: PLC0415

    home = Home.default()
    path = find_bundle(options.bundle, home)
    bundle, _ = open_verified(path, options.trust, home, unsafe_no_verification=options.unsafe_no_verification)
    left_out = export_ort_package(bundle, options.output)
    written = [variant.name for variant in bundle.document.variants if variant.name not in left_out]
    files = [file.path for file in bundle.document.files]
    if options.json:
        print_json(
            {
                "ref": bundle.ref,
                "path": str(options.output),
                "variants": written,
                "leftOut": left_out,
                "filesLeftOut": files,
            }
        )
        return 0
    print(f"{options.output}: {', '.join(written)}")
    if left_out:
        print(f"note: left out, since they are no ONNX: {', '.join(left_out)}")
    if files:
        print(f"note: left out, since a package has no place for them: {', '.join(files)}")
    return 0
