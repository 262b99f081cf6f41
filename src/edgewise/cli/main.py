"""`edgewise`: finds the command, runs it, turns errors into words and exit codes. Only this module exits.

Exit codes: 0 done, 1 your input, 2 usage, 3 the other side or the way there, 4 refused by policy or by verification.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

from edgewise import __version__
from edgewise.cli.output import print_error
from edgewise.cli.streams import fit_streams, printable, silence
from edgewise.errors import EdgewiseError, StorageError

__all__ = ["COMMANDS", "build_parser", "entry", "main"]

#: Command -> module, in the order in which help shows them.
COMMANDS = {
    "demo": "edgewise.cli.demo",
    "train": "edgewise.cli.train",
    "compress": "edgewise.cli.compress",
    "pack": "edgewise.cli.pack",
    "import": "edgewise.cli.importing",
    "export": "edgewise.cli.exporting",
    "inspect": "edgewise.cli.inspect",
    "diff": "edgewise.cli.diff",
    "verify": "edgewise.cli.verify",
    "eval": "edgewise.cli.evaluate",
    "calibrate": "edgewise.cli.calibrate",
    "run": "edgewise.cli.run",
    "key": "edgewise.cli.key",
    "data": "edgewise.cli.data",
    "doctor": "edgewise.cli.doctor",
}


class _Help(argparse.HelpFormatter):
    """Options as Python 3.13 shows them (``-o, --output FILE``) on every Python, so that docs/cli.md is the same everywhere."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        values = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {values}"


class _Parser(argparse.ArgumentParser):
    """argparse as we want it everywhere; ``add_subparsers`` makes parsers of the class that it is called on."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # An abbreviation changes its meaning when an option is added, and dangerous names are to be written out.
        super().__init__(*arguments, **{"formatter_class": _Help, **options, "allow_abbrev": False})
        # What begins like a negative number is a value, as in `--range -1,1`: argparse itself does from Python 3.14 on (gh-124693).
        self._negative_number_matcher = re.compile(r"-\.?\d")

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stdout:
            # argparse's own lets an error pass, so that help which was not written would be a success.
            sys.stdout.write(message)
        else:
            super()._print_message(message, file)


def build_parser(only: str = "") -> argparse.ArgumentParser:
    """The whole parser; with ``only``, that command alone, so that a run does not import the others."""
    parser = _Parser(
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
    code = 0
    try:
        try:
            code = _command(list(sys.argv[1:] if arguments is None else arguments))
        finally:
            sys.stdout.flush()  # now, while it can still be told that it failed
    except BrokenPipeError:
        silence(sys.stdout)  # the reader of our output has gone (`| head`); that is no error
    except OSError as error:
        code = _failed(error)
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped\n")
        code = 130
    return code


def _command(given: list[str]) -> int:
    only = given[0] if given and given[0] in COMMANDS else ""
    options = build_parser(only).parse_args(given)
    try:
        code: int = options.run(options)
    except EdgewiseError as error:
        print_error(error)
        if getattr(options, "json", False):
            told: dict[str, Any] = {"code": error.code, "what": error.what, "fix": error.remedy}
            reasons = error.details.get("reasons")
            with suppress(BrokenPipeError):  # whoever has stopped reading still gets the exit code
                sys.stdout.write(json.dumps({"error": told | ({"reasons": reasons} if reasons else {})}) + "\n")
        return error.exit_code
    return code


def _failed(error: OSError) -> int:
    """Tell of an error of the system that nothing has caught: where it names no file, it was stdout that failed."""
    if error.filename is not None:
        told = StorageError.of("use", error.filename, error)
    else:
        silence(sys.stdout)
        told = StorageError(
            f"could not write the output: {error.strerror or error}",
            remedy="Make room where the output goes, or send it elsewhere; what the command changes may have been changed already.",
        )
    print_error(told)
    return told.exit_code


def entry() -> NoReturn:
    """The console script."""
    fit_streams()
    sys.exit(main())
