"""`edgewise`: finds the command, runs it, turns errors into words and exit codes. Only this module exits.

Exit codes: 0 done, 1 your input, 2 usage, 3 the other side or the way there, 4 refused by policy or by verification.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from edgewise import __version__
from edgewise.cli.output import print_error
from edgewise.errors import EdgewiseError

__all__ = ["COMMANDS", "build_parser", "entry", "main"]

#: Command -> module, in the order in which help shows them.
COMMANDS = {
    "demo": "edgewise.cli.demo",
    "pack": "edgewise.cli.pack",
    "import": "edgewise.cli.importing",
    "export": "edgewise.cli.exporting",
    "inspect": "edgewise.cli.inspect",
    "verify": "edgewise.cli.verify",
    "eval": "edgewise.cli.evaluate",
    "run": "edgewise.cli.run",
    "key": "edgewise.cli.key",
    "data": "edgewise.cli.data",
    "doctor": "edgewise.cli.doctor",
}


def build_parser(only: str = "") -> argparse.ArgumentParser:
    """The whole parser; with ``only``, that command alone, so that a run does not import the others."""
    parser = argparse.ArgumentParser(
        prog="edgewise",
        description="Pack a model with measured evidence, check the evidence where it runs, answer there.",
        epilog="Exit codes: 0 done, 1 your input, 2 usage, 3 the other side or the way there, 4 refused.",
    )
    parser.add_argument("--version", action="version", version=f"edgewise {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        if only in ("", name):
            import_module(module).register(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    named = next((word for word in given if word in COMMANDS), "")
    options = build_parser(named if given and given[0] == named else "").parse_args(given)
    as_json = bool(getattr(options, "json", False))
    try:
        code: int = options.run(options)
    except EdgewiseError as error:
        if as_json:
            sys.stdout.write(
                json.dumps({"error": {"code": error.code, "what": error.what, "fix": error.remedy}}) + "\n"
            )
        print_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped\n")
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone (`| head`); that is no error
        return 0
    return code


def entry() -> NoReturn:
    """The console script."""
    sys.exit(main())
