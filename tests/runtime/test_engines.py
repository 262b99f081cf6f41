"""Every engine that edgewise ships passes the public suite."""

import os
from importlib.util import find_spec

import pytest

pytest.importorskip("onnx", reason="needs the extra pack")

from edgewise.errors import MissingExtraError
from edgewise.runtime.engine import ENGINES, Engine, find_engine, installed_engines
from edgewise.testing.engine_conformance import EngineConformance


def _engine(name: str) -> Engine:
    # On CI every engine has to be there: a suite that skips itself proves nothing.
    if name not in installed_engines() and os.environ.get("CI") != "true":
        pytest.skip(f"the runtime of {name} is not installed: pip install 'edgewise[{ENGINES[name].extra}]'")
    return find_engine(name)


class TestOnnxRuntime(EngineConformance):
    @pytest.fixture
    def engine(self) -> Engine:
        return _engine("onnxruntime")


class TestOpenVino(EngineConformance):
    @pytest.fixture
    def engine(self) -> Engine:
        return _engine("openvino")


class TestLiteRt(EngineConformance):
    @pytest.fixture
    def engine(self) -> Engine:
        return _engine("litert")


def test_installed_engines_are_those_whose_runtime_can_be_found() -> None:
    assert installed_engines() == [name for name, entry in ENGINES.items() if find_spec(entry.module)]
    assert "onnxruntime" in installed_engines()


def test_an_engine_is_called_what_the_table_calls_it() -> None:
    assert [find_engine(name).name for name in installed_engines()] == installed_engines()


def test_an_unknown_engine_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(MissingExtraError, match="onnxruntime, openvino, litert"):
        find_engine("tensorrt")
