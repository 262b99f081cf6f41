"""The golden set: well-formed or refused, and a replay that notices."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgewise.bundle.build import build_bundle
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.document import Document, Golden, Variant
from edgewise.bundle.safetensors import dump_arrays, parse_arrays
from edgewise.bundle.tensors import TensorSpec
from edgewise.digests import digest_of
from edgewise.errors import GoldenReplayError, HostileBundleError
from edgewise.runtime.device import read_device
from edgewise.runtime.engine import Array
from edgewise.runtime.golden_set import read_golden
from edgewise.runtime.opening import Candidate, open_candidate
from edgewise.runtime.replay import Replay, _worst, replay_golden, require_replay
from edgewise.runtime.session import Session
from edgewise.store.bundles import open_path
from edgewise.store.home import Home
from edgewise.testing.sample_bundles import ARRAYS_TYPE, sample_file

FP32 = Candidate("fp32", "onnxruntime", "CPUExecutionProvider")


def arrays_of(bundle: Bundle) -> dict[str, Array]:
    assert bundle.document.golden is not None
    return dict(parse_arrays(bundle.read(bundle.document.golden.file), "golden"))


def with_golden(bundle: Bundle, arrays: dict[str, Array]) -> Bundle:
    golden = bundle.document.golden
    assert golden is not None
    data = dump_arrays(arrays)
    file = replace(golden.file, digest=digest_of(data), size=len(data))
    document = replace(bundle.document, golden=replace(golden, file=file))
    return build_bundle(document, [*(bundle.read(f) for v in bundle.document.variants for f in v.files), data])


@pytest.fixture
def bundle(digits_bundle: Path) -> Bundle:
    return open_path(digits_bundle)


def opened(bundle: Bundle, tmp_path: Path) -> Session:
    return open_candidate(bundle, FP32, home=Home(tmp_path), device=read_device())


def test_a_sound_set_passes_with_its_numbers(bundle: Bundle, tmp_path: Path) -> None:
    replay = require_replay(bundle, opened(bundle, tmp_path))
    assert replay is not None
    assert replay.samples == 32
    assert replay.worst <= 1e-6
    assert replay.agreement == 1.0


@pytest.mark.parametrize("change", ["value", "nan", "shape"])
def test_one_changed_output_is_noticed(bundle: Bundle, tmp_path: Path, change: str) -> None:
    arrays = arrays_of(bundle)
    outputs = arrays["out/fp32/probabilities"].copy()
    if change == "value":
        outputs[5, 3] += 0.01
    elif change == "nan":
        outputs[5, 3] = np.nan
    else:
        outputs = outputs[:, :9].copy()
    spoilt = with_golden(bundle, arrays | {"out/fp32/probabilities": outputs})
    with pytest.raises(GoldenReplayError, match="fails its golden replay"):
        require_replay(spoilt, opened(spoilt, tmp_path))


def test_decisions_count_as_well_as_values(bundle: Bundle, tmp_path: Path) -> None:
    golden = bundle.document.golden
    assert golden is not None
    arrays = arrays_of(bundle)
    arrays["out/fp32/probabilities"] = np.roll(arrays["out/fp32/probabilities"], 1, axis=1)
    spoilt = with_golden(bundle, arrays)
    loose = replace(spoilt.document, golden=replace(spoilt.document.golden, absolute_by_variant={"fp32": 2.0}))  # type: ignore[type-var]
    files = [spoilt.read(file) for file in spoilt.document.all_files()]
    wide = build_bundle(loose, files)
    replay = replay_golden(wide, opened(wide, tmp_path))
    assert replay is not None
    assert replay.worst <= replay.allowed
    assert replay.agreement == 0.0
    assert not replay.passed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"in/image": None}, "lacks in/image"),
        ({"out/int8/probabilities": None}, "lacks out/int8"),
        ({"in/other": np.zeros((32, 3), np.float32)}, "'in/other'"),
        ({"out/fp32/other": np.zeros((32, 3), np.float32)}, "'out/fp32/other'"),
        ({"note": np.zeros(1, np.float32)}, "'note'"),
        ({"in/image": np.zeros((0, 8, 8, 1), np.uint8)}, "rows"),
    ],
)
def test_a_set_that_does_not_fit_the_interface_is_refused(
    bundle: Bundle, change: dict[str, Array | None], words: str
) -> None:
    arrays = {name: array for name, array in (arrays_of(bundle) | change).items() if array is not None}
    with pytest.raises(HostileBundleError, match=words):
        read_golden(with_golden(bundle, arrays))


@pytest.mark.parametrize(
    ("recorded", "unit"),
    [
        (np.array([[0.0, 1.0], [0.25, 0.75]], np.float32), 1.0),
        (np.array([[-10.0, 30.0]], np.float32), 40.0),
        (np.array([[3, 9]], np.uint8), 255.0),
        (np.array([[3, 9]], np.int16), 65_535.0),
        (np.array([[5.0, 5.0]], np.float32), 1.0),
    ],
    ids=["probabilities", "logits", "uint8", "int16", "constant"],
)
def test_the_absolute_tolerance_is_a_share_of_what_the_output_spreads_over(recorded: Array, unit: float) -> None:
    worst, allowed = _worst(recorded, recorded, 0.05, 0.0)
    assert (worst, allowed) == (0.0, pytest.approx(0.05 * unit))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 0.5])
def test_where_nothing_is_allowed_nothing_passes_not_even_what_is_no_number(
    bundle: Bundle, tmp_path: Path, wrong: float
) -> None:
    golden = bundle.document.golden
    assert golden is not None
    arrays = arrays_of(bundle)
    outputs = arrays["out/fp32/probabilities"].copy()
    outputs[3, 2] = wrong
    spoilt = with_golden(bundle, arrays | {"out/fp32/probabilities": outputs})
    exact = replace(
        spoilt.document, golden=replace(spoilt.document.golden, relative=0.0, absolute_by_variant={"fp32": 0.0})
    )  # type: ignore[type-var]
    built = build_bundle(exact, [spoilt.read(file) for file in spoilt.document.all_files()])
    replay = replay_golden(built, opened(built, tmp_path))
    assert replay is not None
    assert not replay.passed


def recorded_bundle(arrays: dict[str, Array], task: str = "tensor", decision: str = "", **golden: Any) -> Bundle:
    """y and z are the input as it is, above says where it is above 0, place is where the row is largest."""
    kinds = {"y": TensorProto.FLOAT, "z": TensorProto.FLOAT, "above": TensorProto.BOOL, "place": TensorProto.INT64}
    nodes = [
        *(helper.make_node("Identity", ["x"], [name]) for name in ("y", "z")),
        helper.make_node("Greater", ["x", "zero"], ["above"]), helper.make_node("ArgMax", ["x"], ["place"], axis=1),
    ]  # fmt: skip
    shapes = {name: ["batch", 1 if name == "place" else 2] for name in kinds}
    outputs = [helper.make_tensor_value_info(name, kind, shapes[name]) for name, kind in kinds.items()]
    into = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])
    graph = helper.make_graph(nodes, "g", [into], outputs, [helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    data = dump_arrays(arrays)
    specs = [
        TensorSpec(name, {"above": "bool", "place": "int64"}.get(name, "float32"), tuple(shapes[name]))
        for name in kinds
    ]
    document = Document(
        "m", "1", task, (TensorSpec("x", "float32", ("batch", 2)),), tuple(specs),
        (Variant("fp32", "onnx", "fp32", (sample_file("m.onnx", model),)),), decision,
        golden=Golden(sample_file("golden.safetensors", data, ARRAYS_TYPE), **golden),
    )  # fmt: skip
    return build_bundle(document, [model, data])


def replayed(tmp_path: Path, x: list[list[float]], recorded: dict[str, Any], **more: Any) -> Replay:
    arrays = {"in/x": np.array(x, np.float32)}
    for name, rows in recorded.items():
        kind = {"above": bool, "place": np.int64}.get(name, np.float32)
        arrays[f"out/fp32/{name}"] = np.array(rows, kind)
    bundle = recorded_bundle(arrays, **{"absolute": 0.0, "relative": 0.0, **more})
    replay = replay_golden(bundle, opened(bundle, tmp_path))
    assert replay is not None
    return replay


@pytest.mark.parametrize(
    ("recorded", "relative", "passed"),
    [([[1001, 0]], 0.01, True), ([[1001, 0]], 0.0001, False), ([[1001, 0]], 0.0, False), ([[1000, 0]], 0.0, True)],
)
def test_a_large_value_may_differ_by_its_share(
    tmp_path: Path, recorded: list[list[float]], relative: float, passed: bool
) -> None:
    assert replayed(tmp_path, [[1000, 0]], {"y": recorded}, relative=relative).passed is passed


def test_what_counts_is_the_value_furthest_beyond_what_is_allowed_at_its_place(tmp_path: Path) -> None:
    """5 of 1005 is allowed, 0.5 of 1.5 is not, though it is the smaller difference."""
    replay = replayed(tmp_path, [[1000, 1]], {"y": [[1005, 1.5]]}, relative=0.01)
    assert (replay.worst, replay.allowed) == (0.5, pytest.approx(0.015))
    assert not replay.passed


def test_where_nothing_is_allowed_nothing_passes_but_the_same_value(tmp_path: Path) -> None:
    assert replayed(tmp_path, [[0, 1000]], {"y": [[0, 1001]]}, relative=0.01).passed
    replay = replayed(tmp_path, [[0.25, 1000]], {"y": [[0, 1001]]}, relative=0.01)
    assert (replay.worst, replay.allowed, replay.passed) == (0.25, 0.0, False)


@pytest.mark.parametrize("spoilt", ["y", "z", "above"])
def test_every_output_counts_wherever_it_stands(tmp_path: Path, spoilt: str) -> None:
    right: dict[str, Any] = {"y": [[1, -1]], "z": [[1, -1]], "above": [[True, False]]}
    assert replayed(tmp_path, [[1, -1]], right, absolute=0.1).passed
    wrong = [[True, True]] if spoilt == "above" else [[1, 1]]
    assert not replayed(tmp_path, [[1, -1]], right | {spoilt: wrong}, absolute=0.1).passed


def test_the_tolerance_is_a_share_of_the_spread_and_may_be_used_up(tmp_path: Path) -> None:
    replay = replayed(tmp_path, [[0, 5]], {"y": [[0, 4]]}, absolute=0.25)
    assert (replay.worst, replay.allowed, replay.passed) == (1.0, 1.0, True)
    assert not replayed(tmp_path, [[0, 5.25]], {"y": [[0, 4]]}, absolute=0.25).passed
    assert replayed(tmp_path, [[2, 2.25]], {"y": [[2, 2]]}, absolute=0.25).passed, "without spread it is a plain number"


def test_class_indices_have_no_distance_but_count_as_decisions(tmp_path: Path) -> None:
    given: dict[str, Any] = {"task": "classification", "decision": "place", "absolute": 0.001}
    x, wrong = [[3.0, 1.0], [0.0, 1.0]], [[0], [0]]
    replay = replayed(tmp_path, x, {"place": wrong}, agreement=0.5, **given)
    assert (replay.worst, replay.agreement, replay.passed) == (0.0, 0.5, True)
    assert not replayed(tmp_path, x, {"place": wrong}, agreement=0.75, **given).passed
    given["task"] = "tensor"
    assert not replayed(tmp_path, x, {"place": wrong}, agreement=0.5, **given).passed, "no class: numbers like others"


def test_a_replay_passes_exactly_up_to_its_bounds() -> None:
    bound = Replay("fp32", 4, worst=1.0, allowed=1.0, agreement=0.75, needed_agreement=0.75)
    assert bound.passed
    assert bound.to_json()["passed"] is True
    assert not replace(bound, worst=1.01).passed
    assert not replace(bound, agreement=0.74).passed
    assert not replace(bound, worst=float("nan")).passed


def test_without_a_golden_set_there_is_nothing_to_replay(tmp_path: Path) -> None:
    bundle = recorded_bundle({"in/x": np.zeros((1, 2), np.float32)}, absolute=0.0, relative=0.0)
    plain = build_bundle(replace(bundle.document, golden=None), [bundle.read(bundle.document.variants[0].files[0])])
    assert read_golden(plain) is None
    assert require_replay(plain, opened(plain, tmp_path)) is None


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("in/image", (33, 8, 8, 1), "different numbers of rows"),
        ("in/image", (32, 1, 8, 8, 1, 1), "'in/image'"),
        ("in/image", (8, 1), "'in/image'"),
        ("out/fp32/probabilities", (), "'out/fp32/probabilities'"),
    ],
    ids=["rows", "axes", "few-axes", "no-axis"],
)
def test_rows_and_axes_have_to_be_those_of_the_interface(
    bundle: Bundle, name: str, shape: tuple[int, ...], words: str
) -> None:
    document = bundle.document
    more = replace(document, inputs=(*document.inputs, TensorSpec("scale", "float32", ("batch", 1))))
    data = arrays_of(bundle) | {"in/scale": np.ones((32, 1), np.float32)} | {name: np.zeros(shape, np.uint8)}
    files = [bundle.read(file) for variant in document.variants for file in variant.files]
    assert document.golden is not None
    two = build_bundle(more, [*files, bundle.read(document.golden.file)])
    with pytest.raises(HostileBundleError, match=words):
        read_golden(with_golden(two, data))
