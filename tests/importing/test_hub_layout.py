"""Which file is which variant, and what a label's index is, is read from the repository and never guessed."""

from pathlib import Path
from typing import Any

import pytest

from edgewise.errors import DataError, UnsupportedError
from edgewise.importing.folder import Folder
from edgewise.importing.hub_layout import SUFFIXES, find_onnx_files, kept_files, read_labels, read_task


def repository(folder: Path, *paths: str) -> Folder:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode())
    return Folder(folder)


def test_every_suffix_is_its_own_variant_and_no_two_share_a_name() -> None:
    names = [name for name, _ in SUFFIXES.values()]
    assert len(set(names)) == len(names) == 8


def test_files_are_found_by_suffix_below_onnx_first_and_at_the_top_otherwise(tmp_path: Path) -> None:
    folder = repository(
        tmp_path, "onnx/model.onnx", "model.onnx", "model_int8.onnx", "onnx/model_q4f16.onnx", "onnx/other.onnx"
    )
    assert find_onnx_files(folder) == {
        "": "onnx/model.onnx",
        "_int8": "model_int8.onnx",
        "_q4f16": "onnx/model_q4f16.onnx",
    }


def test_a_model_of_several_parts_is_named_and_not_joined(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"decoder_model_merged\.onnx"):
        find_onnx_files(repository(tmp_path, "onnx/encoder_model.onnx", "onnx/decoder_model_merged.onnx"))


def test_no_onnx_at_all_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError) as caught:
        find_onnx_files(repository(tmp_path, "model.safetensors"))
    assert "Export" in caught.value.remedy


def test_labels_come_in_the_order_of_their_numbers_not_of_their_text() -> None:
    labels = {str(index): f"c{index}" for index in (10, 2, 0, 1, 9, 3, 4, 5, 6, 7, 8)}
    assert read_labels({"id2label": labels}) == tuple(f"c{index}" for index in range(11))
    assert read_labels({}) == ()


@pytest.mark.parametrize("labels", [{"0": "a", "2": "b"}, {"1": "a", "2": "b"}, {"x": "a"}, {"0": 1}, ["a"]])
def test_labels_with_a_gap_or_without_numbers_are_refused(labels: Any) -> None:
    with pytest.raises(DataError, match="id2label"):
        read_labels({"id2label": labels})


@pytest.mark.parametrize(
    ("config", "task"),
    [
        ({"architectures": ["ResNetForImageClassification"]}, "classification"),
        (
            {"architectures": ["BertForSequenceClassification"], "problem_type": "multi_label_classification"},
            "multilabel",
        ),
        ({"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}}, "regression"),
        ({"architectures": ["DetrForObjectDetection"]}, "detection"),
        ({"architectures": ["BertModel"]}, "embedding"),
        ({"architectures": ["BertForMaskedLM"]}, "tensor"),
        ({}, "tensor"),
    ],
)
def test_the_task_follows_the_architecture(config: dict[str, Any], task: str) -> None:
    assert read_task(config) == task


def test_tokenizer_and_licence_go_along_and_weights_do_not(tmp_path: Path) -> None:
    folder = repository(
        tmp_path, "tokenizer.json", "vocab.txt", "LICENSE", "README.md", "model.safetensors", "pytorch_model.bin"
    )
    (tmp_path / "tokenizer_config.json").symlink_to(tmp_path / "tokenizer.json")
    assert sorted(kept_files(folder)) == ["LICENSE", "README.md", "tokenizer.json", "vocab.txt"]
