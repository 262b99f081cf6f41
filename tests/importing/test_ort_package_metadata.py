"""What a bundle's document says comes back through a package of ONNX Runtime: validated, and only where it fits the model."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgewise.bundle.build import build_bundle
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.document import Document
from edgewise.bundle.tensors import StateSpec, TensorSpec
from edgewise.errors import ModelError
from edgewise.importing.imported import ImportedModel
from edgewise.importing.onnx_file import import_onnx
from edgewise.importing.ort_package import PackageImport, import_ort_package
from edgewise.importing.ort_package_writing import export_ort_package

onnx = pytest.importorskip("onnx", reason="needs the extra pack")
helper, TensorProto = onnx.helper, onnx.TensorProto

RECORDED = (
    TensorSpec("x", "float32", ("batch", 256), (0.0, 1.0), "sensor", {"unit": "g"}),
    TensorSpec("h", "float32", ("batch", 256), (-1.0, 1.0)),
)


def stateful(folder: Path) -> ImportedModel:
    """y = x + h, next = x - h."""
    kinds = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 256]) for name in ("x", "h", "y", "next")]
    nodes = [helper.make_node("Add", ["x", "h"], ["y"]), helper.make_node("Sub", ["x", "h"], ["next"])]
    graph = helper.make_graph(nodes, "g", kinds[:2], kinds[2:])
    folder.mkdir(exist_ok=True)
    onnx.save_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "s.onnx"
    )
    return import_onnx(folder / "s.onnx")


def said(folder: Path, **changes: Any) -> Bundle:
    """A bundle whose document says everything that a model file cannot."""
    model = stateful(folder / "m")
    variant, files = model.to_variant("fp32")
    document = Document(
        "wave", "1", "anomaly", RECORDED, model.outputs, (variant,), decision="y", labels=("fine", "broken"),
        states=(StateSpec("h", "next"),), description="what shakes\nand what does not", licence="Apache-2.0",
    )  # fmt: skip
    return build_bundle(replace(document, **changes), files)


def edited(folder: Path, file: str, change: Any) -> None:
    value = json.loads((folder / file).read_text())
    change(value)
    (folder / file).write_text(json.dumps(value))


def carried(bundle: Bundle, folder: Path) -> PackageImport:
    export_ort_package(bundle, folder)
    return import_ort_package(folder)


def test_law_import_of_export_says_what_the_document_says(tmp_path: Path) -> None:
    bundle = said(tmp_path)
    document, package = bundle.document, carried(bundle, tmp_path / "p")
    for name in ("task", "labels", "decision", "states", "inputs", "description", "licence"):
        assert getattr(package, name) == getattr(document, name), name
    assert package.notes == ()


def test_names_in_the_interface_become_those_of_the_variants_file(tmp_path: Path) -> None:
    variant = replace(said(tmp_path).document.variants[0], inputs={"wave": "x"}, outputs={"score": "y"})
    outputs = stateful(tmp_path / "m").outputs
    bundle = said(
        tmp_path, variants=(variant,), inputs=(replace(RECORDED[0], name="wave"), RECORDED[1]),
        outputs=(replace(outputs[0], name="score"), outputs[1]), decision="score",
    )  # fmt: skip
    package = carried(bundle, tmp_path / "p")
    assert (package.inputs, package.decision, package.notes) == (RECORDED, "y", ())


def test_what_the_model_does_not_have_or_contradicts_is_dropped_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    export_ort_package(said(tmp_path), folder)

    def change(component: dict[str, Any]) -> None:
        ours = component["additional_metadata"]["edgewise"]
        ours["decision"] = "gone"
        ours["states"].append({"input": "x", "output": "away"})
        ours["inputs"][0]["shape"] = ["batch", 255]
        ours["inputs"].append({"name": "z", "dtype": "int8", "shape": [1]})
        ours["outputs"][0]["range"] = [0, 1]

    edited(folder, "model/component.json", change)
    package = import_ort_package(folder)
    assert package.decision == ""
    assert package.states == (StateSpec("h", "next"),)
    assert package.inputs == (package.variants[0].inputs[0], RECORDED[1])
    (note,) = package.notes
    for dropped in ("decision gone", "state x=away", "input x: float32 (batch, 255)", "input z: int8", "output y: "):
        assert dropped in note
    edited(folder, "model/component.json", lambda component: component["additional_metadata"].pop("edgewise"))
    assert import_ort_package(folder).inputs == ()


def test_a_record_never_widens_what_the_file_states(tmp_path: Path) -> None:
    wide = tuple(replace(spec, shape=("batch", "any")) for spec in RECORDED)
    assert carried(said(tmp_path, inputs=wide), tmp_path / "p").inputs == RECORDED


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task", "mind-reading"),
        ("labels", ["fine", 7]),
        ("labels", ["\x1b[2J"]),
        ("decision", ["y"]),
        ("decision", "\x1b[2J"),
        ("inputs", {"x": "float32"}),
        ("inputs", [{"name": "x", "dtype": "float32", "shape": [-1]}]),
        ("inputs", [{"name": "x", "dtype": "float32", "shape": [1], "range": [1, 0]}]),
        ("states", [{"input": "h"}]),
    ],
)
def test_a_malformed_record_on_the_model_is_a_model_error_that_names_the_field(
    tmp_path: Path, name: str, value: Any
) -> None:
    folder = tmp_path / "p"
    export_ort_package(said(tmp_path), folder)
    edited(folder, "model/component.json", lambda it: it["additional_metadata"]["edgewise"].update({name: value}))
    with pytest.raises(ModelError, match=rf"edgewise\.{name}"):
        import_ort_package(folder)


def test_malformed_records_on_variants_and_package_are_model_errors_too(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    for file, change in (
        ("model/component.json", lambda it: it["variants"]["fp32"]["additional_metadata"].update(edgewise="ours")),
        ("model/component.json", lambda it: it["additional_metadata"].update(edgewise=[])),
        (
            "model/component.json",
            lambda it: it["variants"]["fp32"]["additional_metadata"]["edgewise"].update(digests="none"),
        ),
        ("manifest.json", lambda it: it["additional_metadata"]["edgewise"].update(licence="\x1b[2J")),
        ("manifest.json", lambda it: it["additional_metadata"]["edgewise"].update(description=3)),
    ):
        export_ort_package(said(tmp_path), folder)
        edited(folder, file, change)
        with pytest.raises(ModelError, match="edgewise"):
            import_ort_package(folder)
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()


def test_a_field_that_is_there_but_empty_says_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    export_ort_package(said(tmp_path), folder)
    empty = {"task": "", "decision": "", "labels": [], "states": []}
    edited(folder, "model/component.json", lambda it: it["additional_metadata"]["edgewise"].update(empty))
    package = import_ort_package(folder)
    assert (package.task, package.decision, package.labels, package.states) == ("", "", (), ())
