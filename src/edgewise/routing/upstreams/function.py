"""A function of this process as an upstream: a model of another library, a queue to somewhere, whatever a test needs."""

from collections.abc import Callable, Mapping
from typing import final

import numpy as np

from edgewise.clock import Clock, SystemClock
from edgewise.errors import InputError, NetworkError, PeerError
from edgewise.net.cancel import Cancel
from edgewise.routing.upstream import Answered, Described, Question, Reply
from edgewise.runtime.engine import Array

__all__ = ["FunctionUpstream"]

_NUMBERS = "biuf"  # kinds of arrays that a model gives, in NumPy's letters; texts besides


@final
class FunctionUpstream:
    """fn: from inputs by name, (n, ...) each, to outputs by name with n rows, or to the deciding output alone. It has to be
    thread-safe. labels: in the order of its scores; their number is checked where there are any. tier: who it is in answers.

        FunctionUpstream(lambda inputs: forest.predict_proba(inputs["sensor"]).astype("float32"), "forest", labels=labels)

    It runs in the thread that asks, and a function that is running cannot be ended from outside: what it gives after the time
    of a question, or after somebody gave up, is thrown away. Whoever cannot wait for it asks from another thread, as a node does.
    """

    leaves = False

    def __init__(
        self,
        fn: Callable[[Mapping[str, Array]], Mapping[str, Array] | Array],
        name: str,
        *,
        labels: tuple[str, ...] = (),
        tier: str = "cloud",
        clock: Clock | None = None,
    ) -> None:
        if not callable(fn) or not name or not name.isprintable():
            raise InputError("a function upstream has a function, and a name that can be printed")
        self._fn, self._name, self._labels, self._tier = fn, name, tuple(labels), tier
        self._clock, self._closed = clock or SystemClock(), False

    @property
    def name(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return f"FunctionUpstream({self._name})"

    def describe(self, until: float, cancel: Cancel) -> Described:
        self._check_time(until, cancel)
        return Described(self._name, tier=self._tier, labels=self._labels)

    def ask(self, question: Question, cancel: Cancel) -> Reply:
        """Raises NetworkError where it takes longer than it may, PeerError where it raises or gives what is no answer."""
        self._check_time(question.until, cancel)
        begun = self._clock.seconds()
        try:
            given = self._fn(question.inputs)
        except Exception as error:  # somebody else's code; its message may hold the sample
            raise PeerError(f"{self._name} failed with {type(error).__name__}") from None
        spent = self._clock.seconds() - begun
        self._check_time(question.until, cancel)
        outputs = given if isinstance(given, Mapping) else {question.decision: given}
        faults = [fault for name, value in outputs.items() if (fault := _fault(name, value, question.rows))]
        if question.decision not in outputs:
            faults.append(f"{question.decision} is missing")
        if not faults:
            faults += self._misfit(outputs[question.decision])
        if faults:
            raise PeerError(f"{self._name} gave no answer to {question.rows} rows: {'; '.join(faults[:8])}")
        by = (Answered(self._tier, self._name),) * question.rows
        return Reply(dict(outputs), by, ((self._tier, spent),))

    def close(self) -> None:
        """Nothing can be asked afterwards. The function is its owner's."""
        self._closed = True

    def _misfit(self, scores: Array) -> list[str]:
        """Of what decides, where it has a score for each class."""
        is_other = scores.ndim != 2 or scores.dtype.kind != "f" or scores.shape[1] in (1, len(self._labels))
        return [] if is_other or not self._labels else [f"{scores.shape[1]} scores for {len(self._labels)} labels"]

    def _check_time(self, until: float, cancel: Cancel) -> None:
        if self._closed:
            raise NetworkError(f"{self._name} is not asked any more: it was closed")
        if cancel:
            raise NetworkError(f"{self._name} was not waited for")
        if self._clock.seconds() >= until:
            raise NetworkError(f"{self._name} did not answer in time", remedy="Give it more time.")


def _fault(name: object, value: object, rows: int) -> str:
    if not isinstance(name, str) or not isinstance(value, np.ndarray):
        return f"{name!r:.60} is a {type(value).__name__}, where an array by its name is needed"
    texts = value.dtype.kind == "U" or (value.dtype.kind == "O" and all(isinstance(item, str) for item in value.flat))
    if value.dtype.kind not in _NUMBERS and not texts:
        return f"{name!r:.60} is of {value.dtype}"
    if value.shape[:1] != (rows,):
        return f"{name!r:.60} has shape {value.shape}"
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        return f"{name!r:.60} is not finite"
    return ""
