"""From process start to the first answer, and what `import edgewise` adds to `import onnxruntime`."""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import edgewise
from benchmarks.bundles import models, write_signed
from benchmarks.page import write_page

_ROUNDS = 40
_BARE = """
import os, sys, numpy as np, onnxruntime as ort
options = ort.SessionOptions(); options.intra_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
session.run(None, {sys.argv[2]: np.load(sys.argv[3])})
os._exit(0)  # the answer is there: what taking the process down costs is not what is measured
"""
_OURS = """
import os, sys, numpy as np, edgewise
edgewise.load(sys.argv[1], home=sys.argv[2]).predict(np.load(sys.argv[3]))
os._exit(0)
"""
_IMPORTS = {"import onnxruntime": "import onnxruntime", "import edgewise": "import onnxruntime, edgewise"}


def run() -> str:
    import numpy as np

    from edgewise.measure.samples import synthetic

    rows = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        model = models()["digits int8"]
        path, home = write_signed(model, folder)
        (folder / "model.onnx").write_bytes(model.model)
        edgewise.load(path, home=home).close()  # the first load on a device measures; a start is not the first load
        np.save(folder / "x.npy", synthetic(model.inputs[0]))
        x = str(folder / "x.npy")
        first = _in_turns(
            {
                "onnxruntime script": [_BARE, str(folder / "model.onnx"), model.inputs[0].name, x],
                "edgewise": [_OURS, str(path), str(home.root), x],
            }
        )
        bare, ours = first.values()
        rows.append(
            ("process start to first answer", f"{bare:.0f}", f"{ours:.0f}", f"{ours - bare:+.1f}", f"{ours / bare:.2f}")
        )
    bare, ours = _in_turns({what: [code] for what, code in _IMPORTS.items()}).values()
    rows.append(
        (
            "import onnxruntime; import edgewise",
            f"{bare:.0f}",
            f"{ours:.0f}",
            f"{ours - bare:+.1f}",
            f"{ours / bare:.2f}",
        )
    )
    how = f"Medians of {_ROUNDS} processes each, in turns, milliseconds of wall time; digits int8, signature verified, choice kept."
    return write_page("startup", ("what", "onnxruntime alone", "with edgewise", "difference", "ratio"), rows, how)


def _in_turns(programs: dict[str, list[str]]) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(_ROUNDS + 2):
        for name, (code, *arguments) in programs.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code, *arguments], check=True, env=_environment())
            if turn >= 2:  # the first two warm the disk cache
                taken[name].append((time.perf_counter() - start) * 1000)
    return {name: median(times) for name, times in taken.items()}


def _environment() -> dict[str, str]:
    # As on a device: modules are compiled once, when they are installed or first used.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "ORT_DISABLE_TELEMETRY": "1"}
