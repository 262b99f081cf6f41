"""The demo's big network made small, in three steps: a slimmer one learns its answers, loses channels, gets integers.

Nothing here is particular to the demo but the settings: these are the passes that `edgewise compress` tries. They see the 1,000
training images; the settings were chosen by the loss on the 300 calibration images, over three seeds. The 497 held-out
images choose nothing: they judge every form beside the big one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import onnxruntime as ort
from onnx import ModelProto

from edgewise.clock import Clock
from edgewise.compress.distill.distil import Distil
from edgewise.compress.distill.student import Slimmed
from edgewise.compress.distill.teacher import ModelTeacher
from edgewise.compress.passes import Pass, Watch, nobody
from edgewise.compress.prune.prune import Prune
from edgewise.compress.quantize.aware import Aware
from edgewise.compress.samples import Samples
from edgewise.compress.search.gate import Verdict, decide
from edgewise.compress.tuning import Tuning, answers
from edgewise.digests import digest_of
from edgewise.measure.dataset import Dataset
from edgewise.measure.latency import Latency, interleave
from edgewise.measure.metric import Metric
from edgewise.measure.metrics import accuracy
from edgewise.measure.npz import Array
from edgewise.training.augment.image import Affine, Shift

__all__ = ["Form", "made_small", "steps"]

_ALLOWED = 1.0  # points: four of the 497 images; the test finds the loss of five significant
_MOVED = (Shift(1), Affine(5, 0.05))  # a pixel, 5 degrees, 5 % of the size: what another hand does
_SECONDS = 1.5  # of timing, for all forms together


@dataclass(frozen=True, slots=True)
class Form:
    """One form of the network, whole. did: what made it of the form before, in a sentence. seconds: that this took.

    verdict: on the held-out images beside the big network; None for that one. latency: of one image, in turns with the others.
    """

    name: str
    did: str
    model: bytes
    metric: Metric
    verdict: Verdict | None
    latency: Latency
    seconds: float

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.model)

    def to_json(self) -> dict[str, Any]:
        return {
            "form": self.name, "did": self.did, "bytes": self.size, "digest": digest_of(self.model),
            "accuracy": self.metric.to_json(), "verdict": self.verdict and self.verdict.to_json(),
            "latency": self.latency.to_json(), "seconds": round(self.seconds, 3),
        }  # fmt: skip


def steps(big: ModelProto, samples: Samples) -> dict[str, Pass]:
    """Name of each form -> the pass that makes it of the form before."""
    gentle = Tuning(epochs=10, batch=16, learning_rate=1e-3, weight_decay=0.0)
    return {
        "distilled": Distil(student=Slimmed(share=0.5), tuning=Tuning(epochs=25, learning_rate=5e-3)),
        "pruned": Prune(share=0.2, steps=2, tuning=Tuning(epochs=25, batch=16, learning_rate=1e-2)),
        "int8": Aware(tuning=gentle, teacher=ModelTeacher.of(big, samples)),
    }


def made_small(
    big: ModelProto, train: Dataset, held_out: Dataset, *, clock: Clock,
    report: Callable[[str], None] = lambda step: None,
    progress: Watch = nobody,
) -> tuple[Form, ...]:  # fmt: skip
    """The big network and the form after each step, the smallest last; equal arguments on one machine, equal bytes.

    big: images to probabilities. report: told of each step as it begins. progress: how far it is.
    """
    samples = Samples(train, "classification", big.graph.input[0].name, big.graph.output[0].name, steps=_MOVED)
    made: list[tuple[str, str, ModelProto, float]] = [("big", "as it came", big, 0.0)]
    for name, step in steps(big, samples).items():
        report(f"{name}: {step.describe()}")
        began = clock.seconds()
        model = step.apply(made[-1][2], samples, _named(progress, name))
        made.append((name, step.describe(), model, clock.seconds() - began))
    report("timing all forms, in turns")
    files = [model.SerializeToString(deterministic=True) for _, _, model, _ in made]
    timed = _timed(files, samples.input, held_out.x[:1], clock)
    before = answers(big, samples, held_out.x)
    forms = []
    for (name, did, model, seconds), data, latency in zip(made, files, timed, strict=True):
        after = answers(model, samples, held_out.x)
        verdict = None if model is big else decide("classification", before, after, held_out.y, _ALLOWED)
        metric = accuracy(after, held_out.y)
        forms.append(Form(name, did, data, metric, verdict, latency, seconds))
    return tuple(forms)


def _named(progress: Watch, name: str) -> Watch:
    return lambda what, done, total: progress(f"{name}: {what}", done, total)


def _timed(files: Sequence[bytes], entering: str, image: Array, clock: Clock) -> list[Latency]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = [ort.InferenceSession(data, options, providers=["CPUExecutionProvider"]) for data in files]
    calls = {str(at): partial(session.run, None, {entering: image}) for at, session in enumerate(sessions)}
    return list(interleave(calls, clock=clock, max_seconds=_SECONDS).values())
