"""Mixed precision by time: layers that are slower in integers than in float stay in float.

What is fast depends on the machine and on the layer: of a small ResNet for 64 x 64 images the first convolution took 44 us in
integers and 8 in float, all the others gained, and the whole fell from 0.79 of the time to 0.60 with that one left out. So it is
measured: whole models, in turns, one thread, one sample. A float layer between integer ones costs a conversion on either side;
neighbours are therefore tried together as well.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from onnx import ModelProto

from edgewise.clock import Clock, SystemClock
from edgewise.compress.passes import Watch, nobody
from edgewise.compress.quantize.aware import Aware
from edgewise.compress.quantize.placement import literal
from edgewise.compress.quantize.static import Started, Static, start
from edgewise.compress.samples import Samples
from edgewise.errors import UnsupportedError
from edgewise.measure.latency import interleave
from edgewise.measure.npz import Array
from edgewise.runtime.engine import EngineSession, OpenOptions, find_engine

__all__ = ["Timed", "Timer", "medians", "quickest"]

#: Models, and what is fed to each -> how long each takes, in any unit.
Timer = Callable[[Sequence[ModelProto], Mapping[str, Array]], list[float]]
_GAIN = 0.98  # of the time: what is nearer than that to no gain is noise
_TOGETHER = 8  # models that take turns
_SECONDS, _RUNS = 0.08, 30  # for each of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """The pass. inner: how the layers that gain are quantized. seconds: after which no other layer is tried.

    What it makes depends on the machine and on its noise: two runs may differ in a layer that gains next to nothing. The journal of
    a search keeps what came of it, so that a search that goes on decides the same. timer: who measures.
    """

    inner: Static | Aware = field(default_factory=Static)
    seconds: float = 30.0
    timer: Timer | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        return f"timed:{self.seconds:g}s;{self.inner.name}"

    def describe(self) -> str:
        return f"{self.inner.describe()}; layers that are slower so on this machine left in float"

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:
        """Raises UnsupportedError where no layer runs in integers, or none is faster for it here."""
        static = self.inner if isinstance(self.inner, Static) else self.inner.static
        ready = start(model, samples, static, watch)
        if not ready.layers:
            raise UnsupportedError("every layer is kept in float", remedy="Keep fewer.")
        chosen = quickest(ready, self.timer or medians, self.seconds, watch=watch)
        keep = tuple(literal(name) for name in ready.seen.layers if name not in chosen)
        if isinstance(self.inner, Static):
            return replace(self.inner, keep=keep).apply(model, samples, watch)
        return replace(self.inner, static=replace(static, keep=keep)).apply(model, samples, watch)


def quickest(
    ready: Started, timer: Timer, seconds: float, clock: Clock | None = None, watch: Watch = nobody
) -> tuple[str, ...]:  # fmt: skip
    """The layers with which the model is quickest in integers, in their order.

    From all of them on, one layer or two neighbours go back to float, whichever gains most, as long as something gains. Raises
    UnsupportedError where the model is quicker with none.
    """
    clock = clock or SystemClock()
    ends, every = clock.seconds() + seconds, tuple(ready.layers)
    ((_, first),) = [next(iter(enumerate(ready.batches())))]
    fed = {name: array[:1] for name, array in first.items()}

    def times(*choices: tuple[str, ...]) -> list[float]:
        made = [ready.core_with(list(layers)) if layers else ready.seen.core for layers in choices]
        return timer(made, fed)

    current = every
    while clock.seconds() < ends:
        watch("measuring layers", len(every) - len(current), len(every))
        found = []
        ways = _without(current)
        for at in range(0, len(ways), _TOGETHER - 1):
            some = ways[at : at + _TOGETHER - 1]
            whole, *others = times(current, *some)
            found += [(taken / whole, layers) for taken, layers in zip(others, some, strict=True)]
        gained, best = min(found, default=(1.0, current))
        # The least of many noisy numbers is too small: it has to hold once more.
        if gained >= _GAIN or _ratio(times(best, current)) >= _GAIN:
            break
        current = best
    if _ratio(times(current, ())) >= _GAIN:
        raise UnsupportedError(
            "no choice of layers in integers is faster than float here",
            remedy="Quantize for bytes: int8-storage, int8-static.",
        )
    return current


def medians(models: Sequence[ModelProto], fed: Mapping[str, Array]) -> list[float]:
    """Median milliseconds of each, in turns, one thread."""
    engine, opened = find_engine("onnxruntime"), list[EngineSession]()
    try:
        for model in models:
            opened.append(engine.open({"model.onnx": model.SerializeToString()}, OpenOptions(threads=1)))
        calls = {str(at): partial(session.run, dict(fed)) for at, session in enumerate(opened)}
        taken = interleave(calls, clock=SystemClock(), min_runs=_RUNS, max_seconds=_SECONDS * len(calls))
    finally:
        for session in opened:
            session.close()
    return [taken[str(at)].p50_ms for at in range(len(models))]


def _without(layers: tuple[str, ...]) -> list[tuple[str, ...]]:
    """All but one, and all but two neighbours, in every way that leaves something."""
    return [
        (*layers[:at], *layers[at + count :]) for count in (1, 2) for at in range(len(layers) - count + 1) if len(layers) > count
    ]  # fmt: skip


def _ratio(times: Sequence[float]) -> float:
    return times[0] / times[1]
