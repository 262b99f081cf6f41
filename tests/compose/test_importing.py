"""One door for what becomes a variant: which words mean a path, what a variant is called, and what its source says on it."""

from pathlib import Path

import numpy as np
import pytest

from edgewise.bundle.build import build_bundle
from edgewise.bundle.document import Document
from edgewise.bundle.tensors import StateSpec, TensorSpec
from edgewise.cli.main import main
from edgewise.compose.importing import import_models
from edgewise.digits import model_bytes
from edgewise.errors import InputError, NotFoundError, StorageError

onnx = pytest.importorskip("onnx", reason="needs the extra pack")

from edgewise.importing.onnx_file import import_onnx  # noqa: E402
from edgewise.importing.ort_package_writing import export_ort_package  # noqa: E402

helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with an fp32 and an int8 model."""
    folder = tmp_path / "models"
    folder.mkdir()
    for precision in ("fp32", "int8"):
        (folder / f"{precision}.onnx").write_bytes(model_bytes(precision))
    return folder


def exported(folder: Path, *names: str) -> Path:
    """A package whose bundle says what a model file cannot, with the digits' models as variants of these names."""
    (folder / "model.onnx").write_bytes(model_bytes("fp32"))
    model = import_onnx(folder / "model.onnx")
    (image,) = model.inputs
    variants = [model.to_variant(name) for name in names]
    document = Document(
        "digits", "1", "multilabel", (TensorSpec(image.name, image.dtype, image.shape, (0.0, 255.0), "image"),), model.outputs,
        tuple(variant for variant, _ in variants), decision=model.outputs[0].name, labels=tuple("0123456789"),
        description="ten digits", licence="MIT",
    )  # fmt: skip
    export_ort_package(build_bundle(document, [data for _, files in variants for data in files]), folder / "p")
    return folder / "p"


def with_weights_elsewhere(folder: Path) -> Path:
    """y = x * w, w in a file beside the model."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 64])],
        [numpy_helper.from_array(np.ones(64, np.float32), "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save_model(model, folder / "m.onnx", save_as_external_data=True, location="ext.bin", size_threshold=0)
    return folder / "m.onnx"


# ------------------------------------------------------------------------ which words mean what


def test_a_text_that_is_an_existing_path_is_a_path_even_with_an_equals_sign(models: Path) -> None:
    odd = models / "th=ird.onnx"
    (models / "fp32.onnx").rename(odd)
    assert list(import_models([str(odd)]).models) == ["fp32"]
    assert list(import_models([f"small={odd}"]).models) == ["small"]


def test_a_path_that_is_not_there_is_named_in_both_readings() -> None:
    for path in ("none.onnx", "n" * 300):  # the second is longer than a name may be
        with pytest.raises(NotFoundError, match=f"^there is no model at {path}$"):
            import_models([path])
        with pytest.raises(NotFoundError, match=f"^there is no model at {path}, nor at small={path}$"):
            import_models([f"small={path}"])


@pytest.mark.parametrize("text", ["", "=", "small=", "=model.onnx"])
def test_a_missing_name_or_path_is_an_error_and_never_the_current_folder(
    text: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(models)
    with pytest.raises(InputError, match="neither an existing path nor VARIANT=PATH"):
        import_models([text])


def test_one_name_for_a_folder_with_several_models_is_an_error_that_counts_them(models: Path) -> None:
    with pytest.raises(InputError, match=r"2 models \(fp32, int8\)") as caught:
        import_models([f"small={models}"])
    assert "one by one" in caught.value.remedy
    assert list(import_models([str(models)]).models) == ["fp32", "int8"]
    (models / "int8.onnx").unlink()
    assert list(import_models([f"small={models}"]).models) == ["small"]


def test_two_models_that_come_to_one_name_are_an_error_also_within_a_folder(models: Path) -> None:
    (models / "fp32.onnx").rename(models / "a b.onnx")
    (models / "a-b.onnx").write_bytes(model_bytes("fp32"))
    with pytest.raises(InputError, match="'a-b'"):
        import_models([str(models)])
    with pytest.raises(InputError, match="'int8'"):
        import_models([str(models / "int8.onnx"), f"int8={models / 'a-b.onnx'}"])


# --------------------------------------------------------------------------- packages of edgewise


def test_a_package_of_edgewise_says_what_its_bundle_said(tmp_path: Path) -> None:
    imported = import_models([str(exported(tmp_path, "large", "small"))])
    assert list(imported.models) == ["large", "small"], "not called by their precision"
    assert (imported.task, imported.labels) == ("multilabel", tuple("0123456789"))
    assert imported.decision == imported.models["large"].outputs[0].name
    assert (imported.inputs[0].range, imported.inputs[0].content) == ((0.0, 255.0), "image")
    assert (imported.description, imported.licence, imported.states) == ("ten digits", "MIT", ())


def test_a_model_file_says_nothing_beyond_itself(models: Path) -> None:
    imported = import_models([str(models)])
    assert (imported.task, imported.decision, imported.states, imported.inputs) == ("", "", (), ())
    assert (imported.description, imported.licence) == ("", "")


def test_the_first_source_states_the_interface_and_what_another_says_on_it_is_named(
    models: Path, tmp_path: Path
) -> None:
    package = str(exported(tmp_path, "large"))
    imported = import_models([str(models / "int8.onnx"), package])
    assert (imported.decision, imported.inputs) == ("", ())
    assert (imported.task, imported.licence) == ("multilabel", "MIT")
    assert any(note.startswith(f"{package}: ") and "first source" in note for note in imported.notes)
    first = import_models([package, str(models / "int8.onnx")])
    assert first.decision
    assert not any("first source" in note for note in first.notes)


def test_states_come_back_through_a_package(tmp_path: Path) -> None:
    kinds = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("x", "h", "y", "next")]
    nodes = [helper.make_node("Add", ["x", "h"], ["y"]), helper.make_node("Sub", ["x", "h"], ["next"])]
    graph = helper.make_graph(nodes, "g", kinds[:2], kinds[2:])
    onnx.save_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "s.onnx"
    )
    model = import_onnx(tmp_path / "s.onnx")
    variant, files = model.to_variant("fp32")
    document = Document("s", "1", "tensor", model.inputs, model.outputs, (variant,), states=(StateSpec("h", "next"),))
    export_ort_package(build_bundle(document, files), tmp_path / "p")
    assert import_models([str(tmp_path / "p")]).states == (StateSpec("h", "next"),)


# ------------------------------------------------------------------------------------ messages


def test_a_missing_weight_file_is_said_to_be_missing_from_a_folder_that_has_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_weights_elsewhere(tmp_path)
    (tmp_path / "ext.bin").unlink()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFoundError, match=rf"ext\.bin is named but is not in {tmp_path}"):
        import_models(["m.onnx"])


def test_notes_on_a_package_in_the_current_folder_name_that_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(exported(tmp_path, "fp32"))
    assert any(note.startswith("from p, component model") for note in import_models(["."]).notes)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that exists and cannot be read")
def test_a_file_that_cannot_be_read_is_a_storage_error_with_its_path() -> None:
    with pytest.raises(StorageError, match="/proc/self/mem"):
        import_models(["/proc/self/mem"])


def test_export_to_an_impossible_place_ends_in_words_and_exit_code_3(
    digits_bundle: Path, trusting_home: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    assert main(["export", str(digits_bundle), "-o", str(tmp_path / "file" / "p")]) == 3
    assert f"could not write {tmp_path / 'file' / 'p'}" in capsys.readouterr().err
