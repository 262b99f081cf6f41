"""Choices that were made on this device, kept as small files: reading one costs a load next to nothing."""

from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.strict_json import dump_json, parse_object
from edgewise.errors import EdgewiseError
from edgewise.runtime.device import DeviceFacts
from edgewise.runtime.engine import ENGINES, installed_engines
from edgewise.runtime.opening import Candidate
from edgewise.runtime.requirements import Requirements
from edgewise.store.files import read_bounded, write_bytes
from edgewise.store.home import Home

__all__ = ["choice_path", "read_choice", "write_choice"]

_LIMIT = 1 << 20
_FORM = 1  # raise it when what is measured or how it is judged changes


def read_choice(bundle: Bundle, require: Requirements, home: Home, device: DeviceFacts) -> tuple[Candidate, str] | None:
    """The choice kept for this bundle, these requirements, this device and these engines; None where there is none."""
    path = choice_path(bundle, require, home, device)
    try:
        kept = parse_object(read_bounded(path, _LIMIT, "a kept choice"), "a kept choice")
        if kept.get("engines") != engine_versions() or kept.get("form") != _FORM:
            return None
        chosen = kept["chosen"]
        candidate = Candidate(chosen["variant"], chosen["engine"], chosen["provider"], chosen["threads"])
        bundle.variant(candidate.variant)
        return candidate, str(kept["reason"])
    except (EdgewiseError, KeyError, TypeError):
        return None  # not there, or damaged: it is made again


def write_choice(
    bundle: Bundle,
    require: Requirements,
    home: Home,
    device: DeviceFacts,
    chosen: Candidate,
    reason: str,
    trials: list[Any],
) -> None:
    """Keep a choice with everything that was measured for it."""
    value = {
        "form": _FORM, "ref": bundle.ref, "engines": engine_versions(), "device": device.to_json(), "require": require.to_json(),
        "chosen": chosen.to_json(), "reason": reason, "trials": trials,
    }  # fmt: skip
    write_bytes(choice_path(bundle, require, home, device), dump_json(value))


def choice_path(bundle: Bundle, require: Requirements, home: Home, device: DeviceFacts) -> Path:
    """Where the choice is kept: named by the digests of the variants' files, the requirements and the device."""
    key = dump_json([bundle.document_digest, require.to_json(), device.key])
    return home.cache / "choices" / f"{bundle.document.name}-{sha256(key).hexdigest()[:24]}.json"


def engine_versions() -> dict[str, str]:
    """Engine -> version of its package, without importing it."""
    return {name: _version(ENGINES[name].distributions) for name in installed_engines()}


def _version(distributions: tuple[str, ...]) -> str:
    for name in distributions:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"
