"""`edgewise compress --upstream`: which of the models found costs least beside somebody who is asked where it is unsure."""

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.bundle.document import Document
from edgewise.compose.calibrating_data import Samples
from edgewise.compose.calibrating_telling import shown_cost
from edgewise.compose.calibrating_upstream import Upstreamed, ask_upstream
from edgewise.compose.compress_model import Subject
from edgewise.compose.training_files import hashing_of_file
from edgewise.compress.samples import feed_of
from edgewise.compress.search.result import AS_IT_CAME, Found, Row
from edgewise.errors import EdgewiseError
from edgewise.importing.onnx_file import onnx_from_bytes
from edgewise.measure.evaluation import data_digest
from edgewise.routing.fitting import Cost, Fit, Recorded, Wanted, calibrate
from edgewise.routing.losses import judge_for
from edgewise.routing.risk import Promise
from edgewise.runtime.engine import Array, OpenOptions, find_engine
from edgewise.store.home import Home

__all__ = ["Deferred", "Deferring", "read_deferring"]

_AT_ONCE = 64
_DELTA = 0.05
_NO_PROMISE = "The gate has looked at these samples, so that is no promise yet: calibrate the bundle on others."


@dataclass(frozen=True, slots=True)
class Deferred:
    """facts: for the report. told: for people."""

    facts: dict[str, Any]
    told: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Deferring:
    """What upstream says to the held-out samples, and the promise that is wanted beside it."""

    promise: Promise
    upstream: Upstreamed
    samples: Samples
    task: str
    decision: str

    def choose(self, found: Found, original: bytes, model: Callable[[str], bytes]) -> Deferred:
        """The cheapest of those that the gate has looked at, each with a threshold of its own. model: digest -> bytes.

        A search is never lost for it: what cannot be fitted is told.
        """
        try:
            rows = [row for row in found.rows if row.finalist and not row.failed]
            recorded = [self._recorded(row, original if row.name == AS_IT_CAME else model(row.model)) for row in rows]
            seconds = self.upstream.seconds
            cost = Cost() if seconds is None else Cost(upstream_seconds=seconds)
            fitted = calibrate(
                recorded, self.upstream.answers, Wanted(self.promise, cost=cost), task=self.task, decision=self.decision,
                labels=self.samples.labels, y=self.samples.y,
            )  # fmt: skip
        except EdgewiseError as error:
            return Deferred({"failed": error.what}, (f"No threshold beside {self.upstream.told}: {error.what}.",))
        chosen = fitted.chosen
        facts = {
            "upstream": self.upstream.told, "epsilon": self.promise.epsilon, "delta": self.promise.delta, "chosen": chosen.name,
            "candidates": [_facts(fit) for fit in fitted.each],
        }  # fmt: skip
        stage = chosen.stages[0]
        limit = (
            "nothing is kept"
            if stage.threshold is None
            else f"kept from {stage.threshold:.4g} of {stage.rule['name']} on"
        )
        share, time = f"{100 * chosen.chosen.offload:.1f} % passed on", shown_cost(chosen, "latency")
        first = (
            f"Beside {self.upstream.told}, {chosen.name} costs least: {share}, {limit}, {time} expected for an answer."
        )
        return Deferred(facts, (first, _NO_PROMISE))

    def _recorded(self, row: Row, data: bytes) -> Recorded:
        assert row.timed is not None
        session = find_engine("onnxruntime").open({"model.onnx": data}, OpenOptions(threads=1))
        try:
            parts: list[Array] = []
            for at in range(0, len(self.samples), _AT_ONCE):
                piece = {name: array[at : at + _AT_ONCE] for name, array in self.samples.inputs.items()}
                parts.append(session.run(piece)[self.decision].copy())
        finally:
            session.close()
        return Recorded(
            row.name, {self.decision: np.concatenate(parts)}, row.timed.latency.p50_ms / 1000, row.size
        )  # fmt: skip


def read_deferring(
    options: Namespace, subject: Subject, note: Callable[[str], None], progress: Callable[[str, int, int], None]
) -> Deferring | None:
    """What ``--upstream`` says to the held-out samples; None where nobody is named. They leave the machine where it is an address.

    Raises InputError for an upstream that does not fit the model, and what asking raises.
    """
    if not options.upstream:
        return None
    taken, samples = subject.bench.samples, subject.evaluation
    judge_for(taken.task, subject.labels)  # a task that losing means something for
    promise = Promise(options.epsilon / 100, _DELTA)
    described = onnx_from_bytes("model.onnx", subject.model)
    document = Document(
        subject.name, "0", taken.task, described.inputs, described.outputs, (), taken.output, subject.labels
    )  # fmt: skip
    beside = Path(options.model).with_suffix(".text.json")
    held = Samples(
        feed_of(samples.x, taken.input), samples.y, samples.group, subject.labels, samples.name, data_digest(samples),
        hashing=hashing_of_file(options.model, "text") if beside.is_file() else None,
    )  # fmt: skip
    asked = Namespace(
        upstream=options.upstream, upstream_variant="", trust=None, unsafe_no_verification=False,
        unsafe_plain_http=options.unsafe_plain_http,
    )  # fmt: skip
    upstream = ask_upstream(asked, document, held, Home.default(), note, progress)
    return Deferring(promise, upstream, held, taken.task, taken.output)


def _facts(fit: Fit) -> dict[str, Any]:
    stage = fit.stages[0]
    return {
        "name": fit.name, "rule": dict(stage.rule), "threshold": stage.threshold, "offload": fit.chosen.offload,
        "lost": fit.chosen.lost, "oracle": fit.oracle.offload, "loss": fit.loss, "cost": fit.cost, "samples": fit.samples,
    }  # fmt: skip
