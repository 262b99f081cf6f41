"""What holds for every test: a home of its own, no network beyond loopback, no telemetry, warnings are errors."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
_LOOPBACK = ("127.", "::1", "localhost")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWISE_HOME", str(tmp_path / "edgewise-home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(autouse=True, scope="session")
def _only_loopback() -> Iterator[None]:
    real = socket.socket.connect

    def connect(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and not str(address[0]).startswith(_LOOPBACK):
            raise AssertionError(f"a test tried to reach {address}")
        real(self, address)

    socket.socket.connect = connect  # type: ignore[method-assign]
    yield
    socket.socket.connect = real  # type: ignore[method-assign]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the public data sets and models; tests that need it skip where it is not there."""
    named = os.environ.get("EDGEWISE_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not (folder / "model_kws_dscnn").is_dir():
        pytest.skip(f"the data sets are not at {folder}; set EDGEWISE_DATA to a folder that has them")
    return folder


@pytest.fixture(scope="session")
def spec() -> Path:
    """The language-neutral truth: schemas, vectors, attacks."""
    return REPOSITORY / "spec"
