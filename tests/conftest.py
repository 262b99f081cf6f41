"""What holds for every test: a home of its own, no network beyond loopback, no telemetry, warnings are errors."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import pytest

if TYPE_CHECKING:
    from edgewise.store.home import Home
    from edgewise.trust.keys import PrivateKey

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


@pytest.fixture(scope="session")
def signing_key() -> "PrivateKey":
    """One key for all bundles that tests sign."""
    from edgewise.trust.keys import PrivateKey

    return PrivateKey(bytes(range(32)))


@pytest.fixture(scope="session")
def digits_bundle(tmp_path_factory: pytest.TempPathFactory, signing_key: "PrivateKey") -> Path:
    """The demo's bundle: fp32 and int8 with receipts over 497 images and a golden set, signed by ``signing_key``."""
    from edgewise.compose.demo import digits_data, digits_models
    from edgewise.packing.pack import PackRequest, pack
    from edgewise.store.bundles import write_file

    data = digits_data("eval")
    request = PackRequest(
        name="digits", version="1.0.0", models=digits_models(), task="classification", labels=data.labels,
        evaluation=data, golden=digits_data("calibration"), data_name=data.name,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("bundles") / "digits.bundle"
    write_file(pack(request, signing_key).bundle, path)
    return path


@pytest.fixture
def trusting_home(tmp_path: Path, signing_key: "PrivateKey") -> "Home":
    """The test's own home, trusting ``signing_key``; EDGEWISE_HOME names it."""
    from edgewise.compose.keys import trust_key
    from edgewise.store.home import Home

    home = Home(tmp_path / "edgewise-home")
    trust_key(signing_key.public, "tests", home)
    return home
