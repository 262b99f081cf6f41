"""A kept choice is used for exactly what it was made for, and costs nothing but time where it cannot be kept."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgewise.bundle.build import build_bundle
from edgewise.bundle.bundle import Bundle
from edgewise.compose.choices import choice_path, read_choice, write_choice
from edgewise.runtime.device import read_device
from edgewise.runtime.opening import Candidate
from edgewise.runtime.requirements import Requirements
from edgewise.store.home import Home
from edgewise.testing.sample_bundles import full_bundle, sample_root, signed_bundle
from edgewise.trust.verification import verify_bundle

BUNDLE, DEVICE = full_bundle(), read_device()
CHOSEN = Candidate("int8", "onnxruntime", "CPUExecutionProvider", 3)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    write_choice(BUNDLE, Requirements(), home, DEVICE, None, CHOSEN, "it was fastest", [])
    return home


def kept(home: Home, bundle: Bundle = BUNDLE, **changes: Any) -> tuple[Candidate, str] | None:
    given: dict[str, Any] = {"require": Requirements(), "device": DEVICE, "verification": None} | changes
    return read_choice(bundle, home=home, **given)


def test_a_choice_reads_back_with_its_reason_and_its_threads(home: Home) -> None:
    assert kept(home) == (CHOSEN, "it was fastest")


def test_a_choice_for_something_else_is_none_for_this(home: Home) -> None:
    files = {file.digest: BUNDLE.read(file) for file in BUNDLE.document.all_files()}
    other = build_bundle(replace(BUNDLE.document, description="Another document."), list(files.values()))
    assert kept(home, other) is None
    assert kept(home, require=Requirements(max_p95_ms=5)) is None
    assert kept(home, require=Requirements(variant="int8")) is None
    assert kept(home, device=replace(DEVICE, cores=DEVICE.cores + 1)) is None
    assert kept(home, verification=verify_bundle(signed_bundle(BUNDLE), sample_root())) is None
    assert kept(Home(home.root / "other")) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"form": 0}, {"form": None}, {"engines": {}}, {"providers": {}}, {"chosen": None}, {"chosen": {}},
        {"chosen": {**CHOSEN.to_json(), "variant": "gone"}}, {"chosen": {**CHOSEN.to_json(), "threads": "many"}},
        {"chosen": []},
    ],
    ids=str,
)  # fmt: skip
def test_a_choice_that_is_damaged_or_of_other_engines_is_made_again(home: Home, changes: dict[str, Any]) -> None:
    path = choice_path(BUNDLE, Requirements(), home, DEVICE, None)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    assert kept(home) is None


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"x" * (1 << 20) + b"x"], ids=lambda data: str(data[:4]))
def test_a_file_that_is_no_choice_is_none(home: Home, data: bytes) -> None:
    choice_path(BUNDLE, Requirements(), home, DEVICE, None).write_bytes(data)
    assert kept(home) is None


def test_a_choice_that_cannot_be_kept_costs_time_and_not_the_answer(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    home = Home(tmp_path / "file" / "home")
    write_choice(BUNDLE, Requirements(), home, DEVICE, None, CHOSEN, "it was fastest", [])
    assert kept(home) is None
