"""Options that several commands share, and what they mean."""

import argparse
from pathlib import Path
from typing import Any

from edgewise.errors import InputError
from edgewise.runtime.requirements import Requirements

__all__ = ["add_requirements", "add_trust", "read_requirements"]


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust`` and the dangerous one."""
    parser.add_argument(
        "--trust", type=Path, metavar="ROOT", help="trust root to check signatures with (default: your own)"
    )
    parser.add_argument(
        "--unsafe-no-verification",
        action="store_true",
        help="load even if nobody you trust has signed it: it runs with your rights",
    )


def add_requirements(parser: argparse.ArgumentParser) -> None:
    """Add ``--require CLAUSE=VALUE``."""
    parser.add_argument(
        "--require", action="append", default=[], metavar="CLAUSE=VALUE",
        help="what must hold here: provider, min_share_on_provider, max_p95_ms, max_rss_mb, variant, engine, max_metric_drop",
    )  # fmt: skip


def read_requirements(options: argparse.Namespace) -> Requirements:
    """The requirements in ``--require``. Raises InputError for a clause without a value or one that there is not."""
    clauses: dict[str, Any] = {}
    for text in options.require:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--require {text}: a value is needed, as in max_p95_ms=5")
        clauses[name.strip()] = value.strip()
    return Requirements.parse(clauses)
