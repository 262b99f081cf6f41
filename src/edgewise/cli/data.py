"""`edgewise data`: public data sets by name."""

import argparse
import sys
from pathlib import Path
from typing import Any

from edgewise.cli.output import Progress, add_json, print_json, table, unit_bytes
from edgewise.compose.data_sets import data_set_folder
from edgewise.net.catalogue import find_set, list_sets

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
    get = actions.add_parser("get", help="fetch and verify a set, and print where it lies (on stderr: its licence)")
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
    path, licence = _get(options.name), find_set(options.name).licence
    if options.json:
        print_json({"name": options.name, "path": str(path), "licence": licence})
    else:
        print(path)
        print(f"licence: {licence}", file=sys.stderr)  # there, so that a script reads the path alone
    return 0


def _get(name: str) -> Path:
    progress = Progress()
    try:
        return data_set_folder(name, progress)
    finally:
        progress.close()
