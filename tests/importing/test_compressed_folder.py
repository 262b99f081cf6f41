"""What a search wrote becomes variants that say how they were made; a report that is not of these files is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgewise.compose.importing import import_models
from edgewise.digests import digest_of
from edgewise.digits import model_bytes
from edgewise.errors import DocumentError, InputError
from edgewise.importing.compressed_folder import import_compressed, is_compressed

PLAIN, SMALL = model_bytes("fp32"), model_bytes("int8")
HELD = {
    "metric": {"name": "accuracy", "value": 0.998}, "dropPoints": 0.2, "allowedPoints": 0.5, "test": "McNemar", "pValue": 0.5,
    "significant": False, "passes": True,
}  # fmt: skip


def report(**changes: Any) -> dict[str, Any]:
    """What `edgewise compress` writes, less what nobody reads here."""
    return {
        "format": 1, "tool": "edgewise 0.1.0", "model": "digits", "task": "classification", "output": "logits",
        "seed": 7, "epochs": 12,
        "data": [{"use": "held out", "digest": digest_of(b"data"), "samples": 497}], "nearest": "int8 > compact",
        "chosen": {"best": "int8 > compact", "smallest": "int8 > compact", "fastest": "as it came"},
        "files": {"best": "best.onnx", "smallest": "best.onnx", "fastest": "fastest.onnx", "original": "original.onnx"},
        "rows": [
            {"name": "as it came", "model": digest_of(PLAIN), "did": [], "heldOut": HELD},
            {"name": "int8 > compact", "model": digest_of(SMALL), "did": ["weights as int8", "short names"], "heldOut": HELD},
            {"name": "int4 > compact", "model": "", "did": ["weights as int4"], "heldOut": None, "failed": "no Conv"},
        ],
        **changes,
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "original.onnx").write_bytes(PLAIN)
    for name in ("best", "fastest"):
        (tmp_path / f"{name}.onnx").write_bytes(SMALL if name == "best" else PLAIN)
    (tmp_path / "labels.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
    write(tmp_path, report())
    return tmp_path


def write(folder: Path, value: Any) -> None:
    (folder / "report.json").write_text(value if isinstance(value, str) else json.dumps(value))


def test_every_chosen_file_is_one_variant_that_says_how_it_was_made(folder: Path) -> None:
    found = import_models([str(folder)])
    # The fastest is the model as it came, which is there already.
    assert list(found.models) == ["original", "best"]
    assert (found.task, found.decision, found.labels[:2]) == ("classification", "logits", ("0", "1"))
    assert found.models["original"].derivation is None
    made = found.models["best"].derivation
    assert made is not None
    assert (made.source, made.steps) == (digest_of(PLAIN), ("weights as int8", "short names"))
    assert (made.tool, made.seed, made.epochs, made.data[0].samples) == ("edgewise 0.1.0", 7, 12, 497)
    assert made.judged is not None
    assert (made.judged.drop, made.judged.p_value, made.judged.passes) == (0.2, 0.5, True)
    variant, _ = found.models["best"].to_variant("best")
    assert variant.to_json()["derivation"]["judged"]["metric"] == "accuracy"


@pytest.mark.parametrize("name", ["best", "original"])
def test_a_file_that_the_report_does_not_speak_of_is_refused_with_a_remedy(folder: Path, name: str) -> None:
    (folder / f"{name}.onnx").write_bytes(PLAIN if name == "best" else SMALL)
    with pytest.raises(InputError, match=rf"{name}\.onnx is not the model that report.json speaks of") as raised:
        import_compressed(folder)
    assert "--resume" in raised.value.remedy


def test_a_search_that_chose_nothing_has_nothing_to_pack(folder: Path) -> None:
    write(folder, report(chosen={}))
    with pytest.raises(InputError, match=r"chose nothing.*nearest is int8 > compact"):
        import_compressed(folder)


def altered(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    value = json.loads(json.dumps(report()))
    change(value)
    return value


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ("[" * 100_000, "(top)"), ("[]", "(top)"), ('{"format": 1, "format": 1}', "(top)"),
        (altered(lambda r: r.pop("format")), "format"), (report(format=2), "format"), (report(rows=[]), "rows"),
        (report(chosen={"best": "magic"}), "chosen"), (report(chosen={"../best": "int8 > compact"}), "chosen"),
        (report(files={"best": "../../../etc/passwd"}), "files"), (report(chosen={"best": "int4 > compact"}), "chosen"),
        (altered(lambda r: r["rows"][1].update(did=[])), "chosen"), (altered(lambda r: r["rows"][1].update(heldOut=1)), "heldOut"),
        (altered(lambda r: r["rows"][1]["heldOut"].update(pValue=2)), "heldOut.pValue"), (report(seed=-1), "seed"),
        (report(data=[{"use": "\x1b[2J", "samples": 1}]), "data[0].use"), (report(rows=[{}] * 5000), "rows"),
        (report(task="magic"), "task"), (altered(lambda r: r["rows"][0].update(model="../x")), "rows"),
    ],
)  # fmt: skip
def test_a_report_of_another_form_is_refused_by_path(folder: Path, value: Any, where: str) -> None:
    write(folder, value)
    with pytest.raises(DocumentError) as raised:
        import_compressed(folder)
    assert any(where in problem for problem in raised.value.problems), raised.value.problems
    assert "\x1b" not in str(raised.value)


def test_a_folder_of_models_with_a_report_of_something_else_is_what_it_was(folder: Path) -> None:
    (folder / "original.onnx").unlink()
    assert not is_compressed(folder)
    assert sorted(import_models([str(folder)]).models) == ["fp32", "int8"]
