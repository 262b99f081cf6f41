"""What a person reads: tables on stdout, progress and errors on stderr; the same as JSON with --json."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from shutil import get_terminal_size
from typing import Any

from edgewise.errors import EdgewiseError

__all__ = ["Progress", "add_json", "heading", "print_error", "print_json", "short", "table", "unit_bytes", "unit_ms"]

_NARROWEST = 12  # characters of a wrapped column
_QUIET_SECONDS = 2.0  # shorter work shows no bar


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def short(provider: str) -> str:
    """A provider without the ending that all of onnxruntime's share."""
    return provider.removesuffix("ExecutionProvider")


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_error(error: EdgewiseError) -> None:
    """``error[E123]: what`` and ``fix: what to do``."""
    sys.stderr.write(f"error[{error.code}]: {error.what}\nfix: {error.remedy}\n")


def heading(text: str) -> None:
    """A title above a table."""
    print(f"\n{text}\n{'-' * len(text)}")


def table(rows: Iterable[Sequence[Any]], headers: Sequence[str] = ()) -> None:
    """A plain table; on a terminal its widest columns are wrapped until it fits, elsewhere every row stays one line."""
    from tabulate import tabulate  # noqa: PLC0415  (only where a table is printed)

    cells = [[str(cell) for cell in row] for row in rows]
    limits = _widths(cells, headers) if sys.stdout.isatty() else None
    print(tabulate(cells, headers=headers, tablefmt="simple", disable_numparse=True, maxcolwidths=limits))


def _widths(cells: list[list[str]], headers: Sequence[str]) -> list[int | None] | None:
    """For each column the width to wrap it at, None for those that keep theirs."""
    lines = [*cells, list(headers)] if headers else cells
    widths = [
        max(len(part) for cell in column for part in [*cell.split("\n"), ""]) for column in zip(*lines, strict=False)
    ]
    room = get_terminal_size().columns - 2 * (len(widths) - 1)
    limits: list[int | None] = [None] * len(widths)
    while sum(widths) > room:
        widest = max(range(len(widths)), key=widths.__getitem__)
        second = max((width for at, width in enumerate(widths) if at != widest), default=0)
        wanted = max(min(widths[widest] - 1, max(second, widths[widest] - (sum(widths) - room))), _NARROWEST)
        if wanted >= widths[widest]:
            break  # narrower than this nothing can be read
        widths[widest] = limits[widest] = wanted
    return limits if any(limits) else None


def unit_ms(value: float) -> str:
    """Milliseconds, in microseconds where those read better."""
    return f"{value * 1000:.0f} µs" if value < 1 else f"{value:.2f} ms"


def unit_bytes(value: float) -> str:
    """Bytes with a decimal unit."""
    for unit in ("B", "KB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


class Progress:
    """A bar on stderr for whatever takes longer than two seconds; silent where stderr is no terminal."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._bar: Any = None
        self._what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self._what:
            self.close()
            self._what, self._started = what, self._clock()
        if self._bar is None and self._clock() - self._started > _QUIET_SECONDS and sys.stderr.isatty():
            from tqdm import tqdm  # noqa: PLC0415  (only where a bar is shown)

            self._bar = tqdm(total=total, desc=what, leave=False, unit_scale=True)
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
