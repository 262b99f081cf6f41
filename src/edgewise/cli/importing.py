"""`edgewise import`: fetch a model repository, ready for `edgewise pack`."""

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any

from edgewise.cli.output import Progress, add_json, print_json
from edgewise.errors import MissingExtraError

__all__ = ["register", "run"]


def register(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "import",
        help="fetch a Hugging Face repository, ready for `edgewise pack`",
        description="Fetch the ONNX files, tokenizer and configuration of a Hugging Face repository, each verified against the "
        "digest that the hub states; interrupted downloads are resumed. HF_ENDPOINT names another hub, HF_TOKEN your token.",
    )
    parser.add_argument("repository", metavar="OWNER/NAME")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--revision", default="main", help="branch, tag or commit (default main)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PATTERN", help="fetch only these files, for instance 'onnx/*'"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    try:
        # Deferred: the importers need the extra "pack".
        from edgewise.importing.hub_download import fetch_hub  # noqa: PLC0415
        from edgewise.net.transport import UrllibTransport  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"importing needs {error.name}", remedy="pip install 'edgewise[pack]'") from None
    progress = Progress()
    try:
        folder = fetch_hub(
            options.repository,
            revision=options.revision,
            endpoint=os.environ.get("HF_ENDPOINT", ""),
            target=options.output,
            transport=UrllibTransport(),
            only=tuple(options.only),
            token=os.environ.get("HF_TOKEN"),
            progress=partial(progress, f"fetch {options.repository}"),
        )
    finally:
        progress.close()
    if options.json:
        print_json({"repository": options.repository, "folder": str(folder)})
    else:
        print(f"{folder}\nnext: edgewise pack {folder} --name NAME --version 1.0.0 -o NAME.bundle")
    return 0
