"""What OpenVINO's engine does beyond the public suite: its files, its precision, its caches."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra pack")

from edgewise.errors import ModelError
from edgewise.runtime.engine import OpenOptions, installed_engines
from edgewise.testing.engine_models import example

if "openvino" not in installed_engines():
    pytest.skip("openvino is not installed: pip install 'edgewise[openvino]'", allow_module_level=True)

from edgewise.runtime.openvino_engine import OpenVinoEngine

EXTERNAL = example("onnx", "external")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that temporary files go to."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_model_in_memory_is_never_written_down(temporary: Path) -> None:
    session = OpenVinoEngine().open(example("onnx", "affine").files, OpenOptions())
    assert not list(temporary.iterdir())
    session.close()


@pytest.mark.parametrize("case", [EXTERNAL, example("tflite", "affine")], ids=["external data", "tflite"])
def test_what_has_to_be_written_down_is_private_and_goes_on_closing(temporary: Path, case: object) -> None:
    session = OpenVinoEngine().open(case.files, OpenOptions())  # type: ignore[attr-defined]
    (folder,) = temporary.iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    session.close()
    assert not list(temporary.iterdir())


def test_it_also_goes_when_the_session_is_dropped_or_the_model_does_not_open(temporary: Path) -> None:
    OpenVinoEngine().open(EXTERNAL.files, OpenOptions())
    assert not list(temporary.iterdir())
    for files in (EXTERNAL.files | {"model.onnx": b"garbage"}, EXTERNAL.files | {"weights.data": b"short"}):
        with pytest.raises(ModelError):
            OpenVinoEngine().open(files, OpenOptions())
        assert not list(temporary.iterdir())


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside"])
def test_nothing_is_written_outside_the_folder(temporary: Path, name: str) -> None:
    with pytest.raises(ModelError, match="outside"):
        OpenVinoEngine().open(EXTERNAL.files | {name: b"x"}, OpenOptions())
    assert not list(temporary.parent.rglob("outside"))


def test_the_second_opening_comes_from_the_cache(tmp_path: Path) -> None:
    case, engine = example("onnx", "convolution"), OpenVinoEngine()
    loaded = []
    for _ in range(2):
        session = engine.open(case.files, OpenOptions(cache=tmp_path / "cache"))
        loaded.append(session._compiled.get_property("LOADED_FROM_CACHE"))
        session.close()
    assert loaded == [False, True]


def test_a_cache_of_one_model_is_not_used_for_another(tmp_path: Path) -> None:
    for name in ("affine", "twice", "affine"):
        case = example("onnx", name)
        session = OpenVinoEngine().open(case.files, OpenOptions(cache=tmp_path / "cache"))
        feeds = case.feeds(2)
        assert all(np.array_equal(session.run(feeds)[key], wanted) for key, wanted in case.expected(feeds).items())
        session.close()


def test_the_cpu_computes_in_32_bit_floats_on_as_many_threads_as_it_was_given() -> None:
    session = OpenVinoEngine().open(EXTERNAL.files, OpenOptions(threads=2))
    assert str(session._compiled.get_property("INFERENCE_PRECISION_HINT")) == "<Type: 'float32'>"
    assert session._compiled.get_property("INFERENCE_NUM_THREADS") == 2
    session.close()


def test_the_published_int8_model_reaches_its_accuracy(shared_data: Path) -> None:
    """MLPerf Tiny's keyword model on its 1,000 samples: 90 % is its quality target."""
    folder = shared_data / "model_kws_dscnn"
    samples = np.load(folder / "kws01_accuracy_set_1000.npz")
    session = OpenVinoEngine().open({"kws.tflite": (folder / "kws_ref_model_int8.tflite").read_bytes()}, OpenOptions())
    (result,) = session.run({session.inputs[0].name: samples["x_int8"]}).values()
    assert (result.argmax(1) == samples["y"]).mean() >= 0.9
    session.close()
