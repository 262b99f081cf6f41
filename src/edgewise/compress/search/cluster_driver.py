"""What speaks to Ray: joins a cluster, asks its nodes what they have, gives work out and takes outcomes in.

The samples go into the cluster's object store once, every node fetches them once; models travel as bytes. A piece of work is one
task on one CPU. Ray's own retries are off: a task that is lost with its worker or its node ends in an error here, and only then is
the work given out again. So at any time one task at most stands for a piece of work, and nothing is counted twice.

A pass that decides by time is done here, on the machine whose times the search compares: another one is faster at other layers.

Needs the extra "cluster". https://docs.ray.io/en/latest/ray-core/fault-tolerance.html says what Ray raises when.
"""

import logging
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import onnxruntime
import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from edgewise import __version__
from edgewise.compress.quantize.timed import Timed
from edgewise.compress.search.bench import Bench, Outcome, Work
from edgewise.errors import InputError, NetworkError, ProbeError

__all__ = ["Driver"]

_STARTING = 120.0  # seconds for the first worker on a node: it starts Python and opens onnxruntime
_ATTEMPTS = 3  # a work that was lost with so many workers is what kills them
_LOOK, _GLANCE = 5.0, 0.5  # seconds between looks at whether anybody is left; while something is done here
_DESERTED = 60.0  # seconds without a processor before it is given up; clusters that grow bring nodes within a minute
_RESUME = "The same command with --resume goes on; what was finished is kept."


@dataclass(frozen=True, slots=True)
class _Given:
    work: Work
    attempt: int


class Driver:
    """Joins the cluster at ``address`` and leaves it at the end; one that was started for it ends then.

    Raises NetworkError where there is none.
    """

    def __init__(self, address: str, bench: Bench) -> None:
        # Ray reports usage to its vendor unless a cluster is started without; one that is there already is as its owner wants it.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, include_dashboard=False)
        except Exception as error:  # Ray raises a dozen kinds here, among them those of grpc
            raise NetworkError(
                f"cannot join a Ray cluster at {address}: {_sentence(error)}",
                remedy="`ray start --head` prints its address; where it asks for a token, set RAY_AUTH_MODE=token. "
                "--cluster local starts one on this machine for the search.",
            ) from None
        # SPREAD: many passes at a time need memory, so every machine takes its share.
        self._task: Any = ray.remote(num_cpus=1, max_retries=0, scheduling_strategy="SPREAD")(_work)
        self._bench, self._there = bench, None
        self._running: dict[Any, _Given] = {}
        self._thread = ThreadPoolExecutor(1)  # one after another: two would disturb each other's times
        self._here: deque[Future[Outcome]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # half a shutdown would leave processes of Ray behind
        ray.shutdown()  # the cluster ends the tasks of whoever leaves

    def prepare(self) -> tuple[int, int]:
        """Check every node and hand over the samples; nodes and CPUs. Raises InputError where a node has other versions."""
        cpus = _cpus()
        _check_versions(cpus)
        self._there = ray.put(self._bench)
        return len(cpus), max(1, sum(cpus.values()))

    def submit(self, work: Work) -> None:
        """Give ``work`` out."""
        if isinstance(work.step, Timed):
            self._here.append(self._thread.submit(self._bench.do, work))
        else:
            self._begin(_Given(work, 1))

    def next(self) -> Outcome:
        """The outcome of something that was given out. Raises ProbeError where it is lost again and again, or nobody is left."""
        while True:
            done = self._wait()
            if done is None:
                return self._here.popleft().result()
            given = self._running.pop(done)
            try:
                outcome: Outcome = ray.get(done)
            except RayTaskError as error:  # ``Bench.do`` never raises: what it is given could not be read there
                raise ProbeError(f"a node of the cluster cannot do the work: {_sentence(error.cause)}") from None
            except RayError as error:
                if given.attempt == _ATTEMPTS:
                    raise ProbeError(
                        f"{given.work.step.name} was lost {_ATTEMPTS} times with the worker that did it: {_sentence(error)}",
                        remedy=f"Where it was memory, fewer --workers or nodes with more of it help. {_RESUME}",
                    ) from None
                self._begin(_Given(given.work, given.attempt + 1))
            else:
                return outcome

    def _begin(self, given: _Given) -> None:
        self._running[self._task.remote(self._there, given.work, _versions())] = given

    def _wait(self) -> Any:
        """A task that has ended; None where the first of what is done here has."""
        deserted = 0.0
        while deserted < _DESERTED:
            if self._here and (not self._running or self._here[0].done()):
                return None
            patience = _GLANCE if self._here else _LOOK
            done, _ = ray.wait(list(self._running), timeout=patience)
            if done:
                return done[0]
            deserted = 0.0 if _cpus() else deserted + patience
        raise ProbeError(
            f"for {_DESERTED:.0f} s the cluster has had no node with a CPU",
            remedy=f"Look at it with `ray status`. {_RESUME}",
        )


def _sentence(error: object) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"{' '.join(line.strip() for line in lines[:4]):.300}"


def _cpus() -> dict[str, int]:
    """Node -> how many pieces of work it does at a time; only those that are alive and do any."""
    found = {node["NodeID"]: int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]}
    return {node: count for node, count in found.items() if count}


def _versions() -> dict[str, str]:
    """What a number depends on, and so has to be the same everywhere."""
    return {"edgewise": __version__, "onnxruntime": onnxruntime.__version__}


def _check_versions(nodes: Mapping[str, int]) -> None:
    ours, names = _versions(), {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes()}
    ask = ray.remote(num_cpus=0, max_retries=0)(_question())
    asked = {
        node: ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote()
        for node in nodes
    }
    apart = []
    for node, answer in asked.items():
        theirs: dict[str, str]
        try:
            theirs = ray.get(answer, timeout=_STARTING)
        except GetTimeoutError:
            raise NetworkError(f"node {names[node]} of the cluster did not answer within {_STARTING:.0f} s") from None
        except RayTaskError as error:
            theirs = {"edgewise": f"that does not open ({_sentence(error.cause)})"}
        except RayError:
            continue  # it has left the cluster meanwhile
        differing = [f"{name} {theirs.get(name) or 'missing'}" for name in ours if theirs.get(name) != ours[name]]
        if differing:
            apart.append(f"{names[node]} has {' and '.join(differing)}")
    if apart:
        here = " and ".join(f"{name} {version}" for name, version in ours.items())
        raise InputError(
            f"this machine has {here}, the cluster's nodes do not: {'; '.join(apart[:5])}",
            remedy=f"On every node: pip install 'edgewise[cluster]=={ours['edgewise']}' onnxruntime=={ours['onnxruntime']}",
        )


def _question() -> Callable[[], dict[str, str]]:
    # A function within a function goes over as code, not by name: it can be asked where edgewise is missing.
    def ask() -> dict[str, str]:
        from importlib import import_module  # noqa: PLC0415  (runs elsewhere)

        found = {}
        for name in ("edgewise", "onnxruntime"):  # in this order: edgewise keeps onnxruntime from reporting usage
            try:
                found[name] = str(import_module(name).__version__)
            except ModuleNotFoundError:
                found[name] = ""
        return found

    return ask


def _work(bench: Bench, work: Work, versions: Mapping[str, str]) -> Outcome:
    if dict(versions) != _versions():  # a node that came later
        raise RuntimeError(f"it has {_versions()}, the search {dict(versions)}")
    return bench.do(work)
