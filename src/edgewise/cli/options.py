"""Options that several commands share, and what they mean."""

import argparse
from pathlib import Path
from typing import Any

from edgewise.errors import InputError
from edgewise.runtime.requirements import Requirements

__all__ = ["add_requirements", "add_trust", "byte_count", "image_size", "read_requirements"]


def add_trust(parser: argparse.ArgumentParser, *, unsafe: bool = True) -> None:
    """Add ``--trust`` and, where a bundle is used and not only looked at, the dangerous one; never both in one call."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--trust", type=Path, metavar="ROOT", help="trust root to check signatures with (default: your own)"
    )
    if unsafe:
        group.add_argument(
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
    """The requirements in ``--require``. Raises InputError for a clause that there is not, has no value or is given twice."""
    clauses: dict[str, Any] = {}
    for text in options.require:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--require {text}: a value is needed, as in max_p95_ms=5")
        clause = name.strip()
        if clause in clauses:
            raise InputError(
                f"--require {clause} is given twice: {clauses[clause]} and {value.strip()}",
                remedy="Leave one of the two out.",
            )
        clauses[clause] = value.strip()
    return Requirements.parse(clauses)


def byte_count(text: str) -> int:
    """The type of an option that takes bytes: ``200MB``, ``64KB``, ``1024``."""
    number, unit = text[:-2], text[-2:].upper()
    powers = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
    try:
        return int(float(number) * powers[unit]) if unit in powers else int(text)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes; write 200MB") from None


def image_size(text: str) -> tuple[int, int]:
    """The type of an option that takes height and width: ``96x128``, ``96``."""
    parts = text.lower().split("x")
    if len(parts) in (1, 2) and all(part.isdecimal() and int(part) > 0 for part in parts):
        return int(parts[0]), int(parts[-1])
    raise argparse.ArgumentTypeError(f"{text!r} is no size; write 96x96, height first")
