"""Quantization-aware fine-tuning: a few epochs in which the model meets the rounding that it will be run with.

Step sizes and weights learn together (Esser et al. 2020, LSQ), from the answers of the float model and from the labels: the float
model is the best teacher there is of what must not be lost (Mishra & Marr, Apprentice, ICLR 2018).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from onnx import ModelProto

from edgewise.compress.cutting import Cut
from edgewise.compress.distill.teacher import ModelTeacher
from edgewise.compress.passes import Watch, nobody
from edgewise.compress.quantize.adaround import round_layers
from edgewise.compress.quantize.grids import Grid
from edgewise.compress.quantize.placement import Placement, place
from edgewise.compress.quantize.qdq import write
from edgewise.compress.quantize.rounding import Rounding, round_all, without_clamps
from edgewise.compress.quantize.static import Started, Static, activation_grids, start, weight_grids
from edgewise.compress.samples import Samples
from edgewise.compress.tuning import Teacher, Tuning, learn
from edgewise.errors import UnsupportedError
from edgewise.measure.npz import Array
from edgewise.training.rewrites.opening import node_name, opened
from edgewise.training.step.assembly import choose, with_weights

__all__ = ["Aware", "Rounded", "rounded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aware:
    """The pass. static: grids to start from, and the form that is written. tuning: how it learns.

    rounding: steps of learnt rounding (``adaround``) before the first epoch; 0 starts from the float weights.
    taught: by the float model's answers besides the labels, where the task knows a way to; ``teacher`` in its place, if given.
    """

    static: Static = field(default_factory=Static)
    tuning: Tuning = field(default_factory=lambda: Tuning(epochs=3, learning_rate=1e-4, weight_decay=0.0))
    rounding: int = 300
    taught: bool = True
    teacher: Teacher | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        by = (
            "labels"
            if not self.taught
            else "self"
            if self.teacher is None
            else getattr(self.teacher, "name", "teacher")
        )
        first = f",rounding={self.rounding}" if self.rounding else ""
        return f"int8-aware:{self.static.name.partition(':')[2]}{first},{self.tuning.short},by={by}"

    def describe(self) -> str:
        by = (
            ""
            if not self.taught
            else ", taught by the float model"
            if self.teacher is None
            else ", taught by another model"
        )
        return f"weights and steps learnt for {self.tuning.epochs} epochs with rounding in the way{by}; {self.static.describe()}"

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:
        """Raises UnsupportedError where no layer runs in integers, or the task or an operator cannot be learnt."""
        first = rounded(model, samples, self.static, watch, steps=self.rounding)
        teacher = self.teacher
        if teacher is None and self.taught and samples.task in {"classification", "regression"}:
            teacher = ModelTeacher.of(model, samples)
        names = (*choose(first.core).parameters, *first.rounding.factors)
        learnt = learn(
            first.parts, samples, self.tuning, parameters=names, teacher=teacher if self.taught else None, watch=watch
        )  # fmt: skip
        return first.exported(learnt.weights)


@dataclass(frozen=True, slots=True)
class Rounded:
    """A model made ready to learn with rounding. core: without it. rounding: the same with it; ``parts`` holds that one."""

    ready: Started
    core: ModelProto
    placement: Placement
    rounding: Rounding

    @property
    def parts(self) -> Cut:
        """What is to be learnt."""
        return replace(self.ready.prepared.parts, core=self.rounding.model)

    def simulated(self, values: Mapping[str, Array] | None = None) -> ModelProto:
        """The whole model in floats that rounds as the exported one, with these trained initializers."""
        return self.ready.prepared.parts.whole(with_weights(self.rounding.model, values or {}))

    def exported(self, values: Mapping[str, Array] | None = None) -> ModelProto:
        """The whole model in integers."""
        activations, weights = self.rounding.learnt(values or {})
        core = with_weights(self.core, values or {})
        written = write(opened(core), self.placement, activations, weights, bias=self.ready.settings.bias)
        return self.ready.whole(written.model, self.ready.layers)


def rounded(model: ModelProto, samples: Samples, settings: Static, watch: Watch = nobody, *, steps: int = 0) -> Rounded:
    """``model`` simplified, with rounding where ``settings`` would put integers. Raises UnsupportedError where nowhere.

    steps: of learnt rounding, whose weights and biases take the float ones' place.
    """
    ready = start(model, samples, settings, watch)
    if not ready.layers:
        raise UnsupportedError("every layer is kept in float", remedy="Keep fewer.")
    writer = opened(ready.seen.core)
    placement = place(writer, ready.layers)
    grids = activation_grids(writer, placement, ready.seen, settings)
    first, started = _started(ready, steps, watch) if steps else (ready.seen.core, {})
    core = without_clamps(first, placement, grids)
    writer = opened(core)
    placement = place(writer, ready.layers)
    rounding = round_all(core, placement, grids, weight_grids(writer, placement, settings) | started)
    return Rounded(ready, core, placement, rounding)


def _started(ready: Started, steps: int, watch: Watch) -> tuple[ModelProto, dict[str, Grid]]:
    """The core with its weights on their grids, as learnt rounding puts them; and these grids."""
    seen, integers, grids = round_layers(ready, steps, watch)
    read = {node_name(node): node.input[1] for node in seen.core.graph.node if node_name(node) in integers}
    numbers = {read[name]: grids[name].numbers(whole) for name, whole in integers.items()}
    return with_weights(seen.core, numbers), {name: grids[name] for name in integers}
