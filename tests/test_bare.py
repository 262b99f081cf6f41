"""What a device needs works with the core install alone; what needs an extra says which."""

import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest

import edgewise
from edgewise.bundle.build import build_bundle, with_evidence
from edgewise.bundle.document import Document, File, Variant
from edgewise.bundle.statement import release_statement
from edgewise.bundle.tensors import TensorSpec
from edgewise.cli.main import main
from edgewise.compose.keys import trust_key
from edgewise.digests import digest_of
from edgewise.digits import load_split, model_bytes
from edgewise.store.bundles import write_file
from edgewise.store.home import Home
from edgewise.trust.keys import PrivateKey
from edgewise.trust.verification import sign_statement

pytestmark = pytest.mark.bare
BARE = os.environ.get("EDGEWISE_BARE") == "1"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    variants, blobs = [], []
    for name in ("fp32", "int8"):
        data = model_bytes(name)
        file = File("model.onnx", "application/vnd.cncf.model.weight.v1.raw", digest_of(data), len(data))
        variants.append(Variant(name, "onnx", name, (file,)))
        blobs.append(data)
    document = Document(
        "digits", "1.0.0", "classification", (TensorSpec("pixels", "float32", ("batch", 1, 8, 8), (0.0, 1.0)),),
        (TensorSpec("logits", "float32", ("batch", 10)),), tuple(variants), "logits", tuple("0123456789"),
    )  # fmt: skip
    key = PrivateKey.new()
    trust_key(key.public, "tests", Home.default())
    built = build_bundle(document, blobs)
    release = release_statement("digits", "1.0.0", built.content(), [])
    path = tmp_path / "digits.bundle"
    write_file(with_evidence(built, [sign_statement(release, key)]), path)
    return path


def test_a_signed_bundle_is_verified_chosen_and_answers(bundle: Path) -> None:
    x, y = load_split("eval")
    with edgewise.load(bundle, require={"provider": "CPUExecutionProvider", "engine": "onnxruntime"}) as model:
        said = model.predict((x[:, None] / 16).astype(np.float32))
        assert np.mean(np.array(said.index) == y) > 0.95


def test_the_command_line_runs_verifies_inspects_and_diagnoses(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = load_split("eval")
    np.save(tmp_path / "one.npy", (x[0][None] / 16).astype(np.float32))
    assert main(["run", str(bundle), str(tmp_path / "one.npy"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["index"] == int(y[0])
    assert main(["verify", str(bundle)]) == 0
    assert main(["inspect", str(bundle)]) == 0
    assert main(["doctor"]) == 0
    assert main(["data", "list"]) == 0


def test_exporting_needs_no_extra(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(bundle), "-o", str(tmp_path / "x.ortpackage")]) == 0
    assert "fp32, int8" in capsys.readouterr().out


@pytest.mark.skipif(not BARE, reason="runs in the environment without extras: EDGEWISE_BARE=1")
def test_no_extra_is_here_and_what_needs_one_names_it(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("onnx", "PIL", "openvino", "ai_edge_litert"):
        assert importlib.util.find_spec(module) is None
    (tmp_path / "m.onnx").write_bytes(model_bytes("fp32"))
    (tmp_path / "i.png").write_bytes(b"x")
    for arguments in (
        ["pack", str(tmp_path / "m.onnx"), "--name", "x", "--version", "1", "-o", str(tmp_path / "x.bundle")],
        ["demo", "-o", str(tmp_path / "d.bundle")],
    ):
        assert main(arguments) == 1, arguments
        assert "pip install 'edgewise[" in capsys.readouterr().err


def test_calibrating_and_its_page_need_no_extra(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = load_split("eval")
    np.savez(tmp_path / "field.npz", x=(x[:, None] / 16).astype(np.float32), y=y)
    np.savez(tmp_path / "said.npz", said=y, name="people")
    (tmp_path / "own.key").write_bytes(PrivateKey.new().to_pem())
    named = {
        "data": "field.npz",
        "upstream": "said.npz",
        "key": "own.key",
        "page": "promise.html",
        "output": "out.bundle",
    }
    words = [word for name, file in named.items() for word in (f"--{name}", str(tmp_path / file))]
    fixed = ("--epsilon", "2", "--variant", "int8", "--rule", "margin", "--against", "agreement")
    assert main(["calibrate", str(bundle), *words, *fixed]) == 0
    assert "497 samples that the promise rests on (binomial); nothing had to be chosen" in capsys.readouterr().out
    assert "<svg" in (tmp_path / "promise.html").read_text()
    if BARE:
        assert main(["calibrate", str(bundle), *words, *fixed, "--plot", str(tmp_path / "promise.png")]) == 1
        assert "edgewise[train]" in capsys.readouterr().err
