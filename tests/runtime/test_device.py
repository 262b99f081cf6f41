"""The facts of a device, and the key that measurements are kept under."""

import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from edgewise.runtime.device import DeviceFacts, read_device

pytestmark = pytest.mark.bare

FACTS = DeviceFacts("x86_64", "A CPU", ("avx2",), "0" * 16, 2, 8 << 30, "Linux")


def test_the_same_machine_has_the_same_key_in_every_process() -> None:
    code = "from edgewise.runtime.device import read_device; print(read_device().key)"
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert other.stdout.strip() == read_device().key


def test_every_fact_is_part_of_the_key() -> None:
    """A change of any one of them makes another key, so measurements never move between devices."""
    others = {
        "machine": "aarch64", "cpu": "Another", "features": ("avx2", "avx512f"), "flags": "1" * 16, "cores": 4,
        "memory": 4 << 30, "system": "Darwin",
    }  # fmt: skip
    assert set(others) == {item.name for item in fields(DeviceFacts)}
    keys = {replace(FACTS, **{name: value}).key for name, value in others.items()}
    assert len(keys | {FACTS.key}) == len(others) + 1


def test_the_key_is_stable_over_releases() -> None:
    """Changing how it is made silently throws away every measurement on every device: then say so and change this."""
    assert FACTS.key == "065dcf6611df928a"


def test_facts_are_json_with_units_in_their_names() -> None:
    facts = read_device().to_json()
    assert facts["cores"] >= 1
    assert facts["memoryBytes"] > 64 << 20
    assert facts["machine"]
    assert len(facts["flags"]) == 16


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="reads /proc/cpuinfo")
def test_features_are_among_the_processors_flags() -> None:
    text = Path("/proc/cpuinfo").read_text()
    facts = read_device()
    assert facts.cpu in text
    assert all(feature in text for feature in facts.features)
    names = {"model name", "cpu part"}
    lines = [line.partition(":") for line in text.splitlines()]
    assert {key.strip().lower() for key, _, value in lines if value.strip() == facts.cpu} & names


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="reads /proc/meminfo")
def test_memory_is_what_the_machine_has_and_not_what_is_free_now() -> None:
    (total,) = (
        line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal")
    )
    assert read_device().memory >= 0.99 * 1024 * int(total)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
def test_cores_are_those_this_process_may_use() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert read_device().cores == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert read_device().cores == len(allowed)
