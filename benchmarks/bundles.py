"""Bundles for benchmarks: made once per run, from the demo's models and from public ones where they are."""

import os
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edgewise.compose.demo import digits_models
from edgewise.importing.imported import ImportedModel
from edgewise.importing.onnx_file import onnx_from_bytes
from edgewise.packing.pack import PackRequest, pack
from edgewise.store.bundles import write_file
from edgewise.store.home import Home
from edgewise.trust.keys import PrivateKey
from edgewise.trust.root import TrustRoot

SHARED = Path(os.environ.get("EDGEWISE_DATA") or Path(__file__).resolve().parent.parent.parent / "shared" / "data")


def models() -> dict[str, ImportedModel]:
    """Name -> model, smallest first."""
    found = {"one Gemm (2.6 KB)": _gemm(), **{f"digits {name}": model for name, model in digits_models().items()}}
    for name, path in (
        ("keyword spotting fp32 (100 KB)", "model_kws_dscnn/kws_ds_cnn_fp32.onnx"),
        ("person detection fp32 (857 KB)", "model_vision_mobilenet/vww_96_fp32.onnx"),
    ):
        if (SHARED / path).exists():
            found[name] = onnx_from_bytes(Path(path).name, (SHARED / path).read_bytes())
    return found


def write_signed(model: ImportedModel, folder: Path) -> tuple[Path, Home]:
    """A signed bundle with one variant, and a home that trusts its key."""
    key, home = PrivateKey.new(), Home(folder / "home")
    home.root.mkdir(parents=True, exist_ok=True)
    home.trust_root.write_bytes(TrustRoot().with_key(key.public, "benchmark").to_bytes())
    packed = pack(
        PackRequest(name="model", version="1.0.0", models={model.precision: model}, task="classification"), key
    )
    path = folder / "model.bundle"
    write_file(packed.bundle, path)
    return path, home


def _gemm() -> ImportedModel:
    weights = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["y"])],
        "gemm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return onnx_from_bytes("gemm.onnx", model.SerializeToString())
