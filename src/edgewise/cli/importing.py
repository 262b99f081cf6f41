"""`edgewise import`: fetch a model repository, ready for `edgewise pack`."""

import argparse
import os
from pathlib import Path
from typing import Any

from edgewise.cli.output import Progress, add_json, print_json, unit_bytes
from edgewise.importing.hub_download import fetch_hub
from edgewise.importing.hub_listing import DEFAULT_PATTERNS
from edgewise.net.transport import UrllibTransport

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
        "--only", action="append", default=[], metavar="PATTERN",
        help="fetch only these files, for instance 'onnx/*' (default: what `edgewise pack` reads)",
    )  # fmt: skip
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    progress = Progress()
    try:
        fetched = fetch_hub(
            options.repository,
            revision=options.revision,
            target=options.output,
            transport=UrllibTransport(),
            only=tuple(options.only) or DEFAULT_PATTERNS,
            token=os.environ.get("HF_TOKEN"),
            progress=lambda path, done, total: progress(f"fetch {options.repository}", done, total),
        )
    finally:
        progress.close()
    if options.json:
        value = {"repository": fetched.repository, "commit": fetched.commit, "folder": str(fetched.folder)}
        print_json({**value, "files": list(fetched.files), "bytes": fetched.size})
        return 0
    print(f"{fetched.folder}: {len(fetched.files)} files, {unit_bytes(fetched.size)}, commit {fetched.commit[:12]}")
    print(f"next: edgewise pack {fetched.folder} --name NAME --version 1.0.0 -o NAME.bundle")
    return 0
