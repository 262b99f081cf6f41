"""The main job on real input: the digit classifier from model files to answers, every step with its evidence.

Nothing here is particular to the demo: it calls what `pack`, `verify`, `load` and `predict` call.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from edgewise.bundle.bundle import Bundle
from edgewise.clock import Clock, SystemClock
from edgewise.compose.keys import default_signing_key, new_key
from edgewise.compose.loading import load
from edgewise.compose.pack_options import check_target
from edgewise.compose.verifying import Verified, verify_path
from edgewise.digits import load_split, model_bytes
from edgewise.graph.answer import softmax
from edgewise.graph.image import image_pipeline
from edgewise.graph.inspect import read_model
from edgewise.graph.join import append, prepend
from edgewise.importing.imported import ImportedModel
from edgewise.importing.onnx_file import onnx_from_bytes
from edgewise.measure.dataset import Dataset
from edgewise.measure.evaluation import predict_all
from edgewise.measure.latency import Latency, interleave
from edgewise.measure.metric import Metric
from edgewise.measure.metrics import accuracy
from edgewise.packing.pack import Packed, PackRequest, pack
from edgewise.packing.training_request import TrainingRequest
from edgewise.runtime.engine import Array
from edgewise.runtime.session import Session
from edgewise.store.bundles import install_bundle, write_file
from edgewise.store.home import Home

__all__ = ["DemoResult", "digits_data", "digits_models", "run_demo"]

_FULL_SCALE = 255 / 16  # the set's values go to 16, an image's to 255


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What happened, for the page: ``ours`` and ``bare`` are the chosen variant through edgewise and through onnxruntime alone."""

    path: Path
    packed: Packed
    verified: Verified
    session: Session
    measured: Metric
    ours: Latency
    bare: Latency

    def to_json(self) -> dict[str, Any]:
        origin = self.session.origin
        return {
            "bundle": str(self.path), "verified": self.verified.to_json(), "chosen": origin.variant,
            "engine": origin.engine, "provider": origin.provider, "reason": origin.reason,
            "accuracy": self.measured.to_json(), "latency": self.ours.to_json(), "bareLatency": self.bare.to_json(),
            "evaluations": [item.to_json() for item in self.packed.evaluations],
        }  # fmt: skip


def digits_models() -> dict[str, ImportedModel]:
    """The two variants, each from raw image (uint8, any size, light or dark paper) to probabilities in one graph."""
    models: dict[str, ImportedModel] = {}
    for name in ("fp32", "int8"):
        front = image_pipeline(size=(8, 8), channels=1, bright_ink=True, input_name="image")
        graph = append(prepend(front, read_model(model_bytes(name))), softmax("logits", "probabilities"))
        models[name] = onnx_from_bytes(f"digits-{name}.onnx", graph.SerializeToString())
    return models


def digits_data(split: str) -> Dataset:
    """One split of the UCI digits as images: x (N, 8, 8, 1) uint8 0..255."""
    x, y = load_split(split)
    images = np.round(x[..., None] * _FULL_SCALE).astype(np.uint8)
    return Dataset(images, y, None, tuple(map(str, range(10))), f"uci-digits-{split}")


def run_demo(
    output: Path,
    report: Callable[[str], None],
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    clock: Clock | None = None,
) -> DemoResult:
    """Pack, sign, verify, load, choose, answer. ``report`` is told each step as it begins."""
    clock, home = clock or SystemClock(), Home.default()
    check_target(output)
    if not home.default_key.exists():
        report("making a signing key")
        new_key(home.default_key, home, "me")
    report("packing fp32 and int8: golden set, receipts on 497 held-out images, a training step, signature")
    held_out = digits_data("eval")
    packed = pack(
        PackRequest(
            name="digits", version="1.0.0", models=digits_models(), task="classification", labels=held_out.labels,
            evaluation=held_out, golden=digits_data("calibration"), data_name=held_out.name,
            description="Handwritten digits 0-9 from an image of any size", licence="Apache-2.0",
            training=TrainingRequest(),
        ),
        default_signing_key(home), progress=progress,
    )  # fmt: skip
    write_file(packed.bundle, output)
    install_bundle(packed.bundle, home)
    report("verifying: every digest, the signature, the golden set on this device")
    verified = verify_path(str(output), None, replay=True)
    report("loading: the fastest variant that is right here")
    session = load(output, home=home, progress=progress)
    report("answering the held-out images")
    measured = accuracy(predict_all(session, held_out.x), held_out.y)
    report("timing it beside onnxruntime alone")
    ours, bare = _compare(packed.bundle, session, held_out.x[:1], clock)
    return DemoResult(output, packed, verified, session, measured, ours, bare)


def _compare(bundle: Bundle, session: Session, image: Array, clock: Clock) -> tuple[Latency, Latency]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    model = next(iter(bundle.model_files(session.variant).values()))
    plain = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    calls: dict[str, Callable[[], object]] = {
        "ours": lambda: session.predict(image),
        "bare": lambda: plain.run(None, {"image": image}),
    }
    timed = interleave(calls, clock=clock, max_seconds=2.0)
    return timed["ours"], timed["bare"]
