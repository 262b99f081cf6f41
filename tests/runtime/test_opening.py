"""Opening a variant: with the engine, provider and threads of its candidate, and a cache that is good for nothing else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgewise.bundle.build import build_bundle
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.document import Document, Variant
from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import UnsupportedError
from edgewise.runtime.device import read_device
from edgewise.runtime.onnxruntime_engine import OnnxRuntimeEngine
from edgewise.runtime.opening import Candidate, cache_folder, open_candidate
from edgewise.runtime.session import Session
from edgewise.store.home import Home
from edgewise.testing.sample_bundles import sample_file

CPU = Candidate("fp32", "onnxruntime", "CPUExecutionProvider")
FILES = (sample_file("m.onnx", b"graph"), sample_file("m.data", b"weights"))
VARIANT = Variant("fp32", "onnx", "fp32", FILES)


class UpdatedEngine(OnnxRuntimeEngine):
    """The same runtime after an update."""

    def version(self) -> str:
        return super().version() + ".1"


def two_outputs(decision: str = "", **extra: Any) -> Bundle:
    nodes = [helper.make_node("Identity", ["x"], ["first"]), helper.make_node("Neg", ["x"], ["second"])]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("x", "first", "second")]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    outputs = (
        TensorSpec("first", "float32", ("batch", 2), extra=extra),
        TensorSpec("second", "float32", ("batch", 2)),
    )
    variants = (Variant("fp32", "onnx", "fp32", (sample_file("m.onnx", model),)),)
    inputs = (TensorSpec("x", "float32", ("batch", 2)),)
    return build_bundle(Document("m", "1", "tensor", inputs, outputs, variants, decision, ("a", "b")), [model])


def opened(bundle: Bundle, folder: Path, candidate: Candidate = CPU, **more: Any) -> Session:
    return open_candidate(bundle, candidate, home=Home(folder), device=read_device(), **more)


def test_whatever_a_compiled_copy_depends_on_has_a_folder_of_its_own(tmp_path: Path) -> None:
    home, engine, device = Home(tmp_path), OnnxRuntimeEngine(), read_device()
    folders = [
        cache_folder(home, VARIANT, engine, CPU, device),
        cache_folder(home, replace(VARIANT, files=(sample_file("m.onnx", b"other"), FILES[1])), engine, CPU, device),
        cache_folder(home, replace(VARIANT, files=(FILES[0], sample_file("m.data", b"other"))), engine, CPU, device),
        cache_folder(home, VARIANT, UpdatedEngine(), CPU, device),
        cache_folder(home, VARIANT, engine, replace(CPU, engine="openvino"), device),
        cache_folder(home, VARIANT, engine, replace(CPU, provider="CUDAExecutionProvider"), device),
        cache_folder(home, VARIANT, engine, replace(CPU, threads=2), device),
        cache_folder(home, VARIANT, engine, CPU, replace(device, memory=device.memory + 1)),
    ]
    assert len(set(folders)) == len(folders)
    assert all(folder.is_relative_to(home.cache) for folder in folders)
    assert cache_folder(home, replace(VARIANT, name="renamed"), engine, CPU, device) == folders[0], "the files decide"


def test_copies_of_an_older_engine_are_deleted_and_those_for_other_threads_stay(tmp_path: Path) -> None:
    home, device = Home(tmp_path), read_device()
    old = cache_folder(home, VARIANT, OnnxRuntimeEngine(), CPU, device)
    other = cache_folder(home, VARIANT, OnnxRuntimeEngine(), replace(CPU, threads=2), device)
    for folder in (old, other):
        folder.mkdir(parents=True)
        (folder / "optimised.onnx").write_bytes(b"compiled")
    assert cache_folder(home, VARIANT, OnnxRuntimeEngine(), CPU, device) == old
    assert old.exists(), "what is there and fits stays"
    new = cache_folder(home, VARIANT, UpdatedEngine(), CPU, device)
    assert not new.exists()
    assert not old.exists()
    assert other.exists()


def test_the_copy_is_kept_below_the_home(tmp_path: Path) -> None:
    opened(two_outputs(), tmp_path).close()
    assert [path.name for path in sorted((tmp_path / "cache" / "compiled").rglob("*.onnx"))] == ["optimised.onnx"]


def test_a_home_that_cannot_be_written_costs_the_copy_and_not_the_answer(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with opened(two_outputs(), tmp_path / "file" / "home") as session:
        assert session.predict(np.ones(2, np.float32)).output.tolist() == [1, 1]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads in /proc")
@pytest.mark.parametrize("threads", [1, 3])
def test_as_many_threads_work_as_the_candidate_says(tmp_path: Path, threads: int) -> None:
    """The calling thread is one of them."""
    before = set(Path("/proc/self/task").iterdir())
    with opened(two_outputs(), tmp_path, replace(CPU, threads=threads)):
        assert len(set(Path("/proc/self/task").iterdir()) - before) == threads - 1


def test_placement_is_recorded_where_it_is_asked_for_and_only_there(tmp_path: Path) -> None:
    with opened(two_outputs(), tmp_path, record_placement=True) as session:
        assert set(session.placement().counts()) == {"CPUExecutionProvider"}
    with opened(two_outputs(), tmp_path) as session, pytest.raises(UnsupportedError, match="without recording"):
        session.placement()


@pytest.mark.parametrize(("decision", "said"), [("", [1, 2]), ("first", [1, 2]), ("second", [-1, -2])])
def test_the_output_that_decides_is_the_documents_or_else_the_first(
    tmp_path: Path, decision: str, said: list[float]
) -> None:
    with opened(two_outputs(decision), tmp_path, reason="because") as session:
        assert session.predict(np.array([1, 2], np.float32)).output.tolist() == said
        origin = session.origin
    assert (origin.variant, origin.engine, origin.provider) == ("fp32", "onnxruntime", "CPUExecutionProvider")
    assert (origin.labels, origin.reason, origin.task, origin.batched) == (("a", "b"), "because", "tensor", True)


@pytest.mark.parametrize(
    ("stated", "scale"),
    [
        ({"scale": 0.5, "zeroPoint": -3}, (0.5, -3)),
        ({"scale": 2, "zeroPoint": 0}, (2.0, 0)),
        ({"scale": 0.0, "zeroPoint": 0}, (1.0, 0)),
        ({"scale": -1.0, "zeroPoint": 0}, (1.0, 0)),
        ({"scale": True, "zeroPoint": 0}, (1.0, 0)),
        ({"scale": 0.5}, (1.0, 0)),
        ({"scale": "0.5", "zeroPoint": 1}, (1.0, 0)),
        ([0.5, 1], (1.0, 0)),
    ],
    ids=str,
)
def test_a_scale_is_taken_from_the_interface_only_where_it_can_be_one(
    tmp_path: Path, stated: Any, scale: tuple[float, int]
) -> None:
    with opened(two_outputs(quantization=stated), tmp_path) as session:
        assert session.origin.scale == scale
