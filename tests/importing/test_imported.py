"""An imported model becomes a variant whose entries describe exactly its bytes."""

import pytest

from edgewise.bundle.tensors import TensorSpec
from edgewise.digests import digest_of
from edgewise.errors import InputError
from edgewise.importing.imported import CONFIG_MEDIA, DOC_MEDIA, WEIGHT_MEDIA, ImportedModel, file_entry, name_from

SPEC = TensorSpec("x", "float32", ("batch", 4))


def model(**changes: object) -> ImportedModel:
    given: dict[str, object] = {
        "name": "tiny", "format": "onnx", "precision": "fp32", "files": {"model.onnx": b"model", "model.bin": b"weights"},
        "inputs": (SPEC,), "outputs": (SPEC,), "requires": {"opset": 17},
    }  # fmt: skip
    return ImportedModel(**(given | changes))  # type: ignore[arg-type]


def test_the_variant_lists_the_model_first_and_every_digest_is_that_of_the_content() -> None:
    variant, contents = model().to_variant("fp32")
    assert [file.path for file in variant.files] == ["model.onnx", "model.bin"]
    assert [file.digest for file in variant.files] == [digest_of(data) for data in contents]
    assert {file.media_type for file in variant.files} == {WEIGHT_MEDIA}
    assert variant.requires == {"opset": 17}


def test_extra_files_are_told_apart_by_who_reads_them() -> None:
    files, contents = model(extra_files={"tokenizer.json": b"{}", "README.md": b"#", "LICENSE": b"MIT"}).extra_entries()
    assert [file.media_type for file in files] == [CONFIG_MEDIA, DOC_MEDIA, DOC_MEDIA]
    assert [file.size for file in files] == [len(data) for data in contents]
    assert file_entry("docs/notice.txt", b"").media_type == DOC_MEDIA


@pytest.mark.parametrize(
    "changes", [{"format": "h5"}, {"precision": "fp8"}, {"files": {}}, {"inputs": ()}, {"outputs": ()}]
)
def test_what_no_bundle_could_hold_is_refused_when_built(changes: dict[str, object]) -> None:
    with pytest.raises(InputError):
        model(**changes)


@pytest.mark.parametrize(
    ("text", "name"), [("kws_ds_cnn_fp32", "kws-ds-cnn-fp32"), ("Ünïted/Model:0", "n-ted-model-0"), ("///", "model")]
)
def test_any_text_becomes_a_name_that_a_bundle_accepts(text: str, name: str) -> None:
    assert name_from(text) == name
    assert model().to_variant(name)[0].name == name


def test_a_bad_variant_name_is_refused() -> None:
    with pytest.raises(InputError):
        model().to_variant("FP 32")
