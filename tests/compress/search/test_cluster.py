"""The search on a real Ray cluster of two nodes on this machine, one CPU each."""

import os
import secrets
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from tests.compress.search.cluster_passes import Deadly, Noting, runs, timer_here
from tests.compress.search.stand_ins import Coarse, Dynamic, Refusing, bench, fixed, make_search, model, settings

from edgewise.compress.graph.simplify import Simplify
from edgewise.compress.quantize.timed import Timed
from edgewise.compress.search import cluster
from edgewise.compress.search.bench import Work
from edgewise.compress.search.cluster import LOCAL, Cluster
from edgewise.compress.search.executor import Executor
from edgewise.compress.search.result import Found
from edgewise.compress.search.run import Progress, Settings
from edgewise.compress.search.space import Chain
from edgewise.errors import InputError, MissingExtraError, NetworkError, ProbeError

ROOT = Path(__file__).resolve().parents[3]
STORE = 100 << 20  # bytes of a node's object store
#: A node that does not answer is given up after about three seconds, not thirty.
SOON = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 3}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    if find_spec("ray") is None:
        reason = "ray not installed (pip install 'edgewise[cluster]')"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    # A short path: those of sockets below it are limited to some hundred bytes.
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Its ports are open to the network, and whoever gets in may run anything: only with a token that this test made up.
        patch.setenv("HOME", folder)
        patch.setenv("RAY_TMPDIR", folder)  # nothing of a cluster of somebody else's is in the way, or is overwritten
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, sys.path)]))
        # What a node does not have by itself edgewise and Ray have to set there.
        patch.delenv("ORT_DISABLE_TELEMETRY")
        patch.delenv("OMP_NUM_THREADS", raising=False)
        from ray.cluster_utils import Cluster as Nodes  # reads these variables

        given = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
        running = Nodes(initialize_head=True, head_node_args={**given, "_system_config": SOON})
        try:
            running.add_node(num_cpus=1, object_store_memory=STORE)
            yield running
        finally:
            running.shutdown()


@pytest.fixture
def two(nodes: Any) -> Iterator[Cluster]:
    executor = Cluster(bench(), nodes.address)
    yield executor
    executor.close()


def chains(log: Path, seconds: float = 0.3) -> Settings:
    """Six candidates on the first rung, with a beginning that three of them share."""
    noting = [fixed(Noting(levels, log, seconds)) for levels in (2, 3, 127)]
    simplify, dynamic = fixed(Simplify()), fixed(Dynamic())
    return settings(
        chains=(
            Chain("dynamic", (dynamic,)), Chain("2", (noting[0],)), Chain("3", (noting[1],)), Chain("127", (noting[2],)),
            Chain("simplify > 127", (simplify, noting[2])), Chain("simplify > refusing", (simplify, fixed(Refusing()))),
        )
    )  # fmt: skip


def found(folder: Path, how: Settings, executor: Executor | None = None, watch: Any = lambda progress: None) -> Found:
    search, journal = make_search(folder, how, executor=executor, watch=watch)
    try:
        return search.run()
    finally:
        journal.close()


def test_two_nodes_find_what_one_process_finds_and_both_work(tmp_path: Path, two: Cluster) -> None:
    there, here = tmp_path / "there.log", tmp_path / "here.log"
    assert (two.nodes, two.workers) == (2, 2)
    result = found(tmp_path / "cluster", chains(there), two)
    assert result == found(tmp_path / "here", chains(here))
    assert result.chosen["best"] == "dynamic"
    assert sorted(run.name for run in runs(there)) == sorted(run.name for run in runs(here))
    assert len({run.node for run in runs(there)}) == 2
    # A worker computes with one thread and reports nothing, though its node was not told.
    assert {(run.telemetry, run.threads) for run in runs(there)} == {("off", "1")}


def test_what_decides_by_time_is_done_on_the_machine_of_the_search(
    tmp_path: Path, nodes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIMER_LOG", str(tmp_path / "timer"))
    executor = Cluster(bench(), nodes.address, workers=3)
    try:
        assert executor.workers == 3
        executor.submit(Work("timed", model(), Timed(timer=timer_here), 100))
        executor.submit(Work("there", model(), Coarse(2), 100))
        executor.submit(Work("refused", model(), Refusing(), 100))
        outcomes = {outcome.key: outcome for outcome in (executor.next() for _ in range(3))}
    finally:
        executor.close()
    assert set(outcomes) == {"timed", "there", "refused"}
    assert outcomes["refused"].failed == "Softmax (probabilities): nothing to do here"
    assert outcomes["there"].model
    assert (tmp_path / "timer").read_text().split()[1] == str(os.getpid())


@pytest.mark.long
def test_a_node_that_dies_in_the_middle_loses_and_doubles_nothing(tmp_path: Path, nodes: Any) -> None:
    log = tmp_path / "log"
    third = nodes.add_node(num_cpus=1, object_store_memory=STORE)
    gone = third.node_id

    def kill_third(progress: Progress) -> None:
        nonlocal third
        if third is None or progress.rung != 1:
            return
        for _ in range(100):
            if any(run.node == gone for run in runs(log)):
                nodes.remove_node(third, allow_graceful=False)
                third = None
                return
            if len(runs(log)) >= 3:
                return  # all are taken; the third's turn comes
            time.sleep(0.1)

    executor = Cluster(bench(), nodes.address)
    try:
        assert executor.workers == 3
        result = found(tmp_path / "cluster", chains(log, seconds=1.0), executor, kill_third)
    finally:
        executor.close()
    assert third is None, "the third node has done nothing"
    undisturbed = tmp_path / "undisturbed"
    assert result == found(tmp_path / "here", chains(undisturbed, seconds=0.0))
    lost = [run.name for run in runs(log) if run.node == gone]
    assert len(runs(log)) == len(runs(undisturbed)) + 1
    assert len(lost) == 1


def test_work_that_kills_its_workers_is_given_out_three_times_and_told(tmp_path: Path, two: Cluster) -> None:
    two.submit(Work("deadly", model(), Deadly(2, tmp_path / "log", 0.0), 100))
    with pytest.raises(ProbeError, match="coarse:2 was lost 3 times") as caught:
        two.next()
    assert "--resume" in caught.value.remedy
    assert len(runs(tmp_path / "log")) == 3


def test_a_node_with_another_edgewise_is_named(tmp_path: Path, nodes: Any) -> None:
    (tmp_path / "edgewise").mkdir()
    (tmp_path / "edgewise" / "__init__.py").write_text("__version__ = '0.0.9'\n")
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    other = nodes.add_node(num_cpus=1, object_store_memory=STORE, env_vars={"PYTHONPATH": path})
    try:
        with pytest.raises(InputError, match=r"has edgewise 0\.0\.9"):
            Cluster(bench(), nodes.address)
    finally:
        nodes.remove_node(other)


def test_an_address_that_is_none_is_told(nodes: Any) -> None:
    with pytest.raises(NetworkError, match="rubbish"):
        Cluster(bench(), "rubbish")


@pytest.mark.long
def test_where_nobody_answers_it_is_given_up_in_time(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_JOINING", 8.0)
    began = time.monotonic()
    with pytest.raises(NetworkError, match=r"no Ray cluster answered at 127.0.0.1:1 within 8 s"):
        Cluster(bench(), "127.0.0.1:1")
    assert time.monotonic() - began < 30


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked for in /proc")
def test_a_cluster_of_ours_ends_with_the_search(nodes: Any) -> None:
    executor = Cluster(bench(), LOCAL)
    ours = _below(executor._process.pid)
    executor.submit(Work("a", model(), Coarse(2), 100))
    assert executor.next().key == "a"
    executor.close()
    assert ours
    for _ in range(100):  # some of Ray's processes look only now and then whether the others are there
        if not any(_runs(pid) for pid in ours):
            break
        time.sleep(0.2)
    else:
        raise AssertionError(f"{[pid for pid in ours if _runs(pid)]} still run")
    assert all(node["Alive"] for node in _others(nodes))


def test_without_ray_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError) as caught:
        Cluster(bench(), LOCAL)
    assert caught.value.remedy == "pip install 'edgewise[cluster]'"


def _others(nodes: Any) -> list[dict[str, Any]]:
    return [
        {"Alive": _runs(process.process.pid)}
        for node in nodes.list_all_nodes()
        for process in node.all_processes["raylet"]
    ]


def _runs(pid: int) -> bool:
    try:
        return " Z " not in (Path("/proc") / str(pid) / "stat").read_text()
    except FileNotFoundError:
        return False


def _below(pid: int | None) -> list[int]:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except FileNotFoundError:
            continue
    found, todo = [], [pid]
    while todo:
        above = todo.pop()
        children = [child for child, parent in parents.items() if parent == above]
        found += children
        todo += children
    return found
