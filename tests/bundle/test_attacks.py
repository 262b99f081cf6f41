"""Every hostile input in spec/attacks gets the verdict that is written there, within 32 MiB and two seconds."""

import gzip
import json
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from edgewise.bundle.bundle import Bundle, open_bundle
from edgewise.bundle.safetensors import parse_arrays
from edgewise.bundle.source import MemorySource
from edgewise.bundle.statement import parse_envelope, parse_statement
from edgewise.errors import EdgewiseError
from edgewise.measure.dataset import read_dataset
from edgewise.routing.calibration import own_calibration, parse_calibration
from edgewise.store.bundles import open_path
from edgewise.testing.raw_layout import RawLayout
from edgewise.testing.sample_bundles import minimal_bundle
from edgewise.training.run.step_spec import StepSpec
from edgewise.trust.root import TrustRoot
from edgewise.trust.verification import verify_bundle

pytestmark = pytest.mark.bare

REPOSITORY = Path(__file__).resolve().parents[2]
ATTACKS = REPOSITORY / "spec" / "attacks"
VERDICTS: dict[str, dict[str, Any]] = json.loads((ATTACKS / "verdicts.json").read_text(encoding="utf-8"))
MEMORY = 32 << 20  # bytes above what was in use before
SECONDS = 2.0


def judge(verdict: dict[str, Any], path: Path) -> None:
    """Read a file as what it claims to be, all the way: to verified content and parsed evidence."""
    kind = verdict["kind"]
    if kind == "bundle":
        accept(open_path(path), TrustRoot.parse((ATTACKS / verdict["root"]).read_bytes()))
    elif kind in ("index", "manifest", "document"):
        accept(open_bundle(_with_part(kind, path.read_bytes())), TrustRoot.parse((ATTACKS / "root.json").read_bytes()))
    elif kind == "envelope":
        parse_statement(parse_envelope(path.read_bytes()).payload)
    elif kind == "calibration":
        parse_calibration(parse_statement(path.read_bytes()))
    elif kind == "calibrated":
        bundle = open_path(path)
        own_calibration(
            bundle, verify_bundle(bundle, TrustRoot.parse((ATTACKS / verdict["root"]).read_bytes())), "fp32"
        )
    elif kind == "root":
        TrustRoot.parse(path.read_bytes())
    elif kind == "step-spec":
        StepSpec.from_json(path.read_bytes())
    elif kind == "arrays":
        parse_arrays(path.read_bytes(), "the file")
    else:
        read_dataset(path)


def accept(bundle: Bundle, root: TrustRoot) -> None:
    bundle.check_blobs()
    verify_bundle(bundle, root)


def _with_part(part: str, data: bytes) -> MemorySource:
    raw = RawLayout.of(minimal_bundle())
    setattr(raw, part, data)
    return raw.source()


@pytest.mark.parametrize("name", sorted(VERDICTS))
def test_a_hostile_input_gets_its_verdict_at_little_cost(name: str, tmp_path: Path) -> None:
    verdict = VERDICTS[name]
    path = ATTACKS / verdict["file"]
    if path.suffix == ".gz":
        unpacked = tmp_path / path.stem
        unpacked.write_bytes(gzip.decompress(path.read_bytes()))
        path = unpacked
    tracemalloc.start()
    started = time.perf_counter()
    try:
        with pytest.raises(EdgewiseError) as raised:
            judge(verdict, path)
        seconds, (_, peak) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (raised.value.code, raised.value.details.get("rule")) == (verdict["code"], verdict["rule"]), raised.value
    assert peak < MEMORY
    assert seconds < SECONDS
    assert raised.value.remedy
    assert all(character.isprintable() for character in str(raised.value)), "a control character reaches the terminal"


def test_every_file_in_the_folder_has_a_verdict() -> None:
    listed = {verdict["file"] for verdict in VERDICTS.values()} | {"verdicts.json", "root.json", "root-of-two.json"}
    assert listed == {path.relative_to(ATTACKS).as_posix() for path in ATTACKS.rglob("*") if path.is_file()}


def test_the_committed_attacks_are_small() -> None:
    assert sum(path.stat().st_size for path in ATTACKS.rglob("*") if path.is_file()) < 1 << 20


def test_the_generator_writes_the_committed_attacks(tmp_path: Path) -> None:
    """What is packed by zlib may differ in its packed form from one zlib to the next: there, only that it is made counts."""
    subprocess.run([sys.executable, REPOSITORY / "scripts" / "make_attacks.py", tmp_path], check=True, timeout=60)
    assert _contents(tmp_path) == _contents(ATTACKS)


def _contents(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    packed = ("bomb", "gzip-archive", "bzip2")
    return {
        name: b"" if any(word in name for word in packed) else _unpacked(path.read_bytes(), path.suffix)
        for name, path in found.items()
    }


def _unpacked(data: bytes, suffix: str) -> bytes:
    return gzip.decompress(data) if suffix == ".gz" else data
