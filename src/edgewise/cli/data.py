"""`edgewise data`: public data sets by name."""

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any

from edgewise.cli.output import Progress, add_json, print_json, table, unit_bytes
from edgewise.net.catalogue import find_set, get_set, list_sets
from edgewise.net.transport import UrllibTransport
from edgewise.store.home import Home

__all__ = ["register", "run"]


def register(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "data",
        help="list and fetch public data sets",
        description="Public data sets by name, with licence; each file is verified. EDGEWISE_DATA names a folder that already has "
        "them, EDGEWISE_DATA_URL a mirror.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="show the sets there are")
    get = actions.add_parser("get", help="fetch and verify a set, and print where it lies")
    get.add_argument("name")
    for action in (listing, get):
        add_json(action)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.action == "list":
        sets = list_sets()
        if options.json:
            print_json([item.to_json() for item in sets])
        else:
            rows = [
                (item.name, item.use, unit_bytes(sum(file.bytes for file in item.files)), item.licence) for item in sets
            ]
            table(rows, ("name", "for", "size", "licence"))
        return 0
    progress = Progress()
    try:
        local = os.environ.get("EDGEWISE_DATA")
        path = get_set(
            options.name,
            cache=Home.default().data,
            transport=UrllibTransport(),
            base_url=os.environ.get("EDGEWISE_DATA_URL"),
            local=Path(local) if local else None,
            progress=partial(progress, f"fetch {options.name}"),
        )
    finally:
        progress.close()
    if options.json:
        print_json({"name": options.name, "path": str(path), "licence": find_set(options.name).licence})
    else:
        print(path)
    return 0
