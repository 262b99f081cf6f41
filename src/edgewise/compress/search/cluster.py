"""The search's work on a Ray cluster: the same pieces of work as over processes, on the processors of other machines.

Ray is spoken to by a process of its own (cluster_driver.py). For where no cluster answers, Ray tries on for a quarter of an hour in
a call that cannot be broken off; where the head node dies, it ends the process that was connected; and what it has to say goes to
standard output, among the JSON. A process can be given a deadline, and its end is an error like any other.
"""

import multiprocessing
import os
import signal
import sys
from contextlib import suppress
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import Any

from edgewise.compress.search.bench import Bench, Outcome, Work
from edgewise.compress.search.executor import end_with_parent
from edgewise.errors import EdgewiseError, MissingExtraError, NetworkError, ProbeError

__all__ = ["LOCAL", "Cluster"]

#: The address of a cluster on this machine that is started for the search and ends with it.
LOCAL = "local"
_JOINING = 45.0  # seconds in which a cluster has to answer
_LOCAL_START = 120.0  # seconds for one to start on a busy machine; 5 to 11 on an idle one
_STARTING = 180.0  # seconds for the first worker on every node: it starts Python and opens onnxruntime
_LEAVING, _LOCAL_END = 3.0, 15.0  # seconds to take leave of a cluster; for one of ours to end


class Cluster:
    """address: ``host:port``, ``ray://host:port``, ``auto`` for the cluster that this machine belongs to, or ``local``.

    workers: pieces of work in flight; as many as the cluster has CPUs where None. nodes: how many of its machines have any. Only a
    cluster that was started here (``local``) ends with ``close``. Raises MissingExtraError without Ray, NetworkError where no
    cluster answers in time, InputError where its nodes have another edgewise or onnxruntime.
    """

    def __init__(self, bench: Bench, address: str, workers: int | None = None) -> None:
        if find_spec("ray") is None:
            raise MissingExtraError("a search on a cluster needs ray", remedy="pip install 'edgewise[cluster]'")
        context = multiprocessing.get_context("spawn")
        self._line, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, address, bench), daemon=True)
        self._process.start()
        self._leaving = _LOCAL_END if address == LOCAL else _LEAVING
        theirs.close()  # so that its end is an end of file here
        try:
            joining = _LOCAL_START if address == LOCAL else _JOINING
            self._answer(joining, f"no Ray cluster answered at {address} within {joining:.0f} s")
            self.nodes, cpus = self._answer(_STARTING, f"the nodes of the Ray cluster at {address} do not answer")
        except BaseException:
            self.close()
            raise
        self.workers: int = workers or cpus

    def submit(self, work: Work) -> None:
        self._send(work)

    def next(self) -> Outcome:
        self._send(None)
        outcome: Outcome = self._answer()
        return outcome

    def close(self) -> None:
        self._process.terminate()  # it may be waiting for an outcome that nobody wants any more
        self._process.join(self._leaving)
        self._process.kill()
        self._process.join()
        self._line.close()

    def _send(self, message: Work | None) -> None:
        with suppress(OSError):  # where it has ended, it has left a message that says why
            self._line.send(message)

    def _answer(self, seconds: float | None = None, silent: str = "") -> Any:
        try:
            if not self._line.poll(seconds):
                raise NetworkError(silent, remedy="Check the address, and the cluster with `ray status --address`.")
            answer = self._line.recv()
        except (EOFError, ConnectionError):
            raise ProbeError(
                "the connection to the Ray cluster was lost: its head node died or cannot be reached",
                remedy="The same command with --resume goes on; what was finished is kept.",
            ) from None
        if isinstance(answer, EdgewiseError):
            raise answer
        return answer


def _serve(line: Connection, address: str, bench: Bench) -> None:
    """In a process of its own: join, then take work and give outcomes; an error is the last thing that is said."""
    end_with_parent(_LOCAL_END if address == LOCAL else _LEAVING)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())  # so that a cluster of ours is shut down
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    try:
        # Deferred: ray is the optional extra "cluster".
        from edgewise.compress.search.cluster_driver import Driver  # noqa: PLC0415

        with Driver(address, bench) as driver:
            line.send(None)
            line.send(driver.prepare())
            while True:
                work = line.recv()
                if work is None:
                    line.send(driver.next())
                else:
                    driver.submit(work)
    except EOFError:
        pass  # closed
    except EdgewiseError as error:
        line.send(error)
    except Exception as error:
        line.send(ProbeError(f"the search on the cluster failed: {type(error).__name__}: {error}"))
    finally:
        os._exit(0)  # without waiting for what is still measured here
