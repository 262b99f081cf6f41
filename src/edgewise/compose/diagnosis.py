"""`edgewise doctor`: what commonly breaks an installation, looked for, and the command that mends it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile

from edgewise.compose.keys import load_private, trusted_keys
from edgewise.errors import EdgewiseError
from edgewise.runtime import telemetry
from edgewise.runtime.device import read_device
from edgewise.runtime.engine import ENGINES, find_engine
from edgewise.store.home import Home

__all__ = ["Finding", "diagnose"]

#: Wheels that all unpack into the folder ``onnxruntime`` and overwrite each other there.
_WHEELS = (
    "onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-qnn", "onnxruntime-rocm",
    "onnxruntime-training", "onnxruntime-silicon", "onnxruntime-coreml", "onnxruntime-webgpu", "ort-nightly", "ort-nightly-gpu",
)  # fmt: skip
#: Extra -> module that shows it is there -> what it is for.
_EXTRAS = {
    "pack": ("onnx", "packing and importing ONNX"),
    "image": ("PIL", "answering image files"),
    "train": ("matplotlib", "training by the command line"),
    "parquet": ("pyarrow", "training data in Parquet files"),
    "cluster": ("ray", "compressing on a cluster"),
    "openvino": ("openvino", "the OpenVINO engine"),
    "litert": ("ai_edge_litert", "TFLite models"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """state: ``ok``, ``note`` (nothing is broken) or ``fault``. fix: the command that mends it."""

    what: str
    state: str
    details: str
    fix: str = ""

    def to_json(self) -> dict[str, str]:
        return {"what": self.what, "state": self.state, "details": self.details, "fix": self.fix}


def diagnose(home: Home | None = None) -> list[Finding]:
    """Everything that was looked at, faults included. Never raises."""
    return [*_device(), *_wheels(installed_wheels()), *_engines(), *_telemetry(), *_extras(), *_home(home)]


def installed_wheels() -> dict[str, str]:
    """Distribution -> version, of those that unpack into ``onnxruntime``."""
    found: dict[str, str] = {}
    for name in _WHEELS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _wheels(found: dict[str, str]) -> Iterator[Finding]:
    listed = ", ".join(f"{name} {number}" for name, number in found.items())
    if len(found) > 1:
        keep = next((name for name in found if name != "onnxruntime"), "onnxruntime")
        fix = f"pip uninstall -y {' '.join(found)} && pip install --force-reinstall {keep}"
        yield Finding("onnxruntime wheels", "fault", f"{listed} overwrite each other's files", fix)
    elif not found:
        yield Finding("onnxruntime wheels", "fault", "none is installed", "pip install onnxruntime")
    else:
        yield Finding("onnxruntime wheels", "ok", listed)
        name, number = next(iter(found.items()))
        try:
            running = find_engine("onnxruntime").version()
        except (EdgewiseError, ImportError, OSError) as error:
            yield Finding("onnxruntime import", "fault", str(error)[:200], f"pip install --force-reinstall {name}")
            return
        if running.split("+")[0] != number.split("+")[0]:
            details = f"{name} says {number}, its files are {running}: another wheel has overwritten them"
            yield Finding("onnxruntime import", "fault", details, f"pip install --force-reinstall {name}=={number}")


def _device() -> Iterator[Finding]:
    device = read_device()
    features = ", ".join(device.features) or "none of those that matter here"
    yield Finding("device", "ok", f"{device.cpu}, {device.cores} cores, {device.memory / 1e9:.1f} GB, {features}")
    x86 = device.machine in ("x86_64", "AMD64")
    if x86 and not {"avx512_vnni", "avx_vnni"} & set(device.features):
        details = "no VNNI: int8 models with unsigned activations may saturate; the golden replay finds those that do"
        yield Finding("int8", "note", details)


def _engines() -> Iterator[Finding]:
    for name, entry in ENGINES.items():
        if find_spec(entry.module) is None:
            continue
        try:
            engine = find_engine(name)
            providers = "; ".join(
                provider.name + (f" ({', '.join(provider.devices)})" if provider.devices else "")
                for provider in engine.providers()
            )
            yield Finding(f"engine {name}", "ok", f"{engine.version()}: {providers}")
        except (EdgewiseError, ImportError, OSError, RuntimeError) as error:
            fix = f"pip install --force-reinstall {entry.distributions[0]}"
            yield Finding(f"engine {name}", "fault", f"is installed but does not start: {str(error)[:200]}", fix)


def _telemetry() -> Iterator[Finding]:
    for module, state in telemetry.state().items():
        if state == "off":
            yield Finding(f"telemetry of {module}", "ok", "off")
        elif state == "on":
            variable = next(name for name, (_, owner) in telemetry.SWITCHES.items() if owner == module)
            yield Finding(f"telemetry of {module}", "note", f"on, because {variable} is set", f"unset {variable}")
        else:
            yield Finding(
                f"telemetry of {module}",
                "note",
                f"{module} was imported before edgewise could switch it off",
                "import edgewise first",
            )


def _extras() -> Iterator[Finding]:
    for extra, (module, purpose) in _EXTRAS.items():
        if find_spec(module) is not None:
            yield Finding(f"extra {extra}", "ok", purpose)
        else:
            yield Finding(
                f"extra {extra}", "note", f"not installed; needed for {purpose}", f"pip install 'edgewise[{extra}]'"
            )


_OTHER_HOME = "export EDGEWISE_HOME=SOME/FOLDER"


def _home(named: Home | None) -> Iterator[Finding]:
    try:
        home = named or Home.default()
        fault = _unusable(home.root)
    except EdgewiseError as error:
        yield Finding("home", "fault", error.what, _OTHER_HOME)
        return
    if fault:
        yield Finding("home", "fault", fault, _OTHER_HOME)
        return
    yield Finding("home", "ok", str(home.root))
    yield _kept("trust root", home.trust_root, lambda: trusted_keys(home))
    yield _kept("signing key", home.default_key, lambda: load_private(home.default_key))


def _unusable(root: Path) -> str:
    """Why nothing can be kept below ``root``; empty where it can. Nothing is left there."""
    try:
        nearest = next(folder for folder in (root, *root.parents) if folder.exists())
        if not nearest.is_dir():
            return f"{root} cannot be a folder: {'it' if nearest == root else nearest} is a file"
        with TemporaryFile(dir=nearest) as file:  # permissions do not tell of full or read-only disks
            file.write(b"x")
            file.flush()
    except OSError as error:
        return f"{root} cannot be written: {error.strerror or error}"
    return ""


def _kept(what: str, path: Path, read: Callable[[], object]) -> Finding:
    try:
        if not path.exists():
            return Finding(what, "note", "none yet", "edgewise key new")
        read()
    except (EdgewiseError, OSError) as error:
        return Finding(what, "fault", str(error), getattr(error, "remedy", f"look at {path}"))
    return Finding(what, "ok", str(path))
