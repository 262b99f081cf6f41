"""Choices that were made on this device, kept as small files: reading one costs a load next to nothing."""

import os
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.strict_json import dump_json, parse_object
from edgewise.digests import digest_of, hex_of
from edgewise.errors import EdgewiseError, StorageError
from edgewise.runtime.device import DeviceFacts
from edgewise.runtime.engine import ENGINES, find_engine, installed_engines
from edgewise.runtime.opening import Candidate
from edgewise.runtime.requirements import Requirements
from edgewise.store.files import read_bounded, write_bytes
from edgewise.store.home import Home
from edgewise.trust.verification import Verification

__all__ = ["choice_path", "read_choice", "write_choice"]

_LIMIT = 1 << 20
_FORM = 1  # raise it when what is measured or how it is judged changes


def read_choice(
    bundle: Bundle, require: Requirements, home: Home, device: DeviceFacts, verification: Verification | None
) -> tuple[Candidate, str] | None:
    """The choice kept for this bundle, these requirements, this device and these engines; None where there is none.

    verification: what was proven; receipts that count now and did not then lead to a choice of its own, and so does none.
    """
    path = choice_path(bundle, require, home, device, verification)
    try:
        kept = parse_object(read_bounded(path, _LIMIT, "a kept choice"), "a kept choice")
        chosen = kept["chosen"]
        if kept.get("form") != _FORM or kept.get("engines") != engine_versions():
            return None
        if kept.get("providers") != engine_providers(chosen["engine"]):
            return None  # a device was added or taken away
        candidate = Candidate(chosen["variant"], chosen["engine"], chosen["provider"], int(chosen["threads"]))
        bundle.variant(candidate.variant)
        return candidate, str(kept["reason"])
    except (EdgewiseError, KeyError, TypeError, ValueError):
        return None  # not there, or damaged: it is made again


def write_choice(
    bundle: Bundle,
    require: Requirements,
    home: Home,
    device: DeviceFacts,
    verification: Verification | None,
    chosen: Candidate,
    reason: str,
    trials: list[Any],
) -> None:
    """Keep a choice with everything that was measured for it."""
    value = {
        "form": _FORM, "ref": bundle.ref, "engines": engine_versions(), "providers": engine_providers(chosen.engine),
        "device": device.to_json(), "require": require.to_json(), "chosen": chosen.to_json(), "reason": reason,
        "trials": trials,
    }  # fmt: skip
    with suppress(StorageError):  # it is measured again next time; the answer does not wait for a disk
        write_bytes(choice_path(bundle, require, home, device, verification), dump_json(value))


def choice_path(
    bundle: Bundle, require: Requirements, home: Home, device: DeviceFacts, verification: Verification | None
) -> Path:
    """Where the choice is kept: named by the document's digest, the requirements, the device and the receipts that count."""
    believed = None if verification is None else [item.digest for item in verification.receipts if item.trusted]
    key = dump_json([bundle.document_digest, require.to_json(), device.key, believed])
    return home.cache / "choices" / f"{bundle.document.name}-{hex_of(digest_of(key))[:24]}.json"


def engine_versions() -> dict[str, str]:
    """Engine -> version of its package, without importing it."""
    return {name: _version(ENGINES[name].module) for name in installed_engines()}


def engine_providers(chosen: str) -> dict[str, list[str]]:
    """Engine and provider -> devices, for the chosen engine and for onnxruntime; another engine is not imported for it."""
    names = {chosen, "onnxruntime"} & set(installed_engines())
    return {
        f"{name}/{provider.name}": list(provider.devices)
        for name in sorted(names)
        for provider in find_engine(name).providers()
    }


def _version(module: str) -> str:
    """The version in the name of the ``.dist-info`` folder beside ``module``, or when its files were written.

    importlib.metadata would say it too, but importing that takes longer than everything else that a load does.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return "unknown"
    package = Path(spec.origin).parent
    # "onnxruntime_gpu-1.32.0.dist-info" beside onnxruntime/: wheels of one module begin with its name.
    found = [
        name
        for name in os.listdir(package.parent)  # noqa: PTH208  (a path for each of hundreds of entries takes a millisecond)
        if name.endswith(".dist-info") and name.lower().startswith(module) and name[len(module)] in "-_"
    ]
    return ", ".join(sorted(found)) or f"of {int(package.stat().st_mtime)}"
