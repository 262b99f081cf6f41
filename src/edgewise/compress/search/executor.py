"""Who does the work: this process, several of this machine, or anybody else who stands behind the same protocol.

Workers read and write nothing: a model comes in as bytes and goes out as bytes, and what they need besides (the samples) was given
to them once. So another machine serves as well as another process.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol

from edgewise.compress.passes import Watch, nobody
from edgewise.compress.search.bench import Bench, Outcome, Work
from edgewise.errors import ProbeError

__all__ = ["Executor", "Here", "Processes", "end_with_parent"]


class Executor(Protocol):
    """Takes work and gives outcomes, in any order. Closing it drops what is not finished."""

    @property
    def workers(self) -> int:
        """How many pieces of work make sense at a time."""
        ...

    def submit(self, work: Work) -> None:
        """Take on ``work``; does not wait."""
        ...

    def next(self) -> Outcome:
        """The outcome of something that was submitted; waits for it. Raises ProbeError where a worker died."""
        ...

    def close(self) -> None:
        """End the workers."""
        ...


class Here:
    """In this process, one after another."""

    workers = 1

    def __init__(self, bench: Bench, watch: Watch = nobody) -> None:
        self._bench, self._watch = bench, watch
        self._waiting: deque[Work] = deque()

    def submit(self, work: Work) -> None:
        self._waiting.append(work)

    def next(self) -> Outcome:
        return self._bench.do(self._waiting.popleft(), self._watch)

    def close(self) -> None:
        self._waiting.clear()


class Processes:
    """``workers`` fresh processes of this machine, one thread each."""

    def __init__(self, bench: Bench, workers: int) -> None:
        self.workers = workers
        # Fresh ones: a fork of a process in which onnxruntime has threads may hang.
        self._pool = ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), initializer=_start, initargs=(bench,)
        )
        self._running: set[Future[Outcome]] = set()

    def submit(self, work: Work) -> None:
        self._running.add(self._pool.submit(_work, work))

    def next(self) -> Outcome:
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        first = next(iter(done))
        self._running.remove(first)
        try:
            return first.result()
        except BrokenProcessPool:
            raise ProbeError(
                "a worker of the search died: out of memory, or killed",
                remedy="The same command with --resume goes on; with fewer --workers it needs less memory.",
            ) from None

    def close(self) -> None:
        processes = list((self._pool._processes or {}).values())  # noqa: SLF001  (public from Python 3.14 on: terminate_workers)
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:  # what they have begun is not wanted any more
            process.terminate()


_bench: Bench | None = None


def _start(bench: Bench) -> None:
    global _bench  # noqa: PLW0603  (a worker process has one bench for its whole life)
    _bench = bench
    end_with_parent()


def end_with_parent(patience: float = 0.0) -> None:
    """End this process as soon as the one that started it is gone, whatever it does then; after ``patience`` seconds to tidy up, if
    there are any, which begin with SIGTERM.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        # A worker whose parent was killed would wait for work for ever: it holds both ends of the queue.
        threading.Thread(target=_follow, args=(parent.join, patience), daemon=True).start()


def _follow(wait_for_parent: Callable[[], None], patience: float) -> None:
    wait_for_parent()
    if patience:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(patience)
    os._exit(1)


def _work(work: Work) -> Outcome:
    assert _bench is not None
    return _bench.do(work)
