"""A benchmark's page: what was measured, under which conditions, as a table that the docs include."""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from tabulate import tabulate

from edgewise.runtime.device import read_device

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "benchmarks"


def write_page(name: str, headers: Sequence[str], rows: Sequence[Sequence[object]], how: str) -> str:
    """Write ``docs/benchmarks/NAME.md`` and return its text."""
    device = read_device()
    conditions = (
        f"{device.cpu or device.machine}, {device.cores} cores, {', '.join(device.features)}; {platform.system()}, Python "
        f"{platform.python_version()}, onnxruntime {version('onnxruntime')}, numpy {version('numpy')}"
    )
    table = tabulate(rows, headers, tablefmt="github", disable_numparse=True)
    text = f"{table}\n\n{how} `python -m benchmarks {name}` on {conditions}.\n"
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.md").write_text(text)
    return text
