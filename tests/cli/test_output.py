"""What the commands print for people, and the exit codes that go with it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewise.bundle.build import build_bundle, with_evidence
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.document import Document, Variant
from edgewise.bundle.tensors import StateSpec, TensorSpec
from edgewise.cli import evaluate
from edgewise.cli.main import main
from edgewise.cli.run import _print
from edgewise.compose.demo import digits_data
from edgewise.compose.evaluating import Evaluated, Row
from edgewise.digits import model_bytes
from edgewise.errors import RequirementError, TensorError
from edgewise.measure.evaluation import Evaluation
from edgewise.measure.latency import Latency
from edgewise.measure.metric import Metric
from edgewise.packing.pack import sign_release
from edgewise.runtime.answer import Answer
from edgewise.runtime.opening import Candidate
from edgewise.runtime.session import Origin
from edgewise.store.bundles import open_path, write_file
from edgewise.store.home import Home
from edgewise.testing.sample_bundles import full_bundle, receipt, sample_file
from edgewise.trust.keys import PrivateKey
from edgewise.trust.verification import sign_statement

LABELS = ("a", "b", "c")


def shown(capsys: pytest.CaptureFixture[str], task: str, value: Any, *, single: bool = True, **more: Any) -> str:
    arrays = {"out": np.asarray(value), **more}
    origin = Origin("int8", "onnxruntime", "CPU", "out", task, LABELS, reason="because")
    _print(origin, [(Path("folder/file.npy"), Answer(arrays, origin, single), 0.25)])
    out = capsys.readouterr().out
    assert "answered on this device by onnxruntime (CPU): because" in out
    row = out.splitlines()[2]
    assert row.startswith("file.npy ")
    assert row.endswith("int8       250 \u00b5s")
    return row.removeprefix("file.npy").partition("int8")[0].strip()


def test_a_class_comes_with_its_score(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "classification", [[0.1, 0.7, 0.2]]).split() == ["b", "0.700"]
    assert shown(capsys, "classification", np.array([[1]])).split() == ["b", "-"], "no score is known"


def test_of_a_long_batch_eight_are_shown_and_how_many_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    eight, nine = (np.tile(np.array([[0.25, 0.75, 0.0]], np.float32), (count, 1)) for count in (8, 9))
    assert shown(capsys, "classification", eight, single=False) == f"{', '.join('b' * 8)}  {', '.join(['0.750'] * 8)}"
    assert shown(capsys, "classification", nine, single=False).count("b, b, b, b, b, b, b, b, ... (9 in all)") == 1


def test_every_label_that_is_set_is_shown_or_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "multilabel", [[0.9, 0.1, 0.6]]) == "a, c"
    assert shown(capsys, "multilabel", [[0.1, 0.1, 0.1]]) == "none"
    assert shown(capsys, "multilabel", [[0.9, 0.1, 0.6], [0.0, 0.0, 0.0]], single=False) == "a, c; none"


def test_every_object_is_shown_with_its_place_or_that_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    found, padding = [1, 2, 3.25, 4, 0.875, 1], [0, 0, 0, 0, 0, -1]
    assert shown(capsys, "detection", np.array([[found, padding]], np.float32)) == "b 0.88 at 1, 2, 3.25, 4"
    assert shown(capsys, "detection", np.array([[padding]], np.float32)) == "nothing found"


def test_other_outputs_show_eight_values_and_how_many_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "tensor", [[1.5, 2.25]]) == "1.5, 2.25"
    assert shown(capsys, "tensor", [list(range(8))]) == "0, 1, 2, 3, 4, 5, 6, 7"
    assert shown(capsys, "tensor", [list(range(9))]) == "0, 1, 2, 3, 4, 5, 6, 7, ... (9 values)"


def test_a_file_that_fails_sets_the_exit_code_and_the_others_are_answered(
    capsys: pytest.CaptureFixture[str], digits_bundle: Path, trusting_home: Home, tmp_path: Path
) -> None:
    np.save(tmp_path / "good.npy", np.zeros((1, 8, 8, 1), np.uint8))
    np.save(tmp_path / "bad.npy", np.zeros((1, 8, 8, 1), np.float64))
    given = [str(tmp_path / name) for name in ("bad.npy", "good.npy", "none.npy")]
    code = main(["run", str(digits_bundle), *given, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert [("error" in item, "label" in item) for item in told] == [(True, False), (False, True), (True, False)]
    assert code == TensorError.exit_code
    assert told[1]["ms"] > 0
    assert told[1]["reason"]


def page(capsys: pytest.CaptureFixture[str], bundle: Bundle, folder: Path) -> str:
    write_file(bundle, folder / "m.bundle")
    assert main(["inspect", str(folder / "m.bundle")]) == 0
    return capsys.readouterr().out


def test_a_page_tells_what_the_interface_says_of_each_tensor(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = b"no model: nothing of it is run"
    document = Document(
        "m", "1", "classification",
        (
            TensorSpec("wave", "float32", ("batch", 400), content="audio", extra={"sampleRate": 8000}),
            TensorSpec("memory", "float32", (1, 2)),
        ),
        (
            TensorSpec("p", "int8", ("batch", 25), extra={"quantization": {"scale": 0.5, "zeroPoint": -3}}),
            TensorSpec("next", "float32", (1, 2)),
        ),
        (Variant("int8", "onnx", "int8", (sample_file("m.onnx", data),), requires={"opset": 18}),),
        "p", tuple(f"label-{at}" for at in range(25)), (StateSpec("memory", "next"),), licence="MIT",
    )  # fmt: skip
    lines = [" ".join(line.split()) for line in page(capsys, build_bundle(document, [data]), tmp_path).splitlines()]
    for line in (
        "input wave: float32 (batch, 400) audio, 8000 Hz", "input memory: float32 (1, 2) state, from next",
        "output p: int8 (batch, 25) decides, real = 0.5 x (value - -3)", "output next: float32 (1, 2)", "licence MIT",
    ):  # fmt: skip
        assert line in lines
    (labels,) = (line for line in lines if line.startswith("labels (25): label-0, "))
    assert labels.endswith("label-19, ...")
    assert any(line.startswith("signature NOT TRUSTED") for line in lines)


def test_a_page_says_which_receipts_count_and_how_the_golden_set_was_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, trusting_home: Home, signing_key: PrivateKey
) -> None:
    bundle = full_bundle()
    late = sign_statement(receipt(bundle, "fp32", 0.5), PrivateKey.new())
    bundle = with_evidence(signed(bundle, signing_key, "int8"), [late])
    out = page(capsys, bundle, tmp_path)
    rows = [line.split() for line in out.splitlines() if "onnxruntime/CPU" in line]
    assert [(row[0], row[-2]) for row in rows] == [("fp32", "NO"), ("int8", "yes")], "in the order of the variants"
    assert "2 inputs; at least 99.0%" in out
    golden = bundle.document.golden
    assert golden is not None
    made_up = replace(bundle.document, golden=replace(golden, extra={"source": "seeded"}))
    files = {file.digest: bundle.read(file) for file in bundle.document.all_files()}
    assert "2 inputs, made up from the interface;" in page(
        capsys, build_bundle(made_up, list(files.values())), tmp_path
    )


def signed(bundle: Bundle, key: PrivateKey, variant: str) -> Bundle:
    return sign_release(with_evidence(bundle, [sign_statement(receipt(bundle, variant), key)]), key)


def test_what_does_not_hold_exits_with_four_and_says_so(
    capsys: pytest.CaptureFixture[str],
    digits_bundle: Path,
    tmp_path: Path,
    trusting_home: Home,
    signing_key: PrivateKey,
) -> None:
    bundle = open_path(digits_bundle)
    without = build_bundle(
        replace(bundle.document, golden=None), [bundle.read(v.files[0]) for v in bundle.document.variants]
    )
    write_file(sign_release(without, signing_key), tmp_path / "m.bundle")
    assert main(["verify", str(tmp_path / "m.bundle")]) == 0
    assert "proven: what SECURITY.md lists" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "m.bundle"), "--replay"]) == 4
    assert "do not use this bundle here" in capsys.readouterr().out


@pytest.mark.parametrize("signed_too", [True, False])
def test_pack_says_whether_it_is_signed(capsys: pytest.CaptureFixture[str], tmp_path: Path, signed_too: bool) -> None:
    (tmp_path / "m.onnx").write_bytes(model_bytes("fp32"))
    main(["key", "new"])
    capsys.readouterr()
    given = ["pack", str(tmp_path / "m.onnx"), "--name", "m", "--version", "1", "-o", str(tmp_path / "m.bundle")]
    given += ["--golden-count", "0"] + ([] if signed_too else ["--unsigned"])
    assert main(given) == 0
    assert (", signed" if signed_too else ", not signed") in capsys.readouterr().out
    assert main([*given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["signed"] is signed_too


def test_eval_exits_with_the_code_of_a_demand_that_nothing_meets(
    capsys: pytest.CaptureFixture[str], digits_bundle: Path, tmp_path: Path, trusting_home: Home
) -> None:
    data = digits_data("calibration")
    np.savez(tmp_path / "d.npz", x=data.x[:20], y=data.y[:20])
    given = ["eval", str(digits_bundle), "--data", str(tmp_path / "d.npz"), "--require", "engine=onnxruntime"]
    given += ["--require", "variant=fp32", "--require", "max_p95_ms=0.000001"]
    assert main(given) == RequirementError.exit_code
    out = capsys.readouterr().out
    assert "not met: fp32 on onnxruntime/CPUExecutionProvider, 1 thread: fp32: p95 is" in out


def test_what_eval_measured_is_a_row_and_what_it_did_not_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = (Metric("accuracy", 0.9, 0.8, 0.95, 20, "wilson"), Metric("macro_f1", 0.7, 0.6, 0.8, 20, "bootstrap"))
    way = Candidate("fp32", "onnxruntime", "CPUExecutionProvider")
    latency = Latency(0.5, 2.0, 3.0, 1.0, 999.6, 100)
    item = Evaluation(way, metrics, latency, {"CPUExecutionProvider": 7}, 1234, 20, "sha256:0")
    other = replace(way, variant="int8", threads=2)
    result = Evaluated("m:1", (Row(item, None, "it is too slow"),), ((other, "it does not open"),), Path("more.bundle"))
    evaluate._print(result)
    _, _, row, *lines = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in row.split("  ") if cell.strip()] == [
        "fp32", "onnxruntime/CPU", "0.9 (0.8..0.95)", "-", "500 \u00b5s", "2.00 ms", "1000/s", "-", "1.2 KB", "7 CPU",
    ]  # fmt: skip
    assert lines == [
        "fp32 by onnxruntime: macro_f1 0.7 (0.6..0.8)",
        "not met: fp32 on onnxruntime/CPUExecutionProvider, 1 thread: it is too slow",
        "not measured: int8 on onnxruntime/CPUExecutionProvider, 2 threads: it does not open",
        "more.bundle: the bundle with 1 more receipts",
    ]
    assert not result.met
    assert replace(result, rows=(Row(item, None),)).met
