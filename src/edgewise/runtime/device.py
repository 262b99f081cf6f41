"""What this device is: the facts that decide which variant is fast here, and the key under which measurements are kept."""

import os
from pathlib import Path
from typing import Any

from edgewise.bundle.strict_json import dump_json
from edgewise.digests import digest_of, hex_of
from edgewise.records import dataclass

__all__ = ["DeviceFacts", "read_device"]

#: Instruction sets that kernels are chosen by; the rest of the flags only goes into the key.
_TELLING = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm", "sve")
_CPUINFO = Path("/proc/cpuinfo")
_CPUINFO_BYTES = 16_384  # one processor's block is about 1.5 KB


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """cores: logical processors this process may use. memory: bytes of RAM. features: instruction sets that matter here.

    flags: digest of all processor flags, so that a change of any of them is seen.
    """

    machine: str
    cpu: str
    features: tuple[str, ...]
    flags: str
    cores: int
    memory: int
    system: str

    @property
    def key(self) -> str:
        """Short digest of all facts; measurements of one key do not hold for another."""
        return hex_of(digest_of(dump_json(self.to_json())))[:16]

    def to_json(self) -> dict[str, Any]:
        return {
            "machine": self.machine, "cpu": self.cpu, "features": list(self.features), "flags": self.flags,
            "cores": self.cores, "memoryBytes": self.memory, "system": self.system,
        }  # fmt: skip


def read_device() -> DeviceFacts:
    """The facts of the machine that this process runs on."""
    names = os.uname() if hasattr(os, "uname") else None
    cpu, flags = _read_cpuinfo()
    return DeviceFacts(
        machine=names.machine if names else os.environ.get("PROCESSOR_ARCHITECTURE", "unknown"),
        cpu=cpu or _processor_name(),
        features=tuple(name for name in _TELLING if name in flags),
        flags=hex_of(digest_of(" ".join(sorted(flags)).encode()))[:16],
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory=_memory(),
        system=names.sysname if names else os.name,
    )


def _read_cpuinfo() -> tuple[str, set[str]]:
    try:
        with _CPUINFO.open("r", errors="replace") as file:
            block = file.read(_CPUINFO_BYTES).split("\n\n", 1)[0]
    except OSError:
        return "", set()
    fields = {
        key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())
    }
    flags = fields.get("flags") or fields.get("features") or ""
    return fields.get("model name") or fields.get("cpu part") or "", set(flags.split())


def _processor_name() -> str:
    # Only where /proc/cpuinfo says nothing (macOS, Windows): this import is slow and may start a process.
    import platform  # noqa: PLC0415

    return platform.processor() or platform.machine()


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
