"""Where edgewise keeps things: ``EDGEWISE_HOME``, or ``~/.edgewise``."""

import os
from pathlib import Path

from edgewise.errors import StorageError
from edgewise.records import dataclass

__all__ = ["Home"]


@dataclass(frozen=True, slots=True)
class Home:
    """The folders below one root. None is made before something is written into it."""

    root: Path

    @classmethod
    def default(cls) -> "Home":
        """``EDGEWISE_HOME`` where it is set, else ``~/.edgewise``. Raises StorageError where this user has no home directory."""
        named = os.environ.get("EDGEWISE_HOME") or "~/.edgewise"
        try:
            return cls(Path(named).expanduser())
        except RuntimeError:  # neither HOME nor an entry in the user database, or ~NAME of nobody
            raise StorageError(
                f"{named} is no place to keep things: that user has no home directory here",
                remedy="Set EDGEWISE_HOME to a folder that you may write.", path=named,
            ) from None  # fmt: skip

    @property
    def bundles(self) -> Path:
        """Installed bundles: ``<name>/<version>.bundle``."""
        return self.root / "bundles"

    @property
    def cache(self) -> Path:
        """Things that are made again when they are deleted: measurements, compiled models."""
        return self.root / "cache"

    @property
    def data(self) -> Path:
        """Downloaded data sets."""
        return self.root / "data"

    @property
    def trust_root(self) -> Path:
        """The keys that this user trusts."""
        return self.root / "root.json"

    @property
    def default_key(self) -> Path:
        """The private key that `edgewise pack` signs with unless another is named."""
        return self.root / "keys" / "default.key"
