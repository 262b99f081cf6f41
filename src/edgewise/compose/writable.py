"""Whether a file can be written where the user wants it: asked before anything that takes long."""

import os
from pathlib import Path

from edgewise.errors import InputError

__all__ = ["check_target"]


def check_target(path: Path) -> None:
    """Raise InputError where ``path`` cannot become a file, before hours of measuring are lost on it."""
    if path.is_dir():
        raise InputError(f"{path} is a folder", remedy="Name the file to write, not the folder that it lies in.")
    nearest = next((folder for folder in path.absolute().parents if folder.exists()), None)
    if nearest is None or not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise InputError(f"{path} cannot be written: {nearest} is no folder that you may write into")
