"""Threads that ask upstream, so that whoever waits for an answer can stop waiting on time.

At most ``most`` threads, made when there is something to carry and none is free, ended when they had nothing to do for a while.
They are daemons: a function that never returns holds its own thread and nothing else, not even the end of the process.
"""

from collections.abc import Callable
from threading import Condition, Event, Lock, Thread
from typing import Generic, TypeVar, cast, final

from edgewise.clock import Clock
from edgewise.errors import EdgewiseError, NetworkError, PeerError
from edgewise.net.cancel import Cancel

__all__ = ["Couriers", "Errand"]

T = TypeVar("T")
_IDLE = 10.0  # seconds without an errand after which a thread ends


@final
class Errand(Generic[T]):
    """One question on its way. late: whoever waited for it gave up when its time was over."""

    __slots__ = ("_done", "_error", "_result", "_work", "cancel", "late")

    def __init__(self, work: Callable[[Cancel], T]) -> None:
        self.cancel = Cancel()
        self.late = False
        self._work = work
        self._done = Event()
        self._result: T | None = None
        self._error: EdgewiseError | None = None

    def run(self) -> None:
        """By the courier. Whatever an upstream raises that is no error of ours becomes one: nobody else would see it."""
        try:
            if not self.cancel:
                self._result = self._work(self.cancel)
        except EdgewiseError as error:
            self._error = error
        except Exception as error:  # an upstream may be anybody's code: no call ends in its exception
            self._error = PeerError(f"upstream failed with {type(error).__name__}")
        finally:
            self._done.set()

    def give_up(self) -> None:
        """Whoever waits goes on at once, and so does the courier as soon as it can."""
        self.cancel.set()
        self._done.set()

    def wait(self, seconds: float) -> T:
        """The result. Raises what asking raised, NetworkError where it takes longer: it is given up then."""
        if not self._done.wait(max(0.0, seconds)):
            self.late = True
            self.cancel.set()
            raise NetworkError("upstream did not answer in time")
        if self._error is not None:
            raise self._error
        if self._result is None:
            raise NetworkError("the question was given up")
        return self._result


@final
class Couriers:
    """most: questions on their way at once; further ones wait for a free thread, and for no longer than their own time."""

    def __init__(self, clock: Clock, most: int = 16) -> None:
        self._clock = clock
        self._most = most
        self._waiting: list[Errand[object]] = []
        self._threads = 0
        self._free = 0
        self._closed = False
        self._changed = Condition(Lock())
        self._current: set[Errand[object]] = set()

    def send(self, errand: "Errand[T]") -> bool:
        """Start it when a thread is free. False where the courier service is closed, or has more than it can ever carry."""
        with self._changed:
            if self._closed or len(self._waiting) >= 64 * self._most:
                return False
            self._waiting = [one for one in self._waiting if not one.cancel]
            self._waiting.append(cast("Errand[object]", errand))
            if self._free >= len(self._waiting):
                self._changed.notify()
                return True
            if self._threads >= self._most:
                return True
            self._threads += 1
        Thread(target=self._carry, name="edgewise-upstream", daemon=True).start()
        return True

    def close(self) -> None:
        """Give up what is on its way; the threads end."""
        with self._changed:
            self._closed = True
            errands = [*self._waiting, *self._current]
            self._waiting = []
            self._changed.notify_all()
        for errand in errands:
            errand.cancel.set()

    def _carry(self) -> None:
        while (errand := self._next()) is not None:
            errand.run()
            with self._changed:
                self._current.discard(errand)
            del errand  # its question holds samples

    def _next(self) -> "Errand[object] | None":
        until = self._clock.seconds() + _IDLE
        with self._changed:
            while True:
                if self._waiting and not self._closed:
                    errand = self._waiting.pop(0)
                    self._current.add(errand)
                    return errand
                left = until - self._clock.seconds()
                if self._closed or left <= 0:
                    self._threads -= 1
                    return None
                self._free += 1
                self._changed.wait(left)
                self._free -= 1
