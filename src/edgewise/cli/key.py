"""`edgewise key`: make a signing key, trust somebody's, list whom you trust."""

import argparse
from pathlib import Path
from typing import Any

from edgewise.cli.output import add_json, print_json, table
from edgewise.compose.keys import load_public, new_key, public_path, trust_key, trusted_keys
from edgewise.store.home import Home

__all__ = ["register", "run"]


def register(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser("key", help="make a signing key; trust a publisher's")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    new = actions.add_parser("new", help="make an Ed25519 key pair and trust it yourself")
    new.add_argument("-o", "--output", type=Path, metavar="FILE", help="private key file (default: your signing key)")
    new.add_argument("--name", default="me", help="whose key it is, shown by inspect and verify")
    trust = actions.add_parser("trust", help="trust a publisher's public key for releases and receipts")
    trust.add_argument("public", type=Path, metavar="FILE.pub")
    trust.add_argument("--name", default="", help="whose key it is (default: the file's name)")
    listing = actions.add_parser("list", help="show the keys that you trust")
    for action in (new, trust, listing):
        add_json(action)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    home = Home.default()
    if options.action == "list":
        _list(home, as_json=options.json)
        return 0
    if options.action == "new":
        path = options.output or home.default_key
        key = new_key(path, home, options.name)
        files = {"private": str(path), "public": str(public_path(path))}
    else:
        key = load_public(options.public)
        trust_key(key, options.name or options.public.stem, home)
        files = {"public": str(options.public)}
    result = {"keyId": key.key_id, **files, "trustRoot": str(home.trust_root)}
    if options.json:
        print_json(result)
        return 0
    table(list(result.items()))
    if options.action == "new":
        print("Keep the private file to yourself; give the .pub file to those who should trust your bundles.")
    return 0


def _list(home: Home, *, as_json: bool) -> None:
    root = trusted_keys(home)
    found = [
        {"keyId": key_id, "name": root.name_of(key_id), "roles": [r for r, ids in root.roles.items() if key_id in ids]}
        for key_id in root.keys
    ]
    if as_json:
        print_json(found)
    elif not found:
        print(
            f"none yet: there is no key in {home.trust_root}; `edgewise key new` makes one, `edgewise key trust FILE.pub` adds one"
        )
    else:
        rows = [(item["keyId"], item["name"], ", ".join(item["roles"])) for item in found]
        table(rows, ("key id", "name", "trusted for"))
