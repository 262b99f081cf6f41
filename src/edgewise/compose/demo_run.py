"""The main job on real input: a big digit classifier made small, packed, loaded, used, and the big one upstream of it.

Nothing here is particular to the demo: it calls what `compress`, `pack`, `verify`, `load` and `predict` call.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort

from edgewise.bundle.bundle import Bundle
from edgewise.clock import Clock, SystemClock
from edgewise.compose.demo import digits_data, digits_model
from edgewise.compose.demo_compress import Form, made_small
from edgewise.compose.demo_route import Routed, routed
from edgewise.compose.keys import default_signing_key, new_key
from edgewise.compose.loading import load
from edgewise.compose.pack_options import check_target
from edgewise.compose.verifying import Verified, verify_path
from edgewise.graph.inspect import read_model
from edgewise.importing.onnx_file import onnx_from_bytes
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

__all__ = ["DemoResult", "run_demo"]


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What happened, for the page. forms: the big network, and what each step of making it small made of it.

    ``ours`` and ``bare`` are the chosen variant through edgewise and through onnxruntime alone. routed: with the big one upstream.
    """

    path: Path
    forms: tuple[Form, ...]
    packed: Packed
    verified: Verified
    session: Session
    measured: Metric
    ours: Latency
    bare: Latency
    routed: Routed

    def to_json(self) -> dict[str, Any]:
        origin = self.session.origin
        return {
            "bundle": str(self.path), "forms": [form.to_json() for form in self.forms],
            "verified": self.verified.to_json(), "chosen": origin.variant,
            "engine": origin.engine, "provider": origin.provider, "reason": origin.reason,
            "accuracy": self.measured.to_json(), "latency": self.ours.to_json(), "bareLatency": self.bare.to_json(),
            "routed": self.routed.to_json(), "evaluations": [item.to_json() for item in self.packed.evaluations],
        }  # fmt: skip


def run_demo(
    output: Path,
    report: Callable[[str], None],
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    clock: Clock | None = None,
) -> DemoResult:
    """Make small, pack, sign, verify, load, choose, answer, pass on. ``report`` is told each step as it begins."""
    clock, home = clock or SystemClock(), Home.default()
    check_target(output)
    if not home.default_key.exists():
        report("making a signing key")
        new_key(home.default_key, home, "me")
    big, held_out = read_model(digits_model("fp32").model), digits_data("eval")
    forms = made_small(big, digits_data("train"), held_out, clock=clock, report=report, progress=progress)
    models = {
        name: onnx_from_bytes(f"digits-{name}.onnx", form.model)
        for name, form in (("big", forms[0]), ("small", forms[-1]))
    }
    report("packing big and small: golden set, receipts on 497 held-out images, a training step, signature")
    packed = pack(
        PackRequest(
            name="digits", version="1.0.0", models=models, task="classification", labels=held_out.labels,
            evaluation=held_out, golden=digits_data("calibration"), data_name=held_out.name,
            description=_described(forms), licence="Apache-2.0", training=TrainingRequest(),
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
    passed_on = routed(packed.bundle, output, home, clock, report)
    return DemoResult(output, forms, packed, verified, session, measured, ours, bare, passed_on)


def _described(forms: Sequence[Form]) -> str:
    """What the bundle is, and how its small variant was made."""
    made = [f"{form.name}: {form.did}." for form in forms[1:]]
    return "\n".join(["Handwritten digits 0-9 from an image of any size.", "The variant small was made of big:", *made])


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
