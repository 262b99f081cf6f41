"""Measuring one way to run a model: how right it is, how fast, how big, and where it ran."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.safetensors import dump_arrays
from edgewise.bundle.strict_json import dump_json
from edgewise.clock import Clock
from edgewise.digests import digest_of
from edgewise.errors import DataError, EdgewiseError
from edgewise.measure.dataset import Dataset
from edgewise.measure.latency import Latency, time_calls
from edgewise.measure.metric import Metric
from edgewise.measure.metrics import default_metrics
from edgewise.measure.receipt import Receipt
from edgewise.runtime.device import DeviceFacts
from edgewise.runtime.engine import Array, find_engine
from edgewise.runtime.opening import Candidate, open_candidate
from edgewise.runtime.rows import join_rows, row_at
from edgewise.runtime.session import Session
from edgewise.store.home import Home

__all__ = ["Evaluation", "evaluate", "input_rank", "predict_all", "to_receipt"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured for one candidate on one data set. ``peak_rss`` in bytes, None where it was not asked for."""

    candidate: Candidate
    metrics: tuple[Metric, ...]
    latency: Latency
    placement: Mapping[str, int]
    size: int
    samples: int
    data_digest: str
    peak_rss: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            **self.candidate.to_json(), "metrics": [metric.to_json() for metric in self.metrics],
            "latency": self.latency.to_json(), "placement": dict(self.placement), "bytes": self.size,
            "samples": self.samples, "dataDigest": self.data_digest, "peakRssBytes": self.peak_rss,
        }  # fmt: skip


def evaluate(
    bundle: Bundle,
    candidate: Candidate,
    data: Dataset,
    *,
    home: Home,
    device: DeviceFacts,
    clock: Clock,
    progress: Progress = lambda done, total: None,
) -> Evaluation:
    """Run every example of ``data`` through one candidate, as in use: one at a time. Raises DataError where they do not fit."""
    with open_candidate(bundle, candidate, home=home, device=device, record_placement=True) as session:
        rank = input_rank(session)
        outputs = predict_all(session, data.x, progress)
        metrics = default_metrics(bundle.document.task, outputs, data.y, data.group)
        latency = time_calls(lambda: session.predict(row_at(data.x, 0, rank)), clock=clock)
        placement = session.placement().counts()
    return Evaluation(
        candidate,
        tuple(metrics),
        latency,
        placement,
        bundle.variant(candidate.variant).size,
        len(data.x),
        data_digest(data),
    )


def predict_all(session: Session, x: Array, progress: Progress = lambda done, total: None) -> Array:
    """The deciding output for every example in ``x``, stacked."""
    decision, rank = session.origin.decision, input_rank(session)
    rows: list[Array] = []
    for at in range(len(x)):
        try:
            rows.append(session.predict(row_at(x, at, rank)).outputs[decision])
        except EdgewiseError as error:
            raise DataError(f"example {at} does not fit the model: {error.what}", remedy=error.remedy) from error
        progress(at + 1, len(x))
    return join_rows(rows, batched=session.origin.batched)


def input_rank(session: Session) -> int:
    """Number of axes of the one input that data is for. Raises DataError where there are several."""
    states = {state.input for state in session.document.states}
    ranks = [len(spec.shape) for spec in session.document.inputs if spec.name not in states]
    if len(ranks) != 1:
        raise DataError(
            f"a data set has one input x; this model has {len(ranks)} inputs",
            remedy="Measure it through its own program; receipts are for models with one input.",
        )
    return ranks[0]


def data_digest(data: Dataset) -> str:
    """Digest of the examples and labels themselves, whatever file they came in."""
    fields = data.x.dtype.names  # one for each input, where a model takes several
    x = {f"x/{name}": data.x[name] for name in fields} if fields else {"x": data.x}
    arrays = x | {"y": data.y} | ({} if data.group is None else {"group": data.group})
    numbers = dump_arrays({name: array for name, array in arrays.items() if array.dtype.kind in "biuf"})
    texts = {name: array.astype(str).tolist() for name, array in arrays.items() if array.dtype.kind not in "biuf"}
    return digest_of(numbers + dump_json(texts) if texts else numbers)


def to_receipt(result: Evaluation, data_name: str, device: DeviceFacts, clock: Clock) -> Receipt:
    """The receipt for an evaluation that was just made on this device."""
    return Receipt(
        variant=result.candidate.variant,
        engine=result.candidate.engine,
        engine_version=find_engine(result.candidate.engine).version(),
        provider=result.candidate.provider,
        threads=result.candidate.threads,
        device=device.to_json(),
        data={"name": data_name, "digest": result.data_digest, "samples": result.samples},
        metrics=result.metrics,
        latency=result.latency,
        peak_rss=result.peak_rss,
        size=result.size,
        placement=result.placement,
        measured_at=clock.timestamp(),
    )
