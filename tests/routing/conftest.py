"""What tests of nodes share. What needs the packing tools is imported by who uses it: some of these tests run without."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgewise.runtime.session import Session


@pytest.fixture(scope="module")
def session(digits_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """The demo's bundle, opened."""
    from edgewise.compose.loading import load

    with load(digits_bundle, unsafe_no_verification=True, home=tmp_path_factory.mktemp("home")) as opened:
        yield opened


@pytest.fixture(scope="module")
def images() -> Any:
    """(40, 8, 8, 1) held-out digits."""
    from edgewise.compose.demo import digits_data

    return digits_data("eval").x[:40]
