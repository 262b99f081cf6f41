"""A package of ONNX Runtime is read without trusting it, and what is written opens in onnxruntime itself."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewise.bundle.build import build_bundle
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.document import Document
from edgewise.digests import digest_of
from edgewise.errors import (
    DocumentError,
    EdgewiseError,
    InputError,
    ModelError,
    NotFoundError,
    RefusedError,
    StorageError,
    UnsupportedError,
)
from edgewise.importing.imported import ImportedModel
from edgewise.importing.onnx_file import import_onnx
from edgewise.importing.ort_package import COMPONENT, PackageImport, import_ort_package
from edgewise.importing.ort_package_writing import export_ort_package
from edgewise.importing.tflite_file import import_tflite

onnx = pytest.importorskip("onnx", reason="needs the extra pack")
ort = pytest.importorskip("onnxruntime")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto


def scaled(folder: Path, factor: float, *, external: bool = False) -> ImportedModel:
    """y = x * factor, the factor as external data where wanted."""
    weights = numpy_helper.from_array(np.full(256, factor, np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 256])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 256])], [weights],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder.mkdir(exist_ok=True)
    path = folder / f"by{factor:g}.onnx"
    onnx.save_model(model, path, save_as_external_data=external, location=f"by{factor:g}.bin", size_threshold=0)
    return import_onnx(path)


def bundled(**models: ImportedModel) -> Bundle:
    first = next(iter(models.values()))
    parts = {name: model.to_variant(name) for name, model in models.items()}
    document = Document(
        "scale", "1.2.0", "classification", first.inputs, first.outputs, tuple(variant for variant, _ in parts.values()),
        labels=("café", "b"), description="two scales",
    )  # fmt: skip
    return build_bundle(document, [data for _, files in parts.values() for data in files])


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return bundled(two=scaled(tmp_path / "m", 2.0), three=scaled(tmp_path / "m", 3.0, external=True))


def selected(folder: Path) -> Any:
    """What onnxruntime's own selection opens for the processor."""
    options = ort.SessionOptions()
    options.add_provider("CPUExecutionProvider", {})
    context = ort.ModelPackageContext(str(folder))
    return context.select_component(COMPONENT, ort.ModelPackageOptions(options))


# ------------------------------------------------------------------------------ round trip


def test_law_import_of_export_has_the_same_digests_labels_and_precision(bundle: Bundle, tmp_path: Path) -> None:
    assert export_ort_package(bundle, tmp_path / "p.ortpackage") == []
    models = import_ort_package(tmp_path / "p.ortpackage").variants
    assert [model.name for model in models] == ["two", "three"]
    for model, variant in zip(models, bundle.document.variants, strict=True):
        assert [digest_of(data) for data in model.files.values()] == [file.digest for file in variant.files]
        assert (model.labels, model.precision, model.inputs) == (
            ("café", "b"),
            variant.precision,
            bundle.document.inputs,
        )
        assert any(bundle.document_digest in note for note in model.notes)


def test_inputs_are_empty_where_nothing_is_recorded_beyond_the_file(bundle: Bundle, tmp_path: Path) -> None:
    export_ort_package(bundle, tmp_path / "p")
    package = import_ort_package(tmp_path / "p")
    assert (package.task, package.inputs, package.states, package.decision) == ("classification", (), (), "")
    assert package.notes == ()


@pytest.mark.parametrize(("first", "factor"), [("", 2.0), ("three", 3.0)])
def test_onnxruntime_opens_the_package_itself_takes_the_variant_listed_first_and_gives_its_outputs(
    bundle: Bundle, tmp_path: Path, first: str, factor: float
) -> None:
    export_ort_package(bundle, tmp_path / "p", first=first)
    chosen = selected(tmp_path / "p")
    assert chosen.get_selected_variant_name() == (first or "two")
    given = np.random.default_rng(1).normal(size=(3, 256)).astype(np.float32)
    (got,) = chosen.create_session().run(None, {"x": given})
    np.testing.assert_array_equal(got, given * np.float32(factor))


def test_a_real_model_gives_the_same_outputs_through_the_package(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "model_kws_dscnn" / "kws_ds_cnn_fp32.onnx"
    export_ort_package(bundled(fp32=import_onnx(path)), tmp_path / "p")
    given = np.random.default_rng(2).normal(size=(4, 49, 10, 1)).astype(np.float32)
    plain = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = plain.get_inputs()[0].name
    (want,), (got,) = plain.run(None, {name: given}), selected(tmp_path / "p").create_session().run(None, {name: given})
    np.testing.assert_array_equal(got, want)
    assert import_ort_package(tmp_path / "p").variants[0].model == path.read_bytes()


def test_variants_of_other_formats_are_left_out_and_named(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs the extra litert")
    folder = shared_data / "model_kws_dscnn"
    lite = import_tflite(folder / "kws_ref_model_int8.tflite")
    both = bundled(fp32=import_onnx(folder / "kws_ds_cnn_fp32.onnx"), lite=lite)
    assert export_ort_package(both, tmp_path / "p") == ["lite"]
    with pytest.raises(UnsupportedError, match="no ONNX variant"):
        export_ort_package(bundled(lite=lite), tmp_path / "q")
    assert not (tmp_path / "q").exists()


def test_export_never_writes_over_anything_and_leaves_no_draft(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "mine.txt").write_text("mine")
    with pytest.raises(InputError):
        export_ort_package(bundle, tmp_path / "p")
    with pytest.raises(EdgewiseError):
        export_ort_package(bundle, tmp_path / "q", first="none")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "p"]
    assert (tmp_path / "p" / "mine.txt").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_a_storage_error_with_its_path(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file" / "p", Path("/proc/none/p"), tmp_path / ("n" * 300)):
        with pytest.raises(StorageError) as caught:
            export_ort_package(bundle, place)
        assert caught.value.details["path"] == str(place)
        assert str(place) in caught.value.what
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "m"]


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may grow beyond ``size`` bytes: writing more fails as it does on a full disk."""
    resource = pytest.importorskip("resource", reason="needs POSIX limits")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_is_a_storage_error_and_leaves_no_draft(bundle: Bundle, tmp_path: Path) -> None:
    with room_for(500), pytest.raises(StorageError, match=str(tmp_path / "p")):
        export_ort_package(bundle, tmp_path / "p")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


# ------------------------------------------------------------------------ hostile packages


def edited(folder: Path, file: str, change: Any) -> None:
    value = json.loads((folder / file).read_text())
    change(value)
    (folder / file).write_text(json.dumps(value))


def variant_of(component: dict[str, Any]) -> dict[str, Any]:
    variant: dict[str, Any] = component["variants"]["two"]
    return variant


@pytest.mark.parametrize("layout", ["portable", "installed"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("variant_directory", "../../m"),
        ("variant_directory", "{}/m"),
        ("model_file", "../../../m/by2.onnx"),
        ("model_file", "{}/m/by2.onnx"),
    ],
)
def test_a_path_out_of_the_package_is_refused_even_where_onnxruntime_would_follow_it(
    bundle: Bundle, tmp_path: Path, layout: str, key: str, value: str
) -> None:
    """``"layout": "installed"`` is set by the package itself: it must not open the way out."""
    folder = tmp_path / "p"
    export_ort_package(bundle, folder)
    place = value.format(tmp_path)

    def change(component: dict[str, Any]) -> None:
        variant = variant_of(component)
        if key == "variant_directory":
            variant[key] = place
            variant["executor_info"]["ort"]["model_file"] = "by2.onnx"
        else:
            variant["executor_info"]["ort"][key] = place

    edited(folder, "manifest.json", lambda manifest: manifest.update(layout=layout))
    edited(folder, "model/component.json", change)
    if layout == "installed":
        assert ort.ModelPackageContext(str(folder)).get_variant_count(COMPONENT) == 2
    with pytest.raises(RefusedError) as caught:
        import_ort_package(folder)
    assert caught.value.details["rule"] == "path-escape"


def test_links_anywhere_in_the_package_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    export_ort_package(bundle, folder)
    real = folder / "model" / "two" / "by2.onnx"
    real.unlink()
    real.symlink_to(tmp_path / "m" / "by2.onnx")
    with pytest.raises(RefusedError, match="link"):
        import_ort_package(folder)
    real.unlink()
    real.parent.rmdir()
    real.parent.symlink_to(tmp_path / "m")
    with pytest.raises(RefusedError, match="link"):
        import_ort_package(folder)


def test_a_changed_file_is_noticed_by_the_digest_that_was_recorded(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    export_ort_package(bundle, folder)
    (folder / "model" / "two" / "by2.onnx").write_bytes((tmp_path / "m" / "by3.onnx").read_bytes())
    (folder / "model" / "two" / "by3.bin").write_bytes((tmp_path / "m" / "by3.bin").read_bytes())
    with pytest.raises(ModelError, match="not the file that was exported"):
        import_ort_package(folder)


def foreign(folder: Path, **variant: Any) -> Path:
    """A package as another tool would write it: inline component, no metadata of ours."""
    (folder / "cpu").mkdir(parents=True)
    scaled(folder.parent / "m", 2.0)
    (folder / "cpu" / "model.onnx").write_bytes((folder.parent / "m" / "by2.onnx").read_bytes())
    entry = {"ep": "CPUExecutionProvider", "executor_info": {"ort": {"model_file": "model.onnx"}}} | variant
    manifest = {"schema_version": "1.0", "components": {"encoder": {"variants": {"cpu": entry}}}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_package_of_another_tool_is_read_and_options_are_named_not_taken_over(tmp_path: Path) -> None:
    info = {"ort": {"model_file": "model.onnx", "session_options": {"session.disable_prepacking": "1"}}}
    folder = foreign(tmp_path / "p", executor_info=info)
    assert ort.ModelPackageContext(str(folder)).get_component_names() == ["encoder"]
    (model,) = import_ort_package(folder).variants
    assert model.name == "encoder-cpu"
    assert any("session.disable_prepacking" in note for note in model.notes)


def test_a_package_of_another_tool_says_nothing_whatever_else_its_metadata_holds(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "p", additional_metadata={"olive": {"task": 7}})
    edited(folder, "manifest.json", lambda manifest: manifest.update(additional_metadata=5, description="theirs"))
    package = import_ort_package(folder)
    assert package == PackageImport(package.variants)


def test_executor_info_may_lie_in_a_file_of_its_own(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "p", executor_info={"ort": "ort.json"})
    (folder / "cpu" / "ort.json").write_text(json.dumps({"model_file": "model.onnx"}))
    assert ort.ModelPackageContext(str(folder)).get_variant_count("encoder") == 1
    assert len(import_ort_package(folder).variants) == 1


def test_an_altered_shared_asset_is_refused_although_onnxruntime_opens_it(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "p")
    uri = ort.ModelPackage.compute_directory_hash(str(folder / "cpu"))
    asset = folder / "shared_assets" / uri.replace(":", "-")
    asset.mkdir(parents=True)
    (folder / "cpu" / "model.onnx").rename(asset / "model.onnx")
    entry = {"ep": "CPUExecutionProvider", "executor_info": {"ort": {"model_file": f"{uri}/model.onnx"}}}
    edited(folder, "manifest.json", lambda manifest: manifest["components"]["encoder"]["variants"].update(cpu=entry))
    assert len(import_ort_package(folder).variants) == 1
    scaled(tmp_path / "m", 3.0)
    (asset / "model.onnx").write_bytes((tmp_path / "m" / "by3.onnx").read_bytes())
    assert ort.ModelPackageContext(str(folder)).get_variant_count("encoder") == 1
    with pytest.raises(ModelError, match="has the content"):
        import_ort_package(folder)


def test_a_variant_for_another_runtime_is_left_out_with_the_reason(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "p")

    def add(manifest: dict[str, Any]) -> None:
        manifest["components"]["encoder"]["variants"]["genai"] = {"executor_info": {"ort-genai": {}}}

    edited(folder, "manifest.json", add)
    package = import_ort_package(folder)
    assert len(package.variants) == 1
    assert any("encoder/genai is left out" in note for note in package.notes)
    edited(folder, "manifest.json", lambda manifest: manifest["components"]["encoder"]["variants"].pop("cpu"))
    with pytest.raises(UnsupportedError, match="names no model"):
        import_ort_package(folder)


def test_no_manifest_another_schema_and_other_forms_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        import_ort_package(tmp_path)
    folder = foreign(tmp_path / "p")
    edited(folder, "manifest.json", lambda manifest: manifest.update(schema_version="2.0"))
    with pytest.raises(UnsupportedError, match=r"2\.0"):
        import_ort_package(folder)
    edited(folder, "manifest.json", lambda manifest: manifest.update(schema_version="1.0", components=["encoder"]))
    with pytest.raises(ModelError, match="components"):
        import_ort_package(folder)
    (folder / "manifest.json").write_text('{"schema_version": "1.0", "schema_version": "1.0"}')
    with pytest.raises(RefusedError):
        import_ort_package(folder)


def test_names_and_options_that_would_write_to_the_terminal_do_not_reach_it(tmp_path: Path) -> None:
    info = {"ort": {"model_file": "model.onnx", "session_options": {"\x1b[2J": "1"}}}
    folder = foreign(tmp_path / "p", executor_info=info)
    assert all(note.isprintable() for note in import_ort_package(folder).variants[0].notes)
    edited(folder, "manifest.json", lambda it: it["components"].update({"\x1b[2J": it["components"]["encoder"]}))
    with pytest.raises(ModelError) as caught:
        import_ort_package(folder)
    assert caught.value.what.isprintable()


@pytest.mark.parametrize("options", [5, [1], {"a": 1}])
def test_options_of_another_form_are_an_error_in_words(tmp_path: Path, options: Any) -> None:
    folder = foreign(tmp_path / "p", executor_info={"ort": {"model_file": "model.onnx", "session_options": options}})
    with pytest.raises(DocumentError, match="session_options"):
        import_ort_package(folder)
