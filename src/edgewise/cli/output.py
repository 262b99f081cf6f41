"""What a person reads: tables on stdout, progress and errors on stderr; the same as JSON with --json."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from shutil import get_terminal_size
from typing import Any

from edgewise.cli.streams import is_utf8, json_printable, printable, silence
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
    """One JSON document on stdout; in ASCII where that is not UTF-8, as JSON has to be (RFC 8259 section 8.1)."""
    text = json.dumps(value, indent=2, ensure_ascii=not is_utf8(sys.stdout))
    sys.stdout.write(json_printable(text) + "\n")


def print_error(error: EdgewiseError) -> None:
    """``error[E123]: what``, each of its reasons on a line of its own, and ``fix: what to do``."""
    try:
        sys.stderr.write(f"error[{error.code}]: {printable(_told(error))}\nfix: {printable(error.remedy)}\n")
        sys.stderr.flush()
    except OSError:
        silence(sys.stderr)  # nobody is left to tell; the exit code still says it


def _told(error: EdgewiseError) -> str:
    reasons = [str(reason) for reason in error.details.get("reasons") or ()]
    if not reasons:
        return error.what
    # The reasons may be in the sentence too, for those who have only that.
    head = error.what.split("\n", 1)[0].partition(reasons[0])[0].rstrip(" :;")
    listed = [f"  - {reason}".replace("\n", "\n    ") for reason in reasons]
    return "\n".join([f"{head}:", *listed]) if head else error.what


def heading(text: str) -> None:
    """A title above a table."""
    print(f"\n{text}\n{'-' * len(text)}")


def table(rows: Iterable[Sequence[Any]], headers: Sequence[str] = ()) -> None:
    """A plain table; on a terminal its widest columns are wrapped until it fits, elsewhere every row stays one line.

    Only line ends are kept of what a terminal would obey: names and labels come from outside.
    """
    from tabulate import tabulate  # noqa: PLC0415  (only where a table is printed)

    cells = [[printable(str(cell)) for cell in row] for row in rows]
    titles = [printable(title) for title in headers]
    limits = _widths(cells, titles) if sys.stdout.isatty() else None
    print(tabulate(cells, headers=titles, tablefmt="simple", disable_numparse=True, maxcolwidths=limits))


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
    """A bar on stderr for whatever takes longer than two seconds; silent where stderr is no terminal.

    The seconds count from when it is made, so that many short steps show a bar too, each its own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._bar: Any = None
        self._what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self._what:
            self.close()
            self._what = what
        if self._bar is None and self._clock() - self._started > _QUIET_SECONDS and sys.stderr.isatty():
            from tqdm import tqdm  # noqa: PLC0415  (only where a bar is shown)

            self._bar = tqdm(total=total, desc=printable(what), leave=False, unit_scale=True)
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
