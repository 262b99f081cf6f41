"""A variant that gives other answers than fp32 is refused with the numbers, before anything is packed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgewise.bundle.tensors import TensorSpec
from edgewise.digits import model_bytes
from edgewise.errors import MismatchError
from edgewise.importing.fidelity import compare_variants, seeded_inputs
from edgewise.importing.imported import ImportedModel
from edgewise.importing.onnx_file import import_onnx, onnx_from_bytes

onnx = pytest.importorskip("onnx", reason="needs the extra pack")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto


def dense(folder: Path, weights: object, name: str = "fp32") -> ImportedModel:
    array = np.asarray(weights, np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", array.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", array.shape[1]])],
        [numpy_helper.from_array(array, "w")],
    )  # fmt: skip
    path = folder / f"{name}.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    )
    return replace(import_onnx(path), name=name)


WEIGHTS = np.random.default_rng(3).normal(size=(32, 8))


def test_a_real_quantization_passes_and_its_numbers_are_in_the_notes(tmp_path: Path) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")
    reference = dense(tmp_path, WEIGHTS)
    quantization.quantize_dynamic(tmp_path / "fp32.onnx", tmp_path / "int8.onnx")
    ((model, compared),) = compare_variants(reference, [import_onnx(tmp_path / "int8.onnx")])
    assert 0.99 < compared.cosine < 1.0
    assert compared.max_absolute > 0.0
    assert f"cosine {compared.cosine:.6f}" in model.notes[-1]
    assert "same decision" in model.notes[-1]


def test_an_equal_variant_differs_by_nothing(tmp_path: Path) -> None:
    reference = dense(tmp_path, WEIGHTS)
    ((_, compared),) = compare_variants(reference, [dense(tmp_path, WEIGHTS, "copy")])
    assert (compared.max_absolute, compared.agreement) == (0.0, 1.0)


def test_a_broken_variant_is_refused_with_the_numbers_unless_allowed(tmp_path: Path) -> None:
    reference, broken = dense(tmp_path, WEIGHTS), dense(tmp_path, WEIGHTS[::-1], "q8")
    with pytest.raises(MismatchError) as caught:
        compare_variants(reference, [broken])
    assert caught.value.details["cosine"] < 0.9
    assert caught.value.details["subject"] == "q8"
    ((model, compared),) = compare_variants(reference, [broken], allow_unfaithful=True)
    assert compared.cosine < 0.9
    assert "q8 against fp32" in model.notes[-1]


def test_nan_and_other_shapes_are_refused_even_where_unfaithful_ones_are_allowed(tmp_path: Path) -> None:
    reference = dense(tmp_path, WEIGHTS)
    spoilt = WEIGHTS.copy()
    spoilt[0, 0] = np.nan
    for other in (dense(tmp_path, spoilt, "nan"), dense(tmp_path, WEIGHTS[:, :7], "narrow")):
        with pytest.raises(MismatchError):
            compare_variants(reference, [other], allow_unfaithful=True)


def test_another_interface_is_no_variant(tmp_path: Path) -> None:
    reference, other = dense(tmp_path, WEIGHTS), dense(tmp_path, WEIGHTS, "other")
    renamed = replace(other, inputs=(TensorSpec("z", "float32", ("batch", 32)),))
    with pytest.raises(MismatchError, match="takes"):
        compare_variants(reference, [renamed])


def test_seeded_inputs_are_repeatable_consistent_and_mean_what_text_models_expect() -> None:
    names = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
    specs = [TensorSpec(name, "int64", ("batch_size", "sequence")) for name in names]
    feeds = seeded_inputs(specs, seed=1, vocabulary=10)
    assert {array.shape for array in feeds.values()} == {(1, 16)}
    assert feeds["input_ids"].max() <= 9
    assert feeds["input_ids"].min() >= 0
    assert feeds["attention_mask"].all()
    assert not feeds["token_type_ids"].any()
    assert feeds["position_ids"][0].tolist() == list(range(16))
    again = seeded_inputs(specs, seed=1, vocabulary=10)
    assert all(np.array_equal(feeds[name], again[name]) for name in feeds)
    assert not np.array_equal(feeds["input_ids"], seeded_inputs(specs, seed=2, vocabulary=10)["input_ids"])


def test_a_static_quantization_is_judged_within_the_range_it_was_made_for(tmp_path: Path) -> None:
    """Outside of its range it clips, as it should; the same file with its range stated wrongly is still refused."""
    digits = {name: onnx_from_bytes(f"{name}.onnx", model_bytes(name)) for name in ("fp32", "int8")}
    ((_, compared),) = compare_variants(digits["fp32"], [digits["int8"]])
    assert compared.cosine > 0.99
    wide = [replace(spec, range=(-1.0, 1.0)) for spec in digits["fp32"].inputs]
    with pytest.raises(MismatchError):
        compare_variants(replace(digits["fp32"], inputs=tuple(wide)), [digits["int8"]])


def test_inputs_of_one_model_differ_from_each_other_and_fit_their_interface() -> None:
    specs = [TensorSpec(name, "float32", ("n", "batch_size", "length")) for name in ("a", "b")]
    specs += [TensorSpec("pixel_mask", "float32", ("batch", 4)), TensorSpec("segment_ids", "int32", ("batch", "n"))]
    feeds = seeded_inputs(specs, seed=3, length=5)
    assert feeds["a"].shape == (1, 1, 5), "a batch is one wherever it stands"
    assert not np.array_equal(feeds["a"], feeds["b"])
    assert feeds["pixel_mask"].tolist() == [[1, 1, 1, 1]]
    assert feeds["segment_ids"].tolist() == [[0] * 5]
    rounds = [seeded_inputs(specs, seed)[name].tobytes() for seed in range(4) for name in ("a", "b")]
    assert len(set(rounds)) == 8, "no round repeats another's values"


def test_tokens_stay_within_the_vocabulary_and_reach_its_end() -> None:
    (ids,) = seeded_inputs([TensorSpec("ids", "int64", (1, 2000))], seed=0, vocabulary=7).values()
    assert set(ids.ravel().tolist()) == set(range(7))
    (ids,) = seeded_inputs([TensorSpec("ids", "int64", (1, 2000))], seed=0, top=3).values()
    assert set(ids.ravel().tolist()) == set(range(4))
