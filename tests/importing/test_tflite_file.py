"""A TFLite file is checked before LiteRT sees it, and keeps its interface with its quantization parameters."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgewise.errors import MismatchError, ModelError, NotFoundError
from edgewise.importing.check import check_against, open_imported
from edgewise.importing.tflite_file import import_tflite

pytest.importorskip("ai_edge_litert", reason="needs the extra litert")


@pytest.mark.parametrize(
    ("file", "shape", "dtype", "scale", "zero"),
    [
        ("model_kws_dscnn/kws_ref_model_int8.tflite", ("batch", 49, 10, 1), "int8", 0.58470290, 83),
        ("model_vision_mobilenet/vww_96_int8.tflite", ("batch", 96, 96, 3), "int8", 0.00392157, -128),
        ("model_vision_mobilenet/mobilenet_v2_1.0_224_quant.tflite", (1, 224, 224, 3), "uint8", 0.0078125, 128),
    ],
)
def test_published_models_keep_shape_dtype_and_quantization(
    shared_data: Path, file: str, shape: tuple[int | str, ...], dtype: str, scale: float, zero: int
) -> None:
    model = import_tflite(shared_data / file)
    (spec,) = model.inputs
    assert (spec.shape, spec.dtype, model.precision, model.format) == (shape, dtype, "int8", "tflite")
    assert spec.extra["quantization"] == {"scale": pytest.approx(scale), "zeroPoint": zero}
    assert model.outputs[0].extra["quantization"]["scale"] == pytest.approx(1 / 256)
    assert model.model == (shared_data / file).read_bytes()


def test_the_kept_quantization_is_the_one_that_gives_the_published_accuracy(shared_data: Path) -> None:
    """real = scale * (value - zeroPoint): the fp32 model of the same task accepts inputs made with these numbers."""
    ort = pytest.importorskip("onnxruntime")
    folder = shared_data / "model_kws_dscnn"
    kept = import_tflite(folder / "kws_ref_model_int8.tflite").inputs[0].extra["quantization"]
    with np.load(folder / "kws01_accuracy_set_1000.npz") as data:
        names = {name: data[name] for name in data.files}
    samples = next(array for array in names.values() if array.ndim > 1)
    wanted = next(
        array for array in names.values() if array.ndim == 1 and len(array) == len(samples) and array.dtype.kind in "iu"
    )
    real = ((samples.astype(np.float32) - kept["zeroPoint"]) * kept["scale"]).astype(np.float32).reshape(-1, 49, 10, 1)
    session = ort.InferenceSession(folder / "kws_ds_cnn_fp32.onnx", providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {session.get_inputs()[0].name: real})
    assert float((scores.argmax(1) == wanted).mean()) == pytest.approx(0.913, abs=0.002)


def test_the_imported_classifier_gives_its_golden_predictions(shared_data: Path) -> None:
    images = pytest.importorskip("PIL.Image", reason="needs the extra image")
    folder = shared_data / "model_vision_mobilenet"
    model = import_tflite(folder / "mobilenet_v2_1.0_224_quant.tflite")
    labels = (folder / "imagenet_labels.txt").read_text().splitlines()
    session = open_imported(model)
    for name, wanted in json.loads((folder / "golden_predictions.json").read_text()).items():
        image = images.open(folder / "images" / name).convert("RGB").resize((224, 224), images.Resampling.BILINEAR)
        (scores,) = session.run({model.inputs[0].name: np.asarray(image)[np.newaxis]}).values()
        best = int(scores[0].argmax())
        label, score = wanted["mobilenet_v2_top3"][0]
        assert labels[best].endswith(label), name
        assert abs(int(scores[0, best]) - score) <= 2, name
    session.close()


def test_a_reference_file_with_more_rows_than_a_fixed_batch_is_run_row_by_row(
    shared_data: Path, tmp_path: Path
) -> None:
    model = import_tflite(shared_data / "model_vision_mobilenet" / "mobilenet_v2_1.0_224_quant.tflite")
    given, output = np.random.default_rng(6).integers(0, 256, (3, 224, 224, 3)).astype(np.uint8), model.outputs[0].name
    session = open_imported(model)
    rows = [session.run({"input": row[np.newaxis]})[output] for row in given]
    session.close()
    np.savez(tmp_path / "r.npz", **{"in/input": given, f"out/{output}": np.concatenate(rows)})
    found = check_against(model, tmp_path / "r.npz")
    assert (found.max_absolute, found.agreement) == (0.0, 1.0)
    np.savez(tmp_path / "s.npz", **{"in/input": given, f"out/{output}": np.concatenate(rows[::-1])})
    with pytest.raises(MismatchError):
        check_against(model, tmp_path / "s.npz")


def test_a_file_that_is_none_is_told_by_its_identifier(tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_bytes(b"\x08\x08ONNX really, and long enough to be looked at")
    with pytest.raises(ModelError, match="no TFLite file"):
        import_tflite(tmp_path / "a.tflite")
    (tmp_path / "b.tflite").write_bytes(b"TFL3")
    with pytest.raises(ModelError, match="4 bytes"):
        import_tflite(tmp_path / "b.tflite")


def test_a_root_beyond_the_end_is_damage_and_never_reaches_the_runtime(tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_bytes(b"\xff\xff\xff\x7fTFL3" + bytes(64))
    with pytest.raises(ModelError, match="damaged: its root"):
        import_tflite(tmp_path / "a.tflite")


def test_a_truncated_model_is_a_model_error(shared_data: Path, tmp_path: Path) -> None:
    data = (shared_data / "model_kws_dscnn" / "kws_ref_model_int8.tflite").read_bytes()
    (tmp_path / "a.tflite").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="LiteRT cannot open"):
        import_tflite(tmp_path / "a.tflite")


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        import_tflite(tmp_path / "a.tflite")
