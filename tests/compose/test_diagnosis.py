"""The doctor finds what is broken and names the command that mends it."""

import sys
from pathlib import Path

import pytest

from edgewise.compose.diagnosis import Finding, diagnose, installed_wheels
from edgewise.store.home import Home


def wheel(folder: Path, name: str, version: str) -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_wheels_that_overwrite_each_other_are_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel(tmp_path, "onnxruntime-gpu", "1.20.0")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert set(installed_wheels()) == {"onnxruntime", "onnxruntime-gpu"}
    found = next(finding for finding in diagnose(Home(tmp_path)) if finding.what == "onnxruntime wheels")
    assert found.state == "fault"
    assert "onnxruntime-gpu 1.20.0" in found.details
    assert found.fix.startswith("pip uninstall -y onnxruntime onnxruntime-gpu")
    assert found.fix.endswith("pip install --force-reinstall onnxruntime-gpu")


def test_files_of_another_version_than_the_installed_wheel_are_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel(tmp_path, "onnxruntime", "0.9.9")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = [finding for finding in diagnose(Home(tmp_path)) if finding.what == "onnxruntime import"]
    assert [finding.state for finding in found] == ["fault"]
    assert found[0].fix == "pip install --force-reinstall onnxruntime==0.9.9"


def test_telemetry_that_the_user_switched_on_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    found = next(finding for finding in diagnose(Home(tmp_path)) if finding.what == "telemetry of onnxruntime")
    assert (found.state, found.fix) == ("note", "unset ORT_DISABLE_TELEMETRY")


def test_a_sound_installation_has_no_fault(tmp_path: Path) -> None:
    assert sys.version_info >= (3, 11)
    findings = diagnose(Home(tmp_path / "new"))
    assert [finding for finding in findings if finding.state == "fault"] == []
    assert {"signing key", "trust root", "device", "engine onnxruntime"} <= {finding.what for finding in findings}


def home_findings(home: Home | None = None) -> dict[str, Finding]:
    return {found.what: found for found in diagnose(home) if found.what in ("home", "trust root", "signing key")}


def test_a_home_that_is_nowhere_is_a_fault_and_no_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWISE_HOME", "~no-such-user-here/x")
    found = home_findings()
    assert list(found) == ["home"]
    assert found["home"].state == "fault"
    assert "EDGEWISE_HOME=" in found["home"].fix


def test_a_home_that_is_a_file_or_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for root in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/edgewise"), tmp_path / ("x" * 300)):
        found = home_findings(Home(root))
        assert [found["home"].state, len(found)] == ["fault", 1], root
    assert [path.name for path in tmp_path.iterdir()] == ["file"], "looking leaves nothing behind"


def test_a_trust_root_or_key_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.trust_root.write_bytes(b"{")
    home.default_key.mkdir(parents=True)
    found = home_findings(home)
    assert [found["trust root"].state, found["signing key"].state] == ["fault", "fault"]
    assert str(home.trust_root) in found["trust root"].fix
