"""What `predict` costs over `InferenceSession.run`: same model, one thread each, validation on."""

from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime as ort

import edgewise
from benchmarks.bundles import models, write_signed
from benchmarks.page import write_page
from edgewise.clock import SystemClock
from edgewise.measure.latency import interleave
from edgewise.measure.samples import synthetic

_SECONDS = 6.0


def run() -> str:
    rows = []
    for name, model in models().items():
        with TemporaryDirectory() as folder:
            path, home = write_signed(model, Path(folder))
            session = edgewise.load(path, home=home, require={"engine": "onnxruntime"})
            options = ort.SessionOptions()
            options.intra_op_num_threads = session_threads = 1
            bare = ort.InferenceSession(model.model, options, providers=["CPUExecutionProvider"])
            x = synthetic(session.document.inputs[0])
            feed = session.document.inputs[0].name
            timed = interleave(
                {"ours": lambda s=session, a=x: s.predict(a), "bare": lambda b=bare, f=feed, a=x: b.run(None, {f: a})},
                clock=SystemClock(),
                max_seconds=_SECONDS,
            )
            ours, plain = timed["ours"].p50_ms * 1000, timed["bare"].p50_ms * 1000
            rows.append((name, f"{plain:.1f}", f"{ours:.1f}", f"{ours - plain:+.1f}", f"{ours / plain:.2f}"))
            session.close()
    how = f"Medians in microseconds, calls in turns, batch 1, {session_threads} thread, input checks on."
    return write_page("overhead", ("model", "`InferenceSession.run`", "`predict`", "difference", "ratio"), rows, how)
