"""`edgewise verify`: does the bundle hold, who says so, and does it answer here as it did when it was packed?"""

import argparse
from typing import Any

from edgewise.cli.options import add_trust
from edgewise.cli.output import add_json, print_json, table
from edgewise.compose.verifying import Verified, verify_path
from edgewise.errors import RefusedError

__all__ = ["register", "run"]


def register(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "verify",
        help="check a bundle: every digest, the signatures and, with --replay, its answers on this device",
        description="Check every digest and the release signature. With --replay the golden inputs are answered by every variant, "
        "engine and provider here and compared with what was recorded. Exit code 4 where anything does not hold.",
    )
    parser.add_argument("bundle", metavar="NAME|FILE")
    parser.add_argument("--replay", action="store_true", help="also replay the golden set on this device")
    add_trust(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    result = verify_path(
        options.bundle, options.trust, replay=options.replay, unsafe_no_verification=options.unsafe_no_verification
    )
    if options.json:
        print_json(result.to_json())
    else:
        table([(check.what, check.state, check.details) for check in result.checks], ("check", "", "details"))
        print(_verdict(result))
    return 0 if result.passed else RefusedError.exit_code


def _verdict(result: Verified) -> str:
    if not result.passed:
        return "do not use this bundle here"
    if not result.proven:
        return "nothing is proven about where it comes from"
    return "proven: what SECURITY.md lists under 'What a verification proves'"
