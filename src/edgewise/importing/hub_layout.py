"""How a repository on the Hugging Face Hub is laid out: which ONNX file is which variant, what the labels and the task are.

The names follow Transformers.js and Optimum, which write and read them: ``onnx/model{suffix}.onnx``, or ``model.onnx`` at
the top. ``config.json`` says the architecture and the labels.
"""

from collections.abc import Mapping
from typing import Any

from edgewise.errors import DataError, UnsupportedError
from edgewise.importing.folder import Folder

__all__ = ["SUFFIXES", "find_onnx_files", "kept_files", "read_labels", "read_task"]

#: Suffix of the file name -> name and precision of the variant (Transformers.js, DEFAULT_DTYPE_SUFFIX_MAPPING).
SUFFIXES: Mapping[str, tuple[str, str]] = {
    "": ("fp32", "fp32"),
    "_fp16": ("fp16", "fp16"),
    "_quantized": ("q8", "int8"),
    "_int8": ("int8", "int8"),
    "_uint8": ("uint8", "int8"),
    "_q4": ("q4", "int4"),
    "_q4f16": ("q4f16", "int4"),
    "_bnb4": ("bnb4", "int4"),
}
# End of the architecture's class name (transformers) -> task of a bundle; the first that fits.
_TASKS = (
    ("ForImageClassification", "classification"),
    ("ForSequenceClassification", "classification"),
    ("ForAudioClassification", "classification"),
    ("ForVideoClassification", "classification"),
    ("ForObjectDetection", "detection"),
    ("Model", "embedding"),
)
_PROBLEMS = {"multi_label_classification": "multilabel", "regression": "regression"}
# What goes along with a model: what turns text into its inputs, and what people have to be told.
_KEPT = (
    "tokenizer*.json",
    "special_tokens_map.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "LICENSE*",
    "NOTICE*",
    "README.md",
)
_KEPT_LIMIT = 64 << 20  # bytes; the largest tokenizers in use have about 35 MB


def find_onnx_files(folder: Folder) -> dict[str, str]:
    """Suffix -> path of each ONNX file of the one model in the repository, fp32 first.

    Raises UnsupportedError where there is none, and where the repository is made of several models (encoder and decoder).
    """
    found: dict[str, str] = {}
    for suffix in SUFFIXES:
        for path in (f"onnx/model{suffix}.onnx", f"model{suffix}.onnx"):
            if suffix not in found and folder.has(path):
                found[suffix] = path
    if not found:
        others = folder.files("*.onnx") + folder.files("onnx/*.onnx")
        if others:
            raise UnsupportedError(
                f"the repository has no model.onnx but {', '.join(others[:8])}",
                remedy="Import the file that you need by its name; models of several parts are not joined.",
            )
        raise UnsupportedError(
            "the repository has no ONNX file",
            remedy="Export it with Optimum (optimum-cli export onnx), or take a repository that has onnx/model.onnx.",
        )
    return found


def read_labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """``id2label`` of config.json in the order of its indices. Raises DataError where an index is missing or no number."""
    labels = config.get("id2label")
    if labels is None:
        return ()
    if not isinstance(labels, dict) or not all(isinstance(label, str) for label in labels.values()):
        raise DataError("config.json: id2label has to be an object of texts")
    try:
        numbered = {int(index): label for index, label in labels.items()}
    except ValueError:
        raise DataError(f"config.json: id2label has an index that is no number: {sorted(labels)[:8]}") from None
    if sorted(numbered) != list(range(len(labels))):
        raise DataError(
            f"config.json: id2label should count from 0 to {len(labels) - 1}; its indices are {sorted(numbered)[:8]}...",
            remedy="Correct config.json; a label at the wrong index is a wrong answer.",
        )
    return tuple(numbered[index] for index in range(len(labels)))


def read_task(config: Mapping[str, Any]) -> str:
    """The task of a bundle that fits ``architectures`` and ``problem_type``; ``tensor`` where none does."""
    architectures = config.get("architectures")
    name = architectures[0] if isinstance(architectures, list) and architectures else ""
    task = next((task for ending, task in _TASKS if isinstance(name, str) and name.endswith(ending)), "tensor")
    if task != "classification":
        return task
    if name.endswith("ForSequenceClassification") and len(read_labels(config)) == 1:
        return "regression"
    return _PROBLEMS.get(str(config.get("problem_type")), task)


def kept_files(folder: Folder) -> dict[str, bytes]:
    """The files that go into the bundle beside the model: tokenizer, licence, model card."""
    paths = sorted({path for pattern in _KEPT for path in folder.files(pattern)})
    return {path: folder.read(path, _KEPT_LIMIT) for path in paths}
