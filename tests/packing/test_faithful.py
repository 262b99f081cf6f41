"""A variant that answers something else than the first one is refused with the numbers, on real inputs and on seeded ones."""

from dataclasses import replace

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

from edgewise.bundle.derivation import Derivation, Judgement
from edgewise.bundle.document import Golden, Variant
from edgewise.bundle.safetensors import dump_arrays
from edgewise.bundle.tensors import TensorSpec
from edgewise.compose.demo import digits_data, digits_models
from edgewise.digits import model_bytes
from edgewise.errors import MismatchError, ModelError
from edgewise.importing.imported import ImportedModel
from edgewise.importing.onnx_file import onnx_from_bytes
from edgewise.packing.faithful import compare_recorded
from edgewise.packing.pack import PackRequest, pack
from edgewise.testing.sample_bundles import sample_document, sample_file


def scrambled(data: bytes) -> bytes:
    """The same graph with the weights of every layer in another order."""
    model = ModelProto.FromString(data)
    chance = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.size > 100:
            tensor.CopyFrom(
                numpy_helper.from_array(chance.permutation(array.ravel()).reshape(array.shape), tensor.name)
            )
    return model.SerializeToString()


def models() -> dict[str, ImportedModel]:
    fp32 = digits_models()["fp32"]
    return {"fp32": fp32, "broken": onnx_from_bytes("broken.onnx", scrambled(fp32.model))}


def request(**changes: object) -> PackRequest:
    return PackRequest("digits", "1.0.0", models(), "classification", **changes)  # type: ignore[arg-type]


def test_a_broken_variant_is_refused_on_golden_inputs_with_the_numbers() -> None:
    with pytest.raises(MismatchError, match="broken against fp32 on golden inputs: largest difference") as caught:
        pack(request(golden=digits_data("calibration")), None)
    assert caught.value.details["cosine"] < 0.9
    assert "--allow-unfaithful" in caught.value.remedy


def test_without_data_it_is_refused_on_seeded_inputs() -> None:
    with pytest.raises(MismatchError, match="broken against fp32 on seeded inputs"):
        pack(request(), None)


def test_it_is_packed_where_that_is_meant_and_the_notes_say_the_numbers() -> None:
    packed = pack(request(allow_unfaithful=True), None)
    assert "broken against fp32 on seeded inputs: largest difference" in packed.notes[-1]


def test_a_sound_quantized_variant_passes_with_its_numbers() -> None:
    plain = {name: onnx_from_bytes(f"{name}.onnx", model_bytes(name)) for name in ("fp32", "int8")}
    made_up, note = pack(PackRequest("digits", "1.0.0", plain, "classification"), None).notes
    assert "made up" in made_up
    assert note.startswith("int8 against fp32 on seeded inputs: largest difference")


def compared(
    decision: str, golden: dict[str, np.ndarray], derivation: Derivation | None = None, **extra: object
) -> list[str]:  # fmt: skip
    file = sample_file("m.onnx", b"m")
    document = replace(
        sample_document(), decision=decision, golden=Golden(file, 0, 0, extra=extra),
        outputs=tuple(TensorSpec(name, "float32", ("batch", 2)) for name in ("y", "z")),
        variants=(Variant("a", "onnx", "fp32", (file,)), Variant("b", "onnx", "int8", (file,), derivation=derivation)),
    )  # fmt: skip
    return compare_recorded(document, dump_arrays(golden), allow_unfaithful=False)


ONE, OTHER = np.array([[1, 2], [3, 4]], np.float32), np.array([[4, -3], [2, -1]], np.float32)


def test_variants_are_compared_by_the_output_that_decides() -> None:
    golden = {"out/a/y": ONE, "out/b/y": OTHER, "out/a/z": ONE, "out/b/z": ONE}
    assert "cosine 1.0" in compared("z", golden)[0]
    for decision in ("", "y"):
        with pytest.raises(MismatchError, match="b against a on golden inputs"):
            compared(decision, golden)
    with pytest.raises(MismatchError, match="on seeded inputs"):
        compared("y", golden, source="seeded")


@pytest.mark.parametrize("passes", [True, False])
def test_one_that_a_test_on_samples_held_out_let_pass_may_give_other_scores(passes: bool) -> None:
    golden = {"out/a/y": ONE, "out/b/y": OTHER}
    judged = Judgement("accuracy", 0.9, 0.1, 0.5, "McNemar", not passes, passes)
    made = Derivation(sample_file("m.onnx", b"m").digest, ("distilled",), judged=judged)
    if passes:
        assert "cosine 0" in compared("y", golden, made)[0]
        return
    with pytest.raises(MismatchError, match="b against a"):
        compared("y", golden, made)


def test_class_indices_are_told_by_how_often_they_agree() -> None:
    golden = {"out/a/y": np.array([1, 2, 3, 4]), "out/b/y": np.array([1, 2, 0, 4])}
    assert compared("y", golden) == ["b against a on golden inputs: same decision 75.0%"]


def test_another_type_of_output_is_no_variant_and_text_is_not_compared() -> None:
    with pytest.raises(ModelError, match="y is float64, not float32"):
        compared("y", {"out/a/y": ONE, "out/b/y": ONE.astype(np.float64)})
    assert compared("y", {"out/a/z": ONE, "out/b/z": ONE}) == []
