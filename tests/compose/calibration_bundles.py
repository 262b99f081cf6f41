"""A device that tells digits apart by a linear classifier, a coarse one beside it, and an upstream that is much better."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edgewise.bundle.bundle import Bundle
from edgewise.digits import load_split, model_bytes
from edgewise.importing.onnx_file import onnx_from_bytes
from edgewise.measure.dataset import Dataset
from edgewise.packing.pack import PackRequest, pack
from edgewise.store.bundles import write_file
from edgewise.trust.keys import PrivateKey

LABELS = tuple(str(digit) for digit in range(10))


def linear(pool: int = 1, classes: int = 10) -> bytes:
    """Ridge regression on the training images, their pixels averaged in squares: 94 % right, at pool 2 83 %."""
    x, y = load_split("train")
    flat = x.reshape(-1, 8 // pool, pool, 8 // pool, pool).mean(axis=(2, 4)).reshape(len(x), -1) / 16
    flat = np.concatenate([flat, np.ones((len(x), 1))], axis=1)
    weights = np.linalg.solve(flat.T @ flat + np.eye(flat.shape[1]), flat.T @ np.eye(classes)[y % classes]) * 8
    nodes = [
        helper.make_node("AveragePool", ["pixels"], ["pooled"], kernel_shape=[pool, pool], strides=[pool, pool]),
        helper.make_node("Flatten", ["pooled"], ["flat"]), helper.make_node("Gemm", ["flat", "w", "b"], ["logits"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "linear", [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(part.astype(np.float32), name) for part, name in ((weights[:-1], "w"), (weights[-1], "b"))],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    data: bytes = made.SerializeToString()
    return data


def field() -> Dataset:
    """The 797 images that no model here learnt from, in one mixed order; x (N, 1, 8, 8) float32 of 0..1."""
    parts = [load_split(name) for name in ("calibration", "eval")]
    x = np.concatenate([part[0] for part in parts])[:, None].astype(np.float32) / 16
    y = np.concatenate([part[1] for part in parts])
    order = np.random.default_rng(0).permutation(len(x))
    return Dataset(x[order], y[order], None, LABELS, "field")


def save_field(folder: Path, **changed: np.ndarray | None) -> Path:
    """``field`` as an .npz; ``changed`` replaces arrays, or leaves out those that are None."""
    data = field()
    arrays = {"x": data.x, "y": data.y, "class_names": np.array(LABELS), **changed}
    path = folder / "field.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def device(key: PrivateKey | None, labels: tuple[str, ...] = LABELS) -> Bundle:
    """Variants linear and coarse."""
    models = {name: onnx_from_bytes(f"{name}.onnx", linear(pool)) for name, pool in (("linear", 1), ("coarse", 2))}
    return _packed("device", models, key, labels)


def upstream(key: PrivateKey | None, labels: tuple[str, ...] = LABELS) -> Bundle:
    """99.6 % right."""
    return _packed("large", {"fp32": onnx_from_bytes("large.onnx", model_bytes("fp32"))}, key, labels)


def _packed(name: str, models: dict, key: PrivateKey | None, labels: tuple[str, ...]) -> Bundle:
    data = field()
    request = PackRequest(
        name=name, version="1.0.0", models=models, task="classification", labels=labels, golden=data, golden_count=4,
        allow_unfaithful=True,
    )  # fmt: skip
    return pack(request, key).bundle


def write(bundle: Bundle, path: Path) -> Path:
    write_file(bundle, path)
    return path
