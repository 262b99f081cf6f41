"""Commands that take something from elsewhere or hand it on: import, export, data. Real servers on loopback."""

import json
import shutil
from pathlib import Path

import pytest

from edgewise.cli.main import main
from edgewise.digits import model_bytes
from edgewise.net.catalogue import find_set
from edgewise.store.home import Home
from edgewise.testing.hub_server import HubServer
from edgewise.testing.web_server import FileServer

REPOSITORY = {
    "config.json": b'{"architectures": ["TinyForImageClassification"]}',
    "README.md": b"# digits",
    "onnx/model.onnx": model_bytes("fp32"),
    "onnx/model_int8.onnx": model_bytes("int8"),
    "pytorch_model.bin": bytes(10_000),
}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_repository_is_fetched_packed_and_answers(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HubServer({"acme/digits": REPOSITORY}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        code, out, err = run(capsys, "import", "acme/digits", "-o", tmp_path / "repository", "--json")
        assert code == 0, err
        fetched = json.loads(out)
        assert fetched["commit"] == hub.commit("acme/digits")
        assert sorted(fetched["files"]) == ["README.md", "config.json", "onnx/model.onnx", "onnx/model_int8.onnx"]
        code, out, _ = run(capsys, "import", "acme/digits", "-o", tmp_path / "again", "--only", "config.json")
        assert code == 0
        assert "1 files" in out
        assert f"edgewise pack {tmp_path / 'again'}" in out
        assert run(capsys, "import", "acme/none", "-o", tmp_path / "none")[0] == 3
    run(capsys, "key", "new")
    code, out, err = run(
        capsys, "pack", tmp_path / "repository", "--name", "d", "--version", "1", "-o", tmp_path / "d.bundle"
    )
    assert code == 0, err
    assert "int8 against fp32" in out


def test_a_bundle_is_exported_as_a_package_and_packed_again(
    capsys: pytest.CaptureFixture[str], digits_bundle: Path, trusting_home: Home, tmp_path: Path
) -> None:
    package = tmp_path / "digits.ortpackage"
    code, out, _ = run(capsys, "export", digits_bundle, "-o", package, "--json")
    assert code == 0
    assert json.loads(out)["variants"] == ["fp32", "int8"]
    assert json.loads(out)["leftOut"] == []
    assert run(capsys, "export", digits_bundle, "-o", package)[0] == 1, "what is there is not overwritten"
    arguments = ("--name", "again", "--version", "1", "--unsigned", "-o", tmp_path / "again.bundle")
    assert run(capsys, "pack", package, *arguments)[0] == 0
    code, out, _ = run(capsys, "export", digits_bundle, "-o", tmp_path / "other.ortpackage")
    assert f"{tmp_path / 'other.ortpackage'}: fp32, int8" in out


def test_a_data_set_comes_from_a_mirror_verified(
    capsys: pytest.CaptureFixture[str], shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "behaviour_movietweetings"
    for file in find_set(name).files:
        target = tmp_path / "mirror" / name / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shared_data / name / file.path, target)
    monkeypatch.delenv("EDGEWISE_DATA", raising=False)
    with FileServer(tmp_path / "mirror") as server:
        monkeypatch.setenv("EDGEWISE_DATA_URL", server.url)
        code, out, err = run(capsys, "data", "get", name, "--json")
        assert code == 0, err
        folder = Path(json.loads(out)["path"])
        assert {file.path for file in find_set(name).files} == {
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        }
        (tmp_path / "mirror" / name / "movies.dat").write_bytes(b"other")
        shutil.rmtree(folder)
        assert run(capsys, "data", "get", name)[0] == 3


def test_the_built_in_set_needs_no_network_and_an_unknown_one_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "data", "get", "digits")
    assert code == 0
    assert (Path(out.strip()) / "digits.npz").is_file()
    code, _, err = run(capsys, "data", "get", "imagenet")
    assert code == 1
    assert "There are: " in err
    listed = json.loads(run(capsys, "data", "list", "--json")[1])
    assert {"digits", "defects_pcb"} <= {item["name"] for item in listed}
