"""The suite that every upstream passes. A third party's upstream runs it too:

    class TestMyUpstream(UpstreamConformance):
        @pytest.fixture
        def subject(self) -> Iterator[Subject]:
            with MyServer() as server:
                yield Subject(make=lambda: MyUpstream(server.url), inputs=..., expected=..., decision="scores")

What a server can do wrong is named in ``hanging``, ``wrong`` and ``failing``; a test of what is not named there passes without a
word, for an upstream inside this process has no server that hangs. Times are the best of a few tries: a machine that is busy
makes one late, an upstream that does not keep its time makes all of them late.
"""

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from edgewise.errors import EdgewiseError, NetworkError, PeerError
from edgewise.net.cancel import Cancel
from edgewise.routing.upstream import Described, Question, Reply, Upstream
from edgewise.runtime.engine import Array

__all__ = ["Subject", "UpstreamConformance"]

Arrays = Mapping[str, Array]
_TRIES = 8  # of what is timed, until one is in time
_PAUSE = 0.04  # seconds: what is given to a server that hangs, and after which somebody gives up on it
_SETTLING = 3.0  # seconds in which a server of the tests sees that nobody listens any more


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tested. make: an upstream, ready to be asked.

    inputs: (rows, seed) -> inputs by the interface's name. expected: inputs -> the outputs that are right, by name.
    hanging, wrong, failing: what it is called -> call that makes the server behave so until ``mend`` is called. hanging: no answer
    ever ends. wrong: it answers what must not reach the caller (PeerError). failing: it answers nothing, or that it cannot
    (NetworkError or PeerError, at once). described: what ``describe`` has to say; None where it is enough that it says something.
    secrets: what must be in no name, no text of an error and no representation. whole: seconds in which a right answer comes.
    late: seconds after its time within which a call has to have ended.
    """

    make: Callable[[], Upstream]
    inputs: Callable[[int, int], Arrays]
    expected: Callable[[Arrays], Arrays]
    decision: str
    tolerance: float = 1e-5
    described: Described | None = None
    hanging: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    wrong: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    failing: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    mend: Callable[[], object] = lambda: None
    secrets: tuple[str, ...] = ()
    whole: float = 10.0
    late: float = 0.010


class UpstreamConformance:
    """Override the fixture ``subject``; pytest collects the rest."""

    @pytest.fixture
    def subject(self) -> Subject:
        raise NotImplementedError("give the upstream to test: override the fixture `subject`")

    # --------------------------------------------------------------------------------------------------------- answers

    def test_answers_are_right_row_by_row_and_in_order(self, subject: Subject) -> None:
        """A batch has the answers that each of its rows has alone; batches grow, shrink and come back."""
        with _open(subject) as upstream:
            for seed, rows in enumerate((1, 5, 1, 3, 2)):
                inputs = subject.inputs(rows, seed)
                _check(subject, inputs, _ask(subject, upstream, inputs))
                for row in range(rows):
                    alone = {name: array[row : row + 1] for name, array in inputs.items()}
                    _check(subject, alone, _ask(subject, upstream, alone))

    def test_every_row_says_who_answered_it(self, subject: Subject) -> None:
        with _open(subject) as upstream:
            reply = _ask(subject, upstream, subject.inputs(3, 0))
            assert len(reply.by) == 3
            assert all(one.tier and one.deferred for one in reply.by)
            assert all(tier and 0 <= seconds < subject.whole for tier, seconds in reply.spent)

    def test_inputs_are_not_modified(self, subject: Subject) -> None:
        """Nor is anything kept of them: the same array with another content has another answer."""
        with _open(subject) as upstream:
            inputs, other = subject.inputs(2, 0), subject.inputs(2, 1)
            _ask(subject, upstream, inputs)
            assert all(np.array_equal(array, subject.inputs(2, 0)[name]) for name, array in inputs.items())
            mutable = {name: array.copy() for name, array in inputs.items()}
            _ask(subject, upstream, mutable)
            for name, array in mutable.items():
                array[...] = other[name]
            _check(subject, other, _ask(subject, upstream, mutable))

    def test_it_says_what_it_is(self, subject: Subject) -> None:
        with _open(subject) as upstream:
            for _ in range(2):
                described = upstream.describe(_in(subject.whole), Cancel())
                assert described.tier
                assert subject.described is None or described == subject.described
            assert upstream.name
            assert upstream.leaves in (True, False)

    def test_many_callers_at_once(self, subject: Subject) -> None:
        """Eight threads, each with its own inputs and batch sizes, get their own answers."""
        with _open(subject) as upstream, ThreadPoolExecutor(8) as pool:

            def call(seed: int) -> None:
                for rows in (1, 2, 1, 3):
                    inputs = subject.inputs(rows, seed * 10 + rows)
                    _check(subject, inputs, _ask(subject, upstream, inputs))

            list(pool.map(call, range(16)))

    def test_secrets_are_shown_nowhere(self, subject: Subject) -> None:
        with _open(subject) as upstream:
            shown = [upstream.name, repr(upstream), str(upstream)]
            for cause in (*subject.wrong.values(), *subject.failing.values()):
                cause()
                shown += [f"{error} {error.remedy} {error.details}" for error in (_fault(subject, upstream),)]
                subject.mend()
            assert not [text for text in shown for secret in subject.secrets if secret in text]

    # ------------------------------------------------------------------------------------------------------------ time

    def test_time_that_is_over_is_an_error_at_once(self, subject: Subject) -> None:
        with _open(subject) as upstream:
            for until in (_in(0), _in(-1), float("-inf")):
                with pytest.raises(NetworkError):
                    upstream.ask(Question(subject.inputs(1, 0), until, subject.decision), Cancel())
            _check_works(subject, upstream)

    def test_a_server_that_never_ends_its_answer_is_left_in_time(self, subject: Subject) -> None:
        """Asked and to be described, warm and with a connection that is not there yet: NetworkError, when the time is over."""
        for name, cause in subject.hanging.items():
            with _open(subject) as upstream, _open(subject) as cold:
                _check_works(subject, upstream)
                for which in (upstream, cold):
                    for call in (_asking, _describing):
                        cause()
                        late = _best(subject, call, which, _lateness)
                        assert -0.005 <= late <= subject.late, (name, call.__name__)
                        subject.mend()
                        _check_works(subject, which)

    def test_who_gives_up_waits_no_longer(self, subject: Subject) -> None:
        """``cancel`` set from another thread ends the call at once; set before, it does not even begin."""
        for name, cause in subject.hanging.items():
            with _open(subject) as upstream:
                _check_works(subject, upstream)
                for call in (_asking, _describing):
                    cause()
                    late = _best(subject, call, upstream, _given_up)
                    assert late <= subject.late, (name, call.__name__)
                    subject.mend()
                    _check_works(subject, upstream)
        with _open(subject) as upstream:
            before = Cancel()
            before.set()
            with pytest.raises(NetworkError):
                upstream.ask(Question(subject.inputs(1, 0), _in(subject.whole), subject.decision), before)

    def test_what_was_given_up_leaves_neither_socket_nor_thread(self, subject: Subject) -> None:
        for name, cause in subject.hanging.items():
            empty = _Held.now()
            with _open(subject) as upstream:
                _check_works(subject, upstream)
                warm = _Held.now()
                cause()
                for _ in range(4):
                    _lateness(subject, _asking, upstream, 0.02)
                    _given_up(subject, _asking, upstream, 0.02)
                warm.comes_back(name)
                subject.mend()
                _check_works(subject, upstream)
            empty.comes_back(name)

    # ---------------------------------------------------------------------------------------------------------- faults

    def test_a_wrong_answer_never_reaches_the_caller(self, subject: Subject) -> None:
        """PeerError, and the next answer is right."""
        for name, cause in subject.wrong.items():
            with _open(subject) as upstream:
                for _ in range(2):
                    _check_works(subject, upstream)
                    cause()
                    error = _fault(subject, upstream)
                    assert isinstance(error, PeerError), (name, error)
                    assert str(error).isprintable(), name
                    subject.mend()
                _check_works(subject, upstream)

    def test_a_failing_server_is_an_error_of_the_tree(self, subject: Subject) -> None:
        """NetworkError or PeerError long before the time is over, and the next answer is right. Nothing is left open."""
        for name, cause in subject.failing.items():
            before = _Held.now()
            with _open(subject) as upstream:
                for _ in range(2):
                    _check_works(subject, upstream)
                    cause()
                    begun = time.perf_counter()
                    error = _fault(subject, upstream)
                    assert time.perf_counter() - begun < subject.whole / 2, name
                    assert isinstance(error, NetworkError | PeerError), (name, error)
                    assert str(error).isprintable(), name
                    subject.mend()
                _check_works(subject, upstream)
            before.comes_back(name)

    # --------------------------------------------------------------------------------------------------------- closing

    def test_closing_ends_everything(self, subject: Subject) -> None:
        """What is under way ends at once, what comes later is an error, and closing twice is none. Nothing is left open."""
        for name, cause in ({"nothing": subject.mend} | dict(subject.hanging)).items():
            before = _Held.now()
            upstream = subject.make()
            _check_works(subject, upstream)
            if cause is not subject.mend:
                cause()
                late = _ended_by(subject, _asking, upstream, Cancel(), upstream.close, _PAUSE)
                assert late <= subject.whole / 2, name
            upstream.close()
            upstream.close()
            subject.mend()
            with pytest.raises(EdgewiseError):
                _ask(subject, upstream, subject.inputs(1, 0))
            before.comes_back(name)


# ------------------------------------------------------------------------------------------------------------- helpers


@contextmanager
def _open(subject: Subject) -> Iterator[Upstream]:
    upstream = subject.make()
    try:
        yield upstream
    finally:
        subject.mend()
        upstream.close()


def _in(seconds: float) -> float:
    return time.perf_counter() + seconds


def _ask(subject: Subject, upstream: Upstream, inputs: Arrays) -> Reply:
    return upstream.ask(Question(inputs, _in(subject.whole), subject.decision), Cancel())


def _asking(subject: Subject, upstream: Upstream, until: float, cancel: Cancel) -> object:
    return upstream.ask(Question(subject.inputs(2, 0), until, subject.decision), cancel)


def _describing(_: Subject, upstream: Upstream, until: float, cancel: Cancel) -> object:
    return upstream.describe(until, cancel)


Call = Callable[[Subject, Upstream, float, Cancel], object]


def _check(subject: Subject, inputs: Arrays, reply: Reply) -> None:
    expected, rows = subject.expected(inputs), len(next(iter(inputs.values())))
    assert subject.decision in reply.outputs
    assert len(reply.by) == rows
    for name, got in reply.outputs.items():
        wanted = expected[name]
        assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape), name
        if wanted.dtype.kind in "OUS":
            assert got.tolist() == wanted.tolist(), name
        else:
            difference = np.abs(got.astype(np.float64) - wanted.astype(np.float64))
            assert difference.max(initial=0) <= subject.tolerance, (name, got, wanted)


def _check_works(subject: Subject, upstream: Upstream) -> None:
    inputs = subject.inputs(2, 3)
    _check(subject, inputs, _ask(subject, upstream, inputs))


def _fault(subject: Subject, upstream: Upstream) -> EdgewiseError:
    with pytest.raises(EdgewiseError) as raised:
        _ask(subject, upstream, subject.inputs(2, 0))
    return raised.value


def _best(
    subject: Subject, call: Call, upstream: Upstream, tried: Callable[[Subject, Call, Upstream], float]
) -> float:  # fmt: skip
    """The least that was late, of a few tries."""
    least = float("inf")
    for _ in range(_TRIES):
        least = min(least, tried(subject, call, upstream))
        if least <= subject.late:
            break
    return least


def _lateness(subject: Subject, call: Call, upstream: Upstream, pause: float = _PAUSE) -> float:
    """Seconds from the end of the time that was given to the error."""
    until = _in(pause)
    with pytest.raises(NetworkError):
        call(subject, upstream, until, Cancel())
    return time.perf_counter() - until


def _given_up(subject: Subject, call: Call, upstream: Upstream, pause: float = _PAUSE) -> float:
    cancel = Cancel()
    return _ended_by(subject, call, upstream, cancel, cancel.set, pause)


def _ended_by(
    subject: Subject, call: Call, upstream: Upstream, cancel: Cancel, end: Callable[[], object], pause: float
) -> float:
    """Seconds from ``end``, called ``pause`` seconds after the call began in another thread, to the error there."""
    ended: list[float] = []
    faults: list[BaseException] = []

    def work() -> None:
        try:
            call(subject, upstream, _in(subject.whole), cancel)
        except EdgewiseError as error:
            faults.append(error)
        ended.append(time.perf_counter())

    thread = Thread(target=work)
    thread.start()
    thread.join(pause)
    begun = time.perf_counter()
    end()
    thread.join(2 * subject.whole)
    assert ended, "the call goes on"
    assert faults, "a server that hangs was answered by"
    assert isinstance(faults[0], NetworkError), faults
    return ended[0] - begun


@dataclass(frozen=True, slots=True)
class _Held:
    """What this process holds: threads of Python, and open files where the system tells."""

    threads: int
    files: int

    @classmethod
    def now(cls) -> "_Held":
        gc.collect()  # what others left behind is no matter of this test
        return cls.look()

    @classmethod
    def look(cls) -> "_Held":
        folder = Path("/proc/self/fd")
        return cls(threading.active_count(), len(os.listdir(folder)) if folder.is_dir() else 0)  # noqa: PTH208

    def comes_back(self, name: str) -> None:
        """No more than this is held, within the time that the servers of a test need to see that nobody listens any more."""
        until = time.perf_counter() + _SETTLING
        while (now := _Held.look()).threads > self.threads or now.files > self.files:
            assert time.perf_counter() < until, f"{name}: {now} is held, where it was {self}"
            time.sleep(0.02)
