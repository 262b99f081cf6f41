"""Writes spec/vectors/training: a small bundle that learns, and what a reader in any language must get when it does.

    python scripts/make_training_vectors.py [FOLDER]

What is committed stays readable whatever graphs later versions make of the same step; so it is read by tests, not made again.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgewise.bundle.bundle import Bundle
from edgewise.importing.onnx_file import onnx_from_bytes
from edgewise.measure.dataset import Dataset
from edgewise.packing.pack import PackRequest, pack
from edgewise.packing.training_request import TrainingRequest
from edgewise.store.bundles import write_file
from edgewise.testing.sample_bundles import PUBLIC_TEST_KEYS
from edgewise.training.personal.weights_file import write_weights
from edgewise.training.run.averages import AVERAGED
from edgewise.training.run.step_file import TrainingStep
from edgewise.training.run.stepper import Stepper

DEFAULT = Path(__file__).resolve().parent.parent / "spec" / "vectors" / "training"
SCALARS = {"learning_rate": 0.0625, "weight_decay": 0.0, "max_norm": 1.0}
STEPS = 10


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    x = rng.normal(size=(16, 4)).astype(np.float32)
    target = np.arange(16) % 3
    bundle = learner(x, rng)
    write_file(bundle, folder / "learner.bundle")
    (folder / "learner.json").write_text(json.dumps(expected(bundle, x, target), indent=1, sort_keys=True) + "\n")


def learner(x: np.ndarray[Any, Any], rng: np.random.Generator) -> Bundle:
    """Two layers and a Softmax, all of it trainable, released by the publisher."""
    request = PackRequest(
        "learner", "1.0.0", {"fp32": onnx_from_bytes("learner.onnx", model(rng).SerializeToString())}, "classification",
        labels=("up", "level", "down"), golden=Dataset(x, np.zeros(len(x))), golden_count=4,
        training=TrainingRequest(learning_rate=SCALARS["learning_rate"]),
    )  # fmt: skip
    return pack(request, PUBLIC_TEST_KEYS["publisher"]).bundle


def model(rng: np.random.Generator) -> ModelProto:
    weights = {"w1": (4, 6), "b1": (6,), "w2": (6, 3), "b2": (3,)}
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], "first"), helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["logits"], "second"),
        helper.make_node("Softmax", ["logits"], ["probabilities"], "softmax", axis=-1),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "learner", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array((rng.normal(size=shape) / 2).astype(np.float32), name) for name, shape in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def expected(bundle: Bundle, x: np.ndarray[Any, Any], target: np.ndarray[Any, Any]) -> dict[str, Any]:
    """The losses of some steps over one batch, answers before and after, and what the weights are bound to."""
    (entry,) = bundle.document.training
    stepper = Stepper(TrainingStep.from_blobs(bundle.training_parts(entry)), threads=1)
    before = stepper.predict({"x": x})["probabilities"]
    results = [stepper.step({"x": x, "target": target}, SCALARS) for _ in range(STEPS)]
    digest = entry.digest(bundle.document.files)
    with TemporaryDirectory() as folder:
        write_weights(Path(folder) / "weights", stepper.state(AVERAGED), digest)
        weights = (Path(folder) / "weights").read_bytes()
    return {
        "digest": digest, "x": x.tolist(), "target": target.tolist(), "scalars": SCALARS,
        "losses": [result.loss for result in results], "gradNorms": [result.grad_norm for result in results],
        "before": before.tolist(), "after": stepper.predict({"x": x})["probabilities"].tolist(),
        "weights": weights.hex(),
    }  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT)
