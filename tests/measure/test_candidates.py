"""Candidates are every installed engine on every provider for every variant that it reads, less what is ruled out by name."""

import pytest

from edgewise.bundle.build import build_bundle
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.document import Document, Variant
from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import RequirementError
from edgewise.measure.candidates import candidates_for, reference_candidate
from edgewise.runtime.engine import find_engine, installed_engines
from edgewise.runtime.opening import Candidate
from edgewise.runtime.requirements import Requirements
from edgewise.testing.sample_bundles import sample_file

CPU = "CPUExecutionProvider"
DATA = {"a": b"one", "b": b"two", "t": b"three"}


@pytest.fixture
def bundle() -> Bundle:
    """Two ONNX variants and a TFLite one; nothing of them is run."""
    made = [
        Variant(name, "tflite" if name == "t" else "onnx", "fp32", (sample_file("m", data),))
        for name, data in DATA.items()
    ]
    spec = (TensorSpec("x", "float32", ("batch", 1)),)
    return build_bundle(Document("m", "1", "tensor", spec, spec, tuple(made)), list(DATA.values()))


def test_every_way_is_found_once(bundle: Bundle) -> None:
    wanted = {
        Candidate(variant.name, name, provider.name)
        for name in installed_engines()
        for provider in find_engine(name).providers()
        for variant in bundle.document.variants
        if variant.format in find_engine(name).formats
    }
    found = candidates_for(bundle, Requirements())
    assert set(found) == wanted
    assert len(found) == len(wanted)
    assert {Candidate("a", "onnxruntime", CPU), Candidate("b", "onnxruntime", CPU)} <= wanted
    assert Candidate("t", "onnxruntime", CPU) not in wanted


def test_what_is_demanded_by_name_is_all_that_is_left(bundle: Bundle) -> None:
    everything = candidates_for(bundle, Requirements())
    for clause, value in (("engine", "onnxruntime"), ("provider", CPU), ("variant", "b")):
        left = candidates_for(bundle, Requirements(**{clause: value}))  # type: ignore[arg-type]
        assert left == [candidate for candidate in everything if getattr(candidate, clause) == value]
    only = Requirements(engine="onnxruntime", provider=CPU, variant="b")
    assert candidates_for(bundle, only) == [Candidate("b", "onnxruntime", CPU)]


@pytest.mark.parametrize(
    "demand",
    [{"engine": "none"}, {"provider": "NoneExecutionProvider"}, {"variant": "none"}, {"variant": "t", "engine": "onnxruntime"}],
    ids=str,
)  # fmt: skip
def test_a_demand_that_nothing_here_meets_is_answered_with_what_there_is(
    bundle: Bundle, demand: dict[str, str]
) -> None:
    with pytest.raises(RequirementError, match="nothing here can run m:1 with") as caught:
        candidates_for(bundle, Requirements(**demand))  # type: ignore[arg-type]
    for name, value in demand.items():
        assert f"{name}={value}" in caught.value.what
    assert "variants a (onnx), b (onnx), t (tflite)" in caught.value.what
    assert ", ".join(installed_engines()) in caught.value.what


def test_answers_are_recorded_by_the_engine_that_the_format_was_made_for(bundle: Bundle) -> None:
    assert reference_candidate(bundle, "b") == Candidate("b", "onnxruntime", CPU)
    if "litert" not in installed_engines():
        pytest.skip("needs the extra litert")
    first = find_engine("litert").providers()[0].name
    assert reference_candidate(bundle, "t") == Candidate("t", "litert", first)
