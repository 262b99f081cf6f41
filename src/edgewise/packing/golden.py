"""The golden set of a bundle that is being packed: from data where there is any, else from inputs made up from the interface.

Inputs are chosen by the first variant's answers; then every variant's outputs for them are recorded, each by the engine that its
format was made for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.document import Document, File, Golden
from edgewise.bundle.safetensors import dump_arrays
from edgewise.bundle.tensors import TensorSpec
from edgewise.digests import digest_of
from edgewise.errors import EdgewiseError, InputError
from edgewise.importing.fidelity import seeded_inputs, within_quantization
from edgewise.importing.imported import ImportedModel
from edgewise.measure.candidates import reference_candidate
from edgewise.measure.dataset import Dataset
from edgewise.measure.evaluation import predict_all
from edgewise.measure.golden import choose_golden
from edgewise.measure.samples import ATTEMPTS
from edgewise.runtime.device import read_device
from edgewise.runtime.engine import Array
from edgewise.runtime.opening import open_candidate
from edgewise.runtime.rows import join_rows, row_at
from edgewise.runtime.session import Session
from edgewise.store.home import Home

__all__ = ["Samples", "from_data", "from_seeds", "record_golden"]

GOLDEN_TYPE = "application/vnd.edgewise.golden.v1+safetensors"
# Shares of an output's spread. Rounding differs between processors: fp32 by a few ulp after hundreds of additions; a quantized
# activation may land one step away and travel on. Where outputs are probabilities 0.05 is half of what flips a decision worth
# having.
_TOLERANCE = {"fp32": 1e-3, "fp16": 2e-2, "mixed": 5e-2, "int8": 5e-2, "int4": 1e-1}
_RELATIVE = 1e-3
_SEEDS = 64  # made-up inputs to choose from
_SEEDED = 8  # of which so many are kept: they say less than real ones
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Samples:
    """Inputs to choose from: input name -> samples (N, ...). source: ``data``, or ``seeded`` where they were made up."""

    inputs: Mapping[str, Array]
    source: str

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def at(self, number: int, ranks: Mapping[str, int]) -> dict[str, Array]:
        """One sample by input name."""
        return {name: row_at(rows, number, ranks[name]) for name, rows in self.inputs.items()}


def from_data(document: Document, data: Dataset) -> Samples:
    """The samples of a data set, for a model with one input beside its states."""
    (name, *others) = _ranks(document)
    if others:
        raise InputError(
            f"a data set has one input x; this model has {name}, {', '.join(others)}",
            remedy="Pack it without --eval and --golden: its golden set is then made from its interface.",
        )
    return Samples({name: data.x}, "data")


def from_seeds(bundle: Bundle, models: Mapping[str, ImportedModel], home: Home) -> Samples | None:
    """Made-up samples that the first variant answers, None where none of the sizes that are tried suits it."""
    specs: list[TensorSpec] = [spec for spec in bundle.document.inputs if spec.name in _ranks(bundle.document)]
    for model in models.values():
        specs = within_quantization(specs, model)
    if any(spec.dtype == "str" for spec in specs):
        return None
    first = reference_candidate(bundle, bundle.document.variants[0].name)
    with open_candidate(bundle, first, home=home, device=read_device()) as session:
        for free, top in ATTEMPTS:
            rows = [seeded_inputs(specs, seed, length=free, top=top) for seed in range(_SEEDS)]
            try:
                for row in rows:
                    session.predict(row)
            except EdgewiseError:
                continue
            # One more axis where the interface has no batch, so that samples always come first.
            batched = {spec.name: rows[0][spec.name].shape[:1] == (1,) for spec in specs}
            return Samples(
                {name: join_rows([row[name] for row in rows], batched=one) for name, one in batched.items()}, "seeded"
            )
    return None


def record_golden(bundle: Bundle, samples: Samples, count: int, home: Home, progress: Progress) -> tuple[Golden, bytes]:
    """Choose up to ``count`` of the samples and record every variant's outputs for them."""
    document = bundle.document
    ranks = _ranks(document)
    recordable = [spec for spec in document.outputs if spec.dtype != "str"]
    if not recordable or any(rows.dtype.kind not in "biuf" for rows in samples.inputs.values()):
        raise InputError(
            "a golden set holds numbers; this model takes or gives only text",
            remedy="Pack it with --golden-count 0; its replay then proves nothing on the device.",
        )
    arrays: dict[str, Array] = {}
    chosen: list[int] = []
    for at, variant in enumerate(document.variants):
        progress(f"golden outputs of {variant.name}", at, len(document.variants))
        candidate = reference_candidate(bundle, variant.name)
        with open_candidate(bundle, candidate, home=home, device=read_device()) as session:
            if not chosen:
                chosen = _chosen(session, samples, count, ranks)
                arrays |= {f"in/{name}": rows[chosen] for name, rows in samples.inputs.items()}
            rows = [session.predict(samples.at(number, ranks)).outputs for number in chosen]
            alone = () if session.origin.batched else (session.origin.decision,)
        for output in recordable:
            joined = join_rows([row[output.name] for row in rows], batched=output.name not in alone)
            arrays[f"out/{variant.name}/{output.name}"] = joined
    return _described(document, arrays, samples.source, len(chosen))


def _chosen(session: Session, samples: Samples, count: int, ranks: Mapping[str, int]) -> list[int]:
    decision = session.origin.decision
    if samples.source == "data":
        (rows,) = samples.inputs.values()
        outputs = predict_all(session, rows)
    else:
        count = min(count, _SEEDED)
        answers = [session.predict(samples.at(at, ranks)).outputs[decision] for at in range(len(samples))]
        outputs = join_rows(answers, batched=session.origin.batched)
    if len(outputs) != len(samples):  # a list of detections, as many as there are: they say nothing of single samples
        return np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int).tolist()
    return choose_golden(outputs, count=count, classifies=session.origin.task == "classification")


def _described(document: Document, arrays: Mapping[str, Array], source: str, count: int) -> tuple[Golden, bytes]:
    content = dump_arrays(arrays)
    file = File("golden.safetensors", GOLDEN_TYPE, digest_of(content), len(content))
    tolerance = {variant.name: _TOLERANCE[variant.precision] for variant in document.variants}
    agreement = 1.0 if set(tolerance.values()) == {_TOLERANCE["fp32"]} else 1.0 - 1.0 / count
    extra: dict[str, Any] = {"source": source}
    return Golden(file, max(tolerance.values()), _RELATIVE, agreement, tolerance, extra), content


def _ranks(document: Document) -> dict[str, int]:
    """Input -> number of axes, states left out."""
    states = {state.input for state in document.states}
    return {spec.name: len(spec.shape) for spec in document.inputs if spec.name not in states}
