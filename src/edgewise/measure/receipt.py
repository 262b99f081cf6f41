"""Receipts: what was measured on a variant, where, on which data; the predicate of a signed statement."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgewise.bundle.document import Variant
from edgewise.bundle.fields import Form
from edgewise.bundle.statement import RECEIPT, Statement
from edgewise.errors import DocumentError, EdgewiseError, HostileBundleError
from edgewise.measure.latency import Latency
from edgewise.measure.metric import Metric

__all__ = ["Receipt", "parse_receipt"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """Evidence on one variant. Sizes in bytes; ``data`` holds name, digest and samples; ``device`` the device's facts."""

    variant: str
    engine: str
    engine_version: str
    provider: str
    threads: int
    device: Mapping[str, Any]
    data: Mapping[str, Any]
    metrics: tuple[Metric, ...]
    latency: Latency | None
    peak_rss: int | None
    size: int
    placement: Mapping[str, int]
    measured_at: str
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        latency = self.latency and {**self.latency.to_json(), "batch": 1, "threads": self.threads}
        value = {
            **self.extra, "variant": self.variant, "engine": {"name": self.engine, "version": self.engine_version},
            "provider": self.provider, "device": dict(self.device), "data": dict(self.data),
            "metrics": [metric.to_json() for metric in self.metrics], "size": {"bytes": self.size},
            "placement": {"nodes": sum(self.placement.values()), "byProvider": dict(self.placement)},
            "measuredAt": self.measured_at,
        }  # fmt: skip
        if latency:
            value["latency"] = latency
        if self.peak_rss is not None:
            value["memory"] = {"peakRssBytes": self.peak_rss}
        return value

    def statement(self, variant: Variant) -> Statement:
        """The statement to sign: about the files of ``variant``."""
        return Statement(
            RECEIPT, {file.digest: f"{variant.name}/{file.path}" for file in variant.files}, self.to_json()
        )


def parse_receipt(statement: Statement) -> Receipt:
    """The receipt in a statement from outside. Raises HostileBundleError where it has another form."""
    form = Form(dict(statement.predicate), "receipt")
    engine = form.child("engine", lambda item: (item.text("name", limit=64), item.text("version", limit=64))) or (
        "",
        "",
    )
    threads = 1

    def read_latency(item: Form) -> Latency:
        nonlocal threads
        threads = item.integer("threads", low=1, high=4096, default=1)
        latency: Latency = _parsed(item, Latency.from_json)
        return latency

    receipt = Receipt(
        variant=form.text("variant", limit=64),
        engine=engine[0],
        engine_version=engine[1],
        provider=form.text("provider", limit=128),
        device=form.anything("device") or {},
        data=form.anything("data") or {},
        metrics=tuple(form.items("metrics", lambda item: _parsed(item, Metric.from_json), limit=64)),
        latency=form.child("latency", read_latency),
        peak_rss=form.child("memory", lambda item: item.integer("peakRssBytes")),
        size=form.child("size", lambda item: item.integer("bytes")) or 0,
        placement=form.child("placement", _placement) or {},
        measured_at=form.text("measuredAt", limit=32),
        threads=threads,
        extra=form.rest(),
    )
    if not isinstance(receipt.device, dict) or not isinstance(receipt.data, dict):
        form.problem("device", "device and data are objects")
    try:
        form.finish()
    except DocumentError as error:
        raise HostileBundleError("evidence-malformed", error.what) from None
    return receipt


def _parsed(form: Form, read: Callable[[dict[str, Any]], Any]) -> Any:
    try:
        return read(form.rest())
    except EdgewiseError as error:
        form.problem("", error.what)
        return None


def _placement(form: Form) -> dict[str, int]:
    counts = form.anything("byProvider")
    if not isinstance(counts, dict) or not all(isinstance(count, int) for count in counts.values()):
        form.problem("byProvider", "an object of counts is needed")
        return {}
    return counts
