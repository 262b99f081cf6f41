"""A comparison says how far off a model is; NaN, other shapes and nothing at all never pass."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgewise.errors import DataError, MismatchError
from edgewise.importing.check import (
    Comparison,
    check_against,
    checked_against,
    compare_outputs,
    measure_outputs,
    require_faithful,
)
from edgewise.importing.imported import ImportedModel
from edgewise.importing.onnx_file import onnx_from_bytes
from edgewise.importing.tflite_file import import_tflite

ROWS = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]], np.float32)


def compare(want: npt.ArrayLike, have: npt.ArrayLike, absolute: float = 1e-3, relative: float = 0.0) -> Comparison:
    return compare_outputs(
        {"y": np.asarray(want)}, {"y": np.asarray(have)}, absolute=absolute, relative=relative, what="m"
    )


def test_equal_outputs_differ_by_nothing() -> None:
    found = compare(ROWS, ROWS)
    assert (found.max_absolute, found.max_relative, found.agreement) == (0.0, 0.0, 1.0)
    assert found.cosine == pytest.approx(1.0)


def test_every_number_of_a_comparison_is_what_numpy_says() -> None:
    have = ROWS.copy()
    have[1] = [0.45, 0.55]
    found = compare(ROWS, have, absolute=1.0)
    assert found.max_absolute == pytest.approx(0.35)
    assert found.max_relative == pytest.approx(0.35 / 0.2)
    assert found.agreement == pytest.approx(2 / 3)
    left, right = ROWS.ravel().astype(float), have.ravel().astype(float)
    assert found.cosine == pytest.approx(left @ right / np.linalg.norm(left) / np.linalg.norm(right))


def test_over_tolerance_names_the_worst_place_and_all_numbers() -> None:
    have = ROWS.copy()
    have[2, 1] += 0.5
    with pytest.raises(MismatchError) as caught:
        compare(ROWS, have)
    details = caught.value.details
    assert details["worst"] == {"output": "y", "index": [2, 1]}
    assert details["maxAbsolute"] == pytest.approx(0.5)
    assert details["expected"] == "0.7"
    json.dumps(details, allow_nan=False)


def test_the_tolerance_is_absolute_plus_relative_of_the_reference() -> None:
    compare([[100.0, 1.0]], [[101.0, 1.0]], absolute=0.0, relative=0.0101)
    with pytest.raises(MismatchError):
        compare([[100.0, 1.0]], [[101.0, 1.0]], absolute=0.0, relative=0.0099)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("both", [False, True])
def test_what_is_not_finite_never_passes_not_even_on_both_sides(bad: float, both: bool) -> None:
    have = ROWS.copy()
    have[0, 0] = bad
    for tolerance in (1e-3, 1e30):
        with pytest.raises(MismatchError) as caught:
            compare(have if both else ROWS, have, absolute=tolerance)
        json.dumps(caught.value.details, allow_nan=False)
        assert caught.value.details["maxAbsolute"] is None
    with pytest.raises(MismatchError):
        measure_outputs({"y": have if both else ROWS}, {"y": have}, what="m")


@pytest.mark.parametrize("have", [ROWS[:2], ROWS[np.newaxis], ROWS.ravel(), np.float32(1.0)])
def test_another_shape_never_passes_even_where_it_would_broadcast(have: npt.NDArray[np.float32]) -> None:
    with pytest.raises(MismatchError, match="should be"):
        compare(ROWS, have, absolute=1e9)


def test_a_missing_output_and_nothing_to_compare_never_pass() -> None:
    with pytest.raises(MismatchError, match="there is nothing"):
        compare_outputs({"y": ROWS}, {"z": ROWS}, absolute=1.0, relative=0.0, what="m")
    with pytest.raises(MismatchError, match="nothing to compare"):
        compare_outputs({}, {"y": ROWS}, absolute=1.0, relative=0.0, what="m")
    with pytest.raises(MismatchError, match="nothing to compare"):
        compare(ROWS[:0], ROWS[:0])


def test_large_integers_that_doubles_cannot_tell_apart_are_told_apart() -> None:
    with pytest.raises(MismatchError):
        compare([2**53], [2**53 + 1], absolute=0.5)


def test_text_is_equal_or_not() -> None:
    compare(np.array(["a", "b"]), np.array(["a", "b"], object))
    with pytest.raises(MismatchError):
        compare(np.array(["a", "b"]), np.array(["a", "c"]), absolute=1e9)


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=8), st.floats(0, 10), st.floats(0, 1))
def test_law_passes_exactly_where_allclose_does(values: list[float], shift: float, allowed: float) -> None:
    want = np.array(values)
    have = want + shift
    if np.allclose(have, want, atol=allowed, rtol=0.0):
        compare(want, have, absolute=allowed)
    else:
        with pytest.raises(MismatchError):
            compare(want, have, absolute=allowed)


# ------------------------------------------------------------------------ reference files


def test_a_reference_file_with_other_names_is_refused(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs the extra litert")
    model = import_tflite(shared_data / "model_kws_dscnn" / "kws_ref_model_int8.tflite")
    np.savez(tmp_path / "r.npz", **{"in/x": np.zeros((1, 49, 10, 1), np.int8), "out/Identity": np.zeros((1, 12))})
    with pytest.raises(DataError, match="missing"):
        check_against(model, tmp_path / "r.npz")


def test_pickled_arrays_and_what_is_no_npz_are_refused(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs the extra litert")
    model = import_tflite(shared_data / "model_kws_dscnn" / "kws_ref_model_int8.tflite")
    np.savez(tmp_path / "r.npz", **{"in/input_1": np.array([{"a": 1}], object)})
    (tmp_path / "s.npz").write_bytes(b"no zip")
    for name in ("r.npz", "s.npz"):
        with pytest.raises(DataError, match=r"no \.npz|objects never"):
            check_against(model, tmp_path / name)


# ------------------------------------------------------------------------ several outputs, batches of one


def test_the_numbers_are_those_of_the_worst_output_wherever_it_stands() -> None:
    want = {"a": ROWS, "b": ROWS, "c": ROWS}
    turned = ROWS[:, ::-1].copy()
    for worst in want:
        got = want | {worst: turned}
        found = measure_outputs(want, got, what="m")
        assert found.worst[0] == worst
        assert found.max_absolute == pytest.approx(0.8)
        assert found.max_relative == pytest.approx(8)
        assert found.cosine == pytest.approx(measure_outputs({"y": ROWS}, {"y": turned}, what="m").cosine)
        assert found.agreement == pytest.approx(2 / 3)


def test_rows_decide_only_where_there_is_something_to_choose() -> None:
    assert compare([[1.0], [2.0]], [[2.0], [1.0]], absolute=9).agreement == 1.0
    assert compare([1.0, 2.0], [2.0, 1.0], absolute=9).agreement == 1.0
    assert compare([[1.0, 2.0]], [[2.0, 1.0]], absolute=9).agreement == 0.0


def test_a_cosine_that_is_no_number_is_below_every_bound() -> None:
    for cosine, passes in ((1.0, True), (0.9, True), (0.8999, False), (-1.0, False), (np.nan, False)):
        compared = Comparison(0.0, 0.0, cosine, 1.0, ("y", ()))
        if passes:
            require_faithful(compared, "m", "m")
        else:
            with pytest.raises(MismatchError, match=r"a cosine of 0\.9 is needed"):
                require_faithful(compared, "m", "m")


def sum_of_rows(batch: int | str, precision: str = "fp32") -> ImportedModel:
    """x (batch, 3) plus the mean of all of it: what comes out depends on what goes in together."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], keepdims=1),
        helper.make_node("Add", ["x", "m"], ["y"]),
    ]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 3]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "g", infos[:1], infos[1:]), opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    )
    return replace(onnx_from_bytes("m.onnx", model.SerializeToString()), precision=precision)


X = np.array([[0, 3, 6], [3, 3, 3], [9, 9, 0]], np.float32)
ALONE = X + X.mean(axis=1, keepdims=True)


def test_a_model_with_a_batch_of_one_is_checked_row_by_row(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", **{"in/x": X, "out/y": ALONE})
    np.savez(tmp_path / "all.npz", **{"in/x": X, "out/y": X + X.mean()})
    np.savez(tmp_path / "one.npz", **{"in/x": X[:1], "out/y": ALONE[:1]})
    for batch, right, wrong in ((1, "rows", "all"), ("batch", "all", "rows")):
        for name in (right, "one"):
            assert check_against(sum_of_rows(batch), tmp_path / f"{name}.npz").max_absolute < 1e-5
        with pytest.raises(MismatchError):
            check_against(sum_of_rows(batch), tmp_path / f"{wrong}.npz")


def test_fp32_is_held_to_the_tolerance_and_anything_smaller_to_the_cosine(tmp_path: Path) -> None:
    np.savez(tmp_path / "near.npz", **{"in/x": X, "out/y": ALONE + 0.125})
    np.savez(tmp_path / "far.npz", **{"in/x": X, "out/y": -ALONE})
    note = checked_against(sum_of_rows(1), tmp_path / "near.npz", absolute=0.25).notes[-1]
    assert note.startswith("m (fp32) against near.npz: largest difference 0.125")
    with pytest.raises(MismatchError):
        checked_against(sum_of_rows(1), tmp_path / "near.npz", absolute=0.0625)
    with pytest.raises(MismatchError):
        checked_against(sum_of_rows(1), tmp_path / "near.npz")
    note = checked_against(sum_of_rows(1, "int8"), tmp_path / "near.npz").notes[-1]
    assert note.startswith("m (int8) against near.npz: largest difference 0.125")
    with pytest.raises(MismatchError, match="a cosine of"):
        checked_against(sum_of_rows(1, "int8"), tmp_path / "far.npz", absolute=1e9)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"in/x": X, "in/z": X, "out/y": X}, r"unknown \['z'\]"), ({"in/x": X, "out/y": X, "out/z": X}, r"unknown \['z'\]"),
        ({"in/x": X}, "0 expected outputs"), ({"out/y": X}, r"missing \['x'\]"), ({"x": X, "y": X}, r"missing \['x'\]"),
    ],
    ids=["input", "output", "nothing", "missing", "prefix"],
)  # fmt: skip
def test_a_reference_names_inputs_and_outputs_of_the_model_and_nothing_else(
    tmp_path: Path, arrays: dict[str, npt.NDArray[np.float32]], words: str
) -> None:
    np.savez(tmp_path / "r.npz", **arrays)
    with pytest.raises(DataError, match=words) as caught:
        check_against(sum_of_rows(1), tmp_path / "r.npz")
    assert "in/NAME" in caught.value.remedy
