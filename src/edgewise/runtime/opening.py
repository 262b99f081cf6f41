"""Opening one variant with one engine on one provider, with the cache that belongs to exactly that combination."""

import os
from pathlib import Path
from typing import Any

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.document import Document, Variant
from edgewise.bundle.tensors import TensorSpec
from edgewise.digests import digest_of, hex_of
from edgewise.records import dataclass
from edgewise.runtime.device import DeviceFacts
from edgewise.runtime.engine import Engine, OpenOptions, find_engine
from edgewise.runtime.session import Origin, Session, Teach
from edgewise.store.home import Home

__all__ = ["Candidate", "cache_folder", "open_candidate", "origin_of"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way to run the model here: which variant, by which engine, on which provider, with how many threads."""

    variant: str
    engine: str
    provider: str
    threads: int = 1

    def to_json(self) -> dict[str, Any]:
        return {"variant": self.variant, "engine": self.engine, "provider": self.provider, "threads": self.threads}

    def __str__(self) -> str:
        return (
            f"{self.variant} on {self.engine}/{self.provider}, {self.threads} thread{'s' if self.threads > 1 else ''}"
        )


def open_candidate(
    bundle: Bundle,
    candidate: Candidate,
    *,
    home: Home,
    device: DeviceFacts,
    record_placement: bool = False,
    reason: str = "",
    teach: Teach | None = None,
    also: tuple[str, ...] = (),
) -> Session:
    """A session for ``candidate``. also: outputs of its file beyond the interface that answers are to hold too.

    Raises what the engine raises, and ModelError where the interface or ``also`` does not fit.
    """
    engine = find_engine(candidate.engine)
    variant = bundle.variant(candidate.variant)
    options = OpenOptions(
        provider=candidate.provider,
        threads=candidate.threads,
        cache=_if_writable(cache_folder(home, variant, engine, candidate, device)),
        record_placement=record_placement,
    )
    opened = engine.open(bundle.model_files(variant), options)
    return Session(bundle.document, variant, opened, origin_of(bundle.document, candidate, reason), teach, also)


def cache_folder(home: Home, variant: Variant, engine: Engine, candidate: Candidate, device: DeviceFacts) -> Path:
    """Where what was compiled for this combination is kept. What was kept for an older engine or another device is deleted."""
    name = f"{candidate.engine}-{candidate.provider}-{candidate.threads}"
    files = hex_of(digest_of("".join(file.digest for file in variant.files).encode()))[:32]
    group = home.cache / "compiled" / files
    wanted = group / f"{name}@{engine.version()}@{device.key}"
    if not wanted.exists():
        for outdated in group.glob(f"{name}@*"):
            from shutil import rmtree  # noqa: PLC0415  (a start that finds its copy does not load it)

            rmtree(outdated, ignore_errors=True)
    return wanted


def _if_writable(folder: Path) -> Path | None:
    """A cache that cannot be written costs time, never the answer."""
    nearest = next((place for place in (folder, *folder.parents) if place.exists()), None)
    return folder if nearest is not None and os.access(nearest, os.W_OK) else None


def _scale(spec: TensorSpec) -> tuple[float, int]:
    """Scale and zero point that the interface states for a quantized output; (1, 0) for any other."""
    stated = spec.extra.get("quantization")
    scale, zero = (stated.get("scale"), stated.get("zeroPoint")) if isinstance(stated, dict) else (None, None)
    if isinstance(scale, (int, float)) and isinstance(zero, int) and not isinstance(scale, bool) and scale > 0:
        return float(scale), zero
    return 1.0, 0


def origin_of(document: Document, candidate: Candidate, reason: str) -> Origin:
    """What the answers of a session for ``candidate`` have in common."""
    decision = next((spec for spec in document.outputs if spec.name == document.decision), document.outputs[0])
    # A vector of a fixed length above one is the answer to one input, by a model that knows no batches.
    alone = len(decision.shape) == 1 and isinstance(decision.shape[0], int) and decision.shape[0] > 1
    return Origin(
        variant=candidate.variant,
        engine=candidate.engine,
        provider=candidate.provider,
        decision=decision.name,
        task=document.task,
        labels=document.labels,
        batched=bool(decision.shape) and not alone,
        scale=_scale(decision),
        reason=reason,
    )
