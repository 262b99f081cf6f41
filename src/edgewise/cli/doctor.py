"""`edgewise doctor`: what is wrong with this installation, and the command that mends it."""

import argparse
from typing import Any

from edgewise.cli.output import add_json, print_json, table
from edgewise.compose.diagnosis import diagnose

__all__ = ["register", "run"]


def register(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "doctor",
        help="check this installation: runtimes, providers, telemetry, extras",
        description="Look for what commonly breaks an installation. Exit code 1 where something is broken.",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    findings = diagnose()
    faults = [finding for finding in findings if finding.state == "fault"]
    if options.json:
        print_json([finding.to_json() for finding in findings])
    else:
        table(
            [(finding.state, finding.what, finding.details, finding.fix) for finding in findings],
            ("", "what", "found", "fix"),
        )
        print(f"{len(faults)} to mend" if faults else "nothing to mend")
    return 1 if faults else 0
