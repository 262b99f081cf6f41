"""One piece of work: a pass applied to a model, the result checked, opened, and scored on samples that no pass has seen."""

from dataclasses import dataclass, replace
from time import perf_counter

from onnx import ModelProto

from edgewise.compress.passes import Pass, Watch, nobody
from edgewise.compress.samples import Samples
from edgewise.compress.tuning import answers
from edgewise.errors import EdgewiseError, UnsupportedError
from edgewise.graph.inspect import ValueSummary, describe
from edgewise.measure.dataset import Dataset
from edgewise.measure.metric import Metric
from edgewise.measure.npz import Array
from edgewise.training.recipes.judging import judge

__all__ = ["Bench", "Outcome", "Work"]


@dataclass(frozen=True, slots=True)
class Work:
    """key: digest of the candidate that comes of it. model: what ``step`` is applied to. samples: how many it may look at."""

    key: str
    model: bytes
    step: Pass
    samples: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """model, metric: what came of it, with its figure on the comparing samples; or ``failed``: why nothing did."""

    key: str
    model: bytes = b""
    metric: Metric | None = None
    failed: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Bench:
    """samples: what passes may learn from. comparing: what candidates are compared by while the search goes on; no pass sees it."""

    samples: Samples
    comparing: Dataset

    def do(self, work: Work, watch: Watch = nobody) -> Outcome:
        """Do ``work``. Never raises: what a pass cannot do is a fact about the candidate, and must not end the search."""
        began = perf_counter()
        try:
            model = ModelProto.FromString(work.model)
            samples = self._given(work.samples)
            made = work.step.apply(model, samples, watch)
            _same_interface(model, made, work.step)
            metric = self.score(made)
            data = made.SerializeToString(deterministic=True)
        except EdgewiseError as error:
            return Outcome(work.key, failed=error.what, seconds=perf_counter() - began)
        except Exception as error:  # a fault in one pass is told in the table, beside the candidates that worked
            return Outcome(work.key, failed=f"{type(error).__name__}: {error}", seconds=perf_counter() - began)
        return Outcome(work.key, data, metric, seconds=perf_counter() - began)

    def score(self, model: ModelProto) -> Metric:
        """The figure of ``model`` on the comparing samples."""
        return judge(self.samples.task, {"": answers(model, self.samples, self.comparing.x)}, {}, self.comparing.y)

    def sample(self) -> dict[str, Array]:
        """A feed of one sample, to time models with."""
        return self.samples.feed(self.comparing.x[:1])

    def _given(self, count: int) -> Samples:
        if count >= len(self.samples.data):
            return self.samples
        return replace(self.samples, data=self.samples.data.take(self.samples.rows(count)))


def _same_interface(before: ModelProto, after: ModelProto, step: Pass) -> None:
    first, second = describe(before), describe(after)
    for ours, theirs in ((first.inputs, second.inputs), (first.outputs, second.outputs)):
        if [_form(value) for value in ours] != [_form(value) for value in theirs]:
            raise UnsupportedError(f"{step.name} changed the model's interface from {ours} to {theirs}")


def _form(value: ValueSummary) -> tuple[object, ...]:
    # What a dimension that varies is called says nothing.
    return value.name, value.dtype, tuple(dim if isinstance(dim, int) else "" for dim in value.shape or ())
