"""What a user demands of a model on this device; whatever cannot be shown to hold counts as not held."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from math import inf
from typing import Any

from edgewise.errors import InputError, RequirementError
from edgewise.records import dataclass
from edgewise.runtime.engine import Placement

__all__ = ["Requirements"]


@dataclass(frozen=True, slots=True)
class Requirements:
    """Clauses of ``require``; None or empty means no demand.

    provider: the graph must run on it. min_share_on_provider: share of nodes placed there, 0..1 (1 where only ``provider``
    is given). max_p95_ms: milliseconds per call, batch of one. max_rss_mb: peak resident memory of a fresh process, MB of
    10^6 bytes. variant, engine: only this one. max_metric_drop: how far the first metric in the receipts may lie below
    the best variant's, in the metric's own unit.
    """

    provider: str = ""
    min_share_on_provider: float | None = None
    max_p95_ms: float | None = None
    max_rss_mb: float | None = None
    variant: str = ""
    engine: str = ""
    max_metric_drop: float | None = None

    def __post_init__(self) -> None:
        share = self.min_share_on_provider
        if share is not None and not 0 <= share <= 1:
            raise InputError(f"min_share_on_provider is {share}; it is a share between 0 and 1")
        for name in ("max_p95_ms", "max_rss_mb", "max_metric_drop"):
            limit = getattr(self, name)
            if limit is not None and not 0 <= limit < inf:
                raise InputError(f"{name} is {limit}; it is a finite number, 0 or more")
        if share is not None and not self.provider:
            raise InputError("min_share_on_provider needs a provider", remedy="Name it: provider=CPUExecutionProvider.")

    @property
    def share_needed(self) -> float:
        """Share of nodes that must be placed on ``provider``."""
        return 1.0 if self.min_share_on_provider is None else self.min_share_on_provider

    def check_placement(self, placement: Placement, variant: str) -> None:
        """Raise RequirementError, naming the operators that run elsewhere, unless enough nodes are on ``provider``."""
        share = placement.share(self.provider)
        if self.provider and share < self.share_needed:
            others = ", ".join(placement.elsewhere(self.provider)) or "no node was placed at all"
            raise RequirementError(
                f"{variant}: {share:.0%} of the nodes run on {self.provider}, {self.share_needed:.0%} are required; "
                f"elsewhere: {others}",
                share=share, counts=placement.counts(),
            )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}

    @classmethod
    def parse(cls, clauses: Mapping[str, Any]) -> "Requirements":
        """From names and values (text is converted). Raises InputError that lists the clauses there are.

        A clause without a value is a mistake, never "no demand": what is meant as a demand must not be lost.
        """
        if not isinstance(clauses, Mapping):
            raise InputError(
                f"requirements are names with values, not a {type(clauses).__name__}",
                remedy='Pass them as in require={"max_p95_ms": 5}.',
            )
        known = {item.name: item for item in fields(cls)}
        values: dict[str, Any] = {}
        for name, value in clauses.items():
            if name not in known:
                raise InputError(f"there is no requirement {name!r}; there are {', '.join(known)}")
            if known[name].type in (str, "str"):
                if not isinstance(value, str) or not value:
                    raise InputError(f"the requirement {name} needs a name, not {value!r}")
                values[name] = value
                continue
            try:
                values[name] = float(value) if not isinstance(value, bool) else float("nan")
            except (TypeError, ValueError):
                values[name] = float("nan")
            if values[name] != values[name]:
                raise InputError(f"the requirement {name} needs a number, not {value!r}")
        return cls(**values)
