"""A benchmark's page: what was measured, under which conditions, as a table that the docs include."""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from tabulate import tabulate

from edgewise.runtime.device import read_device

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "benchmarks"


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """In Markdown."""
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def write_page(name: str, headers: Sequence[str], rows: Sequence[Sequence[object]], how: str, more: str = "") -> str:
    """Write ``docs/benchmarks/NAME.md`` and return its text. more: other tables, below, with their own words."""
    device = read_device()
    conditions = (
        f"{device.cpu or device.machine}, {device.cores} cores, {', '.join(device.features)}; {platform.system()}, Python "
        f"{platform.python_version()}, onnxruntime {version('onnxruntime')}, numpy {version('numpy')}"
    )
    text = f"{table(headers, rows)}\n\n{how} `python -m benchmarks {name}` on {conditions}.\n{more}"
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.md").write_text(text)
    return text
