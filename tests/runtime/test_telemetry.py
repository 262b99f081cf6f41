"""Nothing is reported: no file, no thread and no socket that would not be there if the runtimes had no telemetry at all.

Each rule has a control that lets the runtime report, and must show the difference; its way out is a proxy that does not exist.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx", reason="needs the extra pack")

from edgewise.runtime import telemetry
from edgewise.testing.engine_models import example

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads threads and sockets from /proc")

_NOWHERE = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
_NOWHERE |= {"no_proxy": "", "NO_PROXY": ""}
#: Variables that would turn reporting off on their own: those of onnxruntime, and those of CI that openvino looks at.
_UNSET = ("ORT_DISABLE_TELEMETRY", "CI", "TF_BUILD", "JENKINS_URL")

_WATCH = """
import json, os, sys, time
from pathlib import Path
events = []
sys.addaudithook(lambda name, args: events.append(name) if name in ("socket.connect", "socket.getaddrinfo") else None)
sys.addaudithook(lambda name, args: events.append(name) if name in ("os.fork", "os.posix_spawn", "subprocess.Popen") else None)
{body}
sockets = set()
for _ in range(10):
    time.sleep(0.05)
    for link in Path("/proc/self/fd").iterdir():
        try:
            sockets |= {{os.readlink(link)}} if os.readlink(link).startswith("socket:") else set()
        except FileNotFoundError:
            pass
print(json.dumps(dict(events=events, sockets=sorted(sockets), threads=len(os.listdir("/proc/self/task")))))
os._exit(0)  # nothing gets the chance to report on the way out and hide it from the count above
"""
_PLAIN = """
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(Path(sys.argv[1]).read_bytes(), options)
session.run(None, {"x": numpy.zeros((1, 4), "float32")})
"""
_EDGEWISE = """
import edgewise
import numpy
from edgewise.runtime.engine import OpenOptions, find_engine
for name in sys.argv[2:]:
    engine = find_engine(name)
    file = "m." + engine.formats[-1]
    session = engine.open({file: Path(sys.argv[1]).with_suffix("." + engine.formats[-1]).read_bytes()}, OpenOptions())
    session.run({session.inputs[0].name: numpy.zeros((1, 4), "float32")})
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    for model_format in ("onnx", "tflite"):
        (data,) = example(model_format, "affine").files.values()
        (tmp_path / f"m.{model_format}").write_bytes(data)
    return tmp_path / "m.onnx"


def _watch(home: Path, body: str, *arguments: str, **environment: str) -> dict[str, Any]:
    """What a fresh process does that runs ``body`` with an empty home: threads, sockets, events, and files left behind."""
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if name not in _UNSET}
    done = subprocess.run(
        [sys.executable, "-c", _WATCH.format(body=body), *arguments],
        env=kept | _NOWHERE | {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")} | environment,
        cwd=home, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen | {"files": sorted(str(path.relative_to(home)) for path in home.rglob("*"))}


def test_onnxruntime_reports_nothing(tmp_path: Path, model: Path) -> None:
    """Imported through edgewise it has as many threads as with its own switch off, and no file; left alone it has more."""
    through_edgewise = _watch(tmp_path / "edgewise", _EDGEWISE, str(model), "onnxruntime")
    switched_off = _watch(tmp_path / "off", _PLAIN, str(model), ORT_DISABLE_TELEMETRY="1")
    reporting = _watch(tmp_path / "on", _PLAIN, str(model), ORT_DISABLE_TELEMETRY="0")
    assert reporting["files"], "the control shows nothing: this test could not fail"
    assert reporting["threads"] > switched_off["threads"], "the control shows nothing: this test could not fail"
    assert through_edgewise == switched_off
    assert through_edgewise["files"] == through_edgewise["sockets"] == through_edgewise["events"] == []


def test_no_engine_reports_anything(tmp_path: Path, model: Path) -> None:
    """All engines in one process: no file below the home, no socket, no process started."""
    names = [name for name, module in _MODULES.items() if find_spec(module)]
    seen = _watch(tmp_path / "all", _EDGEWISE, str(model), *names)
    assert seen["files"] == seen["sockets"] == seen["events"] == []


@pytest.mark.skipif(find_spec("openvino_telemetry") is None, reason="openvino_telemetry is not installed")
def test_openvino_left_alone_reports_as_soon_as_it_is_imported(tmp_path: Path) -> None:
    """The control of the test above: the identifier that openvino writes is there without edgewise."""
    reporting = _watch(tmp_path / "openvino", "import openvino")
    assert "intel/openvino_ga_cid" in reporting["files"]


def test_the_users_own_setting_stays(tmp_path: Path, model: Path) -> None:
    body = (
        "import edgewise\nprint(os.environ['ORT_DISABLE_TELEMETRY'])\nassert os.environ['ORT_DISABLE_TELEMETRY'] == '0'"
    )
    body += "\nfrom edgewise.runtime import telemetry\nassert telemetry.state()['onnxruntime'] == 'on'"
    _watch(tmp_path / "own", body, ORT_DISABLE_TELEMETRY="0")


def test_what_was_imported_before_edgewise_is_not_called_off(tmp_path: Path) -> None:
    """Where edgewise came too late it says ``unknown`` instead of promising anything."""
    body = "import onnxruntime, edgewise\nfrom edgewise.runtime import telemetry\n"
    _watch(tmp_path / "late", body + "assert telemetry.state()['onnxruntime'] == 'unknown'")
    if find_spec("openvino"):
        body = "import openvino, edgewise\nfrom edgewise.runtime import telemetry, openvino_engine\n"
        _watch(tmp_path / "later", body + "assert telemetry.state()['openvino'] == 'unknown'")


def test_a_reporter_is_out_of_reach_only_while_its_module_is_imported(tmp_path: Path) -> None:
    """Another package that wants openvino_telemetry afterwards, or had it before, finds it as it was."""
    body = """
from edgewise.runtime import telemetry
before = sys.modules["openvino_telemetry"] = type(sys)("openvino_telemetry")
for _ in range(2):
    with telemetry.withheld():
        try:
            import openvino_telemetry
        except ModuleNotFoundError:
            pass
        else:
            raise AssertionError("it could be imported")
    assert sys.modules["openvino_telemetry"] is before
assert telemetry.state() == {"onnxruntime": "on", "openvino": "off"}, telemetry.state()
"""
    _watch(tmp_path / "reach", body, ORT_DISABLE_TELEMETRY="0")


def test_every_switch_belongs_to_a_module_whose_state_is_told() -> None:
    assert {module for _, module in telemetry.SWITCHES.values()} | set(telemetry.REPORTERS) == set(telemetry.state())


_MODULES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "litert": "ai_edge_litert"}
