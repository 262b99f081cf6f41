"""Passes that are quick and certain, and a search over the digits to put them into."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper

from edgewise.clock import FixedClock
from edgewise.compress.graph.simplify import Simplify
from edgewise.compress.passes import Pass, Watch, nobody
from edgewise.compress.samples import Samples
from edgewise.compress.search.bench import Bench
from edgewise.compress.search.budget import Budget
from edgewise.compress.search.executor import Executor, Here
from edgewise.compress.search.fine_tune import FineTune
from edgewise.compress.search.halving import Effort
from edgewise.compress.search.journal import Journal
from edgewise.compress.search.run import Search, Settings
from edgewise.compress.search.space import Chain, Link
from edgewise.compress.search.trial import Timing
from edgewise.compress.tuning import Tuning
from edgewise.digits import load_split, model_bytes
from edgewise.errors import UnsupportedError
from edgewise.graph.image import image_pipeline
from edgewise.graph.inspect import read_model
from edgewise.graph.join import prepend
from edgewise.measure.dataset import Dataset

__all__ = ["Ticking", "bench", "chain", "digits", "make_search", "model", "settings"]


class Ticking(FixedClock):
    """A clock on which every reading is a millisecond after the one before: all models are equally fast, every time."""

    def seconds(self) -> float:
        self.advance(0.001)
        return super().seconds()


@dataclass(frozen=True)
class Dynamic:
    """onnxruntime's own dynamic quantizer."""

    name: str = "dynamic"

    def describe(self) -> str:
        return "weights as int8"

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:
        from onnxruntime.quantization import quantize_dynamic

        with TemporaryDirectory() as folder:
            onnx.save(model, f"{folder}/in.onnx")
            quantize_dynamic(f"{folder}/in.onnx", f"{folder}/out.onnx")
            return onnx.load(f"{folder}/out.onnx")


@dataclass(frozen=True)
class Coarse:
    """Weights on a grid of ``levels`` steps: as many bytes, another accuracy."""

    levels: int
    log: Path | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return f"coarse:{self.levels}"

    def describe(self) -> str:
        return f"weights on {self.levels} levels"

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:
        changed = ModelProto()
        changed.CopyFrom(model)
        for tensor in changed.graph.initializer:
            array = numpy_helper.to_array(tensor)
            if array.ndim > 1 and array.dtype == np.float32:
                step = np.abs(array).max() / self.levels
                tensor.CopyFrom(
                    numpy_helper.from_array((np.round(array / step) * step).astype(np.float32), tensor.name)
                )
        return changed


@dataclass(frozen=True)
class Refusing:
    name: str = "refusing"

    def describe(self) -> str:
        return "nothing"

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:
        raise UnsupportedError("Softmax (probabilities): nothing to do here")


def model() -> bytes:
    """The digits model, from images to logits."""
    front = image_pipeline(size=(8, 8), channels=1, input_name="image")
    return prepend(front, read_model(model_bytes("fp32"))).SerializeToString(deterministic=True)


def digits(split: str, count: int) -> Dataset:
    x, y = load_split(split)
    return Dataset((x[:count, :, :, None] * 15).astype(np.uint8), y[:count])


def bench() -> Bench:
    return Bench(Samples(digits("train", 400), "classification", "image", "logits"), digits("calibration", 200))


def chain(*links: Link) -> Chain:
    """A chain called as its passes are with one epoch."""
    return Chain(" > ".join(link(Effort(1, 100), b"").name.split(":")[0] for link in links), links)


def fixed(each: Pass) -> Link:
    return lambda effort, teacher: each


def tune(effort: Effort, teacher: bytes) -> Pass:
    return FineTune(Tuning(epochs=effort.epochs, learning_rate=1e-4))


def settings(*, tuned: bool = False, **changed: object) -> Settings:
    """Chains that share beginnings, with little to do; tuned: two more of them learn, which takes longer."""
    simplify, dynamic = fixed(Simplify()), fixed(Dynamic())
    learning = (
        Chain("simplify > tune", (simplify, tune)), Chain("simplify > tune > dynamic", (simplify, tune, dynamic)),
    )  # fmt: skip
    chains = (
        Chain("simplify", (simplify,)), Chain("dynamic", (dynamic,)), Chain("simplify > dynamic", (simplify, dynamic)),
        *(learning if tuned else ()), Chain("simplify > refusing > dynamic", (simplify, fixed(Refusing()), dynamic)),
        Chain("coarse", (fixed(Coarse(2)),)), Chain("simplify > coarse", (simplify, fixed(Coarse(2)))),
    )  # fmt: skip
    quick = Timing(0.0, 2)
    values = {
        "chains": chains, "most": Effort(2, 300), "least": Effort(2, 64), "budget": Budget(), "finalists": 3, "memory": False,
        "rung_timing": quick, "final_timing": quick,
    }  # fmt: skip
    return Settings(**{**values, **changed})  # type: ignore[arg-type]


def make_search(
    folder: Path, how: Settings, *, resume: bool = True, executor: Executor | None = None,
    watch: Callable[..., None] = lambda progress: None,
) -> tuple[Search, Journal]:  # fmt: skip
    given, journal = bench(), Journal.open(folder, {"of": "digits"}, resume=resume)
    search = Search(
        how, model(), model(), given, digits("eval", 497), journal=journal, executor=executor or Here(given),
        clock=Ticking(), watch=watch,
    )  # fmt: skip
    return search, journal
