"""A function of this process as upstream: bounded by a time that it does not keep, believed in nothing."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgewise.clock import FixedClock, SystemClock
from edgewise.errors import InputError, NetworkError, PeerError
from edgewise.net.cancel import Cancel
from edgewise.routing.upstream import Described, Question
from edgewise.routing.upstreams.function import FunctionUpstream
from edgewise.runtime.engine import Array
from edgewise.testing.upstream_conformance import Subject, UpstreamConformance

LABELS = ("low", "high")
Arrays = dict[str, Array]


def judge(inputs: Any) -> Arrays:
    """Whether the sum is above 0, by a logistic function."""
    total = inputs["x"].sum(axis=1)
    high = 1 / (1 + np.exp(-total))
    return {"scores": np.stack([1 - high, high], axis=1).astype(np.float32), "total": total}


class Faulty:
    """``judge``, until it is told otherwise."""

    def __init__(self) -> None:
        self.instead: Callable[[Any], Any] | None = None

    def __call__(self, inputs: Any) -> Any:
        return (self.instead or judge)(inputs)

    def does(self, instead: Callable[[Any], Any] | None) -> Callable[[], None]:
        def change() -> None:
            self.instead = instead

        return change


def raises(_: Any) -> Any:
    raise ValueError("the sample is secret")


WRONG: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda inputs: None,
    "a list": lambda inputs: judge(inputs)["scores"].tolist(),
    "another output": lambda inputs: {"other": judge(inputs)["scores"]},
    "a list among outputs": lambda inputs: judge(inputs) | {"total": [0.0]},
    "a name that is none": lambda inputs: judge(inputs) | {3: np.zeros(len(inputs["x"]))},
    "a row too few": lambda inputs: {"scores": judge(inputs)["scores"][:-1]},
    "a row too many in another output": lambda inputs: judge(inputs) | {"total": np.zeros(len(inputs["x"]) + 1)},
    "no axis": lambda inputs: {"scores": np.array(1, np.float32)},
    "NaN": lambda inputs: judge(inputs)["scores"] * np.nan,
    "infinity": lambda inputs: judge(inputs) | {"total": np.full(len(inputs["x"]), np.inf)},
    "objects": lambda inputs: np.array([[None, 1]] * len(inputs["x"])),
    "complex numbers": lambda inputs: judge(inputs)["scores"].astype(np.complex64),
    "a class too many": lambda inputs: np.zeros((len(inputs["x"]), 3), np.float32),
    "an exception": raises,
}


class TestFunctionConformance(UpstreamConformance):
    @pytest.fixture
    def subject(self) -> Subject:
        faulty = Faulty()
        return Subject(
            make=lambda: FunctionUpstream(faulty, "judge", labels=LABELS),
            inputs=lambda rows, seed: {"x": np.random.default_rng(seed).normal(size=(rows, 4)).astype(np.float32)},
            expected=judge,
            decision="scores",
            described=Described("judge", labels=LABELS),
            wrong={name: faulty.does(instead) for name, instead in WRONG.items()},
            mend=faulty.does(None),
            secrets=("secret",),
        )


def question(until: float) -> Question:
    return Question({"x": np.ones((2, 4), np.float32)}, until, "scores")


def test_the_deciding_output_may_come_alone() -> None:
    upstream = FunctionUpstream(lambda inputs: judge(inputs)["scores"], "judge", labels=LABELS)
    reply = upstream.ask(question(time.perf_counter() + 10), Cancel())
    assert list(reply.outputs) == ["scores"]
    assert not upstream.leaves


@pytest.mark.parametrize(
    "output",
    [np.array([0, 1]), np.array([0.2, 0.9]), np.array([[0.2], [0.9]]), np.array(["low", "high"]), np.array(["low", "high"], object),
     np.zeros((2, 5, 6), np.float32), np.array([True, False]), np.array([3, 200], np.uint8)],
)  # fmt: skip
def test_every_form_in_which_a_model_decides_is_taken(output: Array) -> None:
    upstream = FunctionUpstream(lambda inputs: output, "judge", labels=LABELS)
    assert upstream.ask(question(time.perf_counter() + 10), Cancel()).outputs["scores"] is output


def test_what_comes_after_its_time_is_thrown_away() -> None:
    clock = FixedClock()

    def slow(inputs: Any) -> Arrays:
        clock.advance(3)
        return judge(inputs)

    upstream = FunctionUpstream(slow, "slow", clock=clock)
    assert upstream.ask(question(4.0), Cancel()).spent == (("cloud", 3.0),)
    with pytest.raises(NetworkError, match="slow did not answer in time"):
        upstream.ask(question(6.0), Cancel())


def test_it_is_not_called_where_no_time_is_left_or_nobody_waits() -> None:
    calls = list[Any]()
    upstream = FunctionUpstream(calls.append, "never", clock=SystemClock())
    given_up = Cancel()
    given_up.set()
    for until, cancel in ((time.perf_counter(), Cancel()), (time.perf_counter() + 10, given_up)):
        with pytest.raises(NetworkError):
            upstream.ask(question(until), cancel)
        with pytest.raises(NetworkError):
            upstream.describe(until, cancel)
    assert not calls


def test_what_it_says_after_somebody_gave_up_is_thrown_away() -> None:
    cancel = Cancel()

    def meanwhile(inputs: Any) -> Arrays:
        cancel.set()
        return judge(inputs)

    with pytest.raises(NetworkError, match="not waited for"):
        FunctionUpstream(meanwhile, "late").ask(question(time.perf_counter() + 10), cancel)


def test_of_its_exception_only_the_type_is_told() -> None:
    with pytest.raises(PeerError, match=r"^judge failed with ValueError$") as raised:
        FunctionUpstream(raises, "judge").ask(question(time.perf_counter() + 10), Cancel())
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_an_interrupt_is_no_answer() -> None:
    def interrupted(_: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FunctionUpstream(interrupted, "judge").ask(question(time.perf_counter() + 10), Cancel())


@pytest.mark.parametrize(("fn", "name"), [(3, "x"), (judge, ""), (judge, "a\x1b[2J")])
def test_without_a_function_and_a_name_there_is_none(fn: Any, name: str) -> None:
    with pytest.raises(InputError):
        FunctionUpstream(fn, name)
