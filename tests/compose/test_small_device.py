"""A device with 200 MB of free memory manages the small networks: load, learn, answer, in one process, with the estimate kept."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx_ad")

from edgewise.compose.demo import digits_data, digits_models
from edgewise.importing.onnx_file import onnx_from_bytes
from edgewise.measure.dataset import Dataset
from edgewise.networks.registry import build
from edgewise.packing.pack import PackRequest, pack
from edgewise.packing.training_request import TrainingRequest
from edgewise.store.bundles import write_file

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")

FREE = 200 * 10**6  # bytes of the whole process, libraries included
EXAMPLES = 50
# Two loads: the first one measures and chooses, in a process of its own, as a device would have done at installation.
CODE = """
import json, sys
import numpy as np, edgewise

def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

request = json.loads(sys.argv[1])
session = edgewise.load(request["bundle"], unsafe_no_verification=True)
data = np.load(request["data"])
session.predict(data["x"][:1])
if request["learn"]:
    before = status("VmRSS")
    trainer = session.trainer(budget=request["budget"], threads=1)
    result = trainer.fit(data["x"], data["y"], epochs=4, batch=32, learning_rate=1e-3)
    print(json.dumps({
        "losses": [record.loss for record in result.history], "peak": status("VmHWM"), "before": before,
        "estimate": trainer.step.memory.peak(32), "label": str(trainer.predict(data["x"][:1]).index),
    }))
"""


def learner(name: str, folder: Path) -> tuple[Path, Path]:
    """A bundle that learns, and 50 examples."""
    rng = np.random.default_rng(0)
    if name == "digits":
        data = digits_data("calibration")
        models, x, y = digits_models(), data.x[:EXAMPLES], data.y[:EXAMPLES]
    else:
        models = {"fp32": onnx_from_bytes(f"{name}.onnx", build(name).SerializeToString())}
        (spec,) = models["fp32"].inputs
        x = rng.normal(size=(EXAMPLES, *spec.shape[1:])).astype(np.float32)
        y = rng.integers(0, 10, EXAMPLES)
    np.savez(folder / "data.npz", x=x, y=y)
    request = PackRequest(
        name, "1", models, "classification", golden=Dataset(x, y), golden_count=8, training=TrainingRequest()
    )
    write_file(pack(request, None).bundle, folder / "learner.bundle")
    return folder / "learner.bundle", folder / "data.npz"


def run(bundle: Path, data: Path, budget: int, learn: bool) -> Any:
    request = {"bundle": str(bundle), "data": str(data), "budget": budget, "learn": learn}
    done = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(request)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout) if learn else None


@pytest.mark.parametrize("name", ["digits", "ds-cnn", "gru"])
def test_a_small_network_learns_in_200_mb_and_as_it_was_estimated(name: str, tmp_path: Path) -> None:
    bundle, data = learner(name, tmp_path)
    run(bundle, data, FREE, learn=False)
    found = run(bundle, data, 100 << 20, learn=True)
    print(
        f"{name}: {found['peak'] / 1e6:.0f} MB at the peak, of which {(found['peak'] - found['before']) / 1e6:.0f} MB to learn"
    )
    assert found["losses"][-1] < found["losses"][0]
    assert found["peak"] < FREE
    # The estimate counts from a process that has the runtime loaded; what else a trainer imports comes on top.
    assert found["peak"] - found["before"] < found["estimate"] + (8 << 20)
