"""Public data sets by name, for every command that takes one: from the folder that has them, the cache, a mirror or the origin."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from edgewise.errors import InputError
from edgewise.net.catalogue import get_set
from edgewise.net.transport import UrllibTransport
from edgewise.store.home import Home

__all__ = ["data_set_folder"]


def data_set_folder(name: str, progress: Callable[[str, int, int], object] = lambda what, done, total: None) -> Path:
    """The folder with every file of the set ``name``, verified. EDGEWISE_DATA names a folder of sets, EDGEWISE_DATA_URL a mirror.

    Raises NotFoundError for an unknown name, InputError where EDGEWISE_DATA is no folder, and what fetching raises.
    """
    return get_set(
        name, cache=Home.default().data, transport=UrllibTransport(), base_url=os.environ.get("EDGEWISE_DATA_URL"),
        local=_local(), progress=partial(progress, f"fetch {name}"),
    )  # fmt: skip


def _local() -> Path | None:
    named = os.environ.get("EDGEWISE_DATA")
    if named and not Path(named).is_dir():
        raise InputError(
            f"EDGEWISE_DATA is {named!r}, which is no folder here",
            remedy="Set it to the folder that has the sets, or unset it to have them fetched.",
        )
    return Path(named) if named else None
