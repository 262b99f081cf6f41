"""The search as a whole, over passes that are quick: what it decides, what it remembers, what it survives."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.compress.search.stand_ins import Coarse, Dynamic, Refusing, bench, fixed, make_search, model, settings, tune

from edgewise.compress.graph.simplify import Simplify
from edgewise.compress.search.bench import Bench, Outcome, Work
from edgewise.compress.search.budget import Budget
from edgewise.compress.search.candidate import Candidate
from edgewise.compress.search.executor import Here, Processes
from edgewise.compress.search.result import AS_IT_CAME, Found
from edgewise.compress.search.run import Progress, Settings
from edgewise.compress.search.space import Chain, chains_for, distinct, kind_of
from edgewise.graph.inspect import read_model

ROOT = Path(__file__).resolve().parents[3]


class Counting(Here):
    """Does the work here and writes down what it was."""

    def __init__(self, given: Bench) -> None:
        super().__init__(given)
        self.done: list[str] = []

    def submit(self, work: Work) -> None:
        self.done.append(work.key)
        super().submit(work)


class Stopping(Counting):
    """Ends like a process that is killed, after so many pieces of work."""

    def __init__(self, given: Bench, after: int) -> None:
        super().__init__(given)
        self.after = after

    def next(self) -> Outcome:
        if len(self.done) > self.after:
            raise KeyboardInterrupt
        return super().next()


def found(folder: Path, how: Settings | None = None, **changed: object) -> Found:
    search, journal = make_search(folder, how or settings(), **changed)  # type: ignore[arg-type]
    try:
        return search.run()
    finally:
        journal.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return found(tmp_path_factory.mktemp("whole"))


def test_the_smaller_model_that_lost_nothing_is_chosen_and_the_simplest_of_its_like(whole: Found) -> None:
    assert whole.chosen == {"best": "dynamic", "smallest": "dynamic", "fastest": "dynamic"}
    row = whole.row("dynamic")
    assert row.size < 0.3 * whole.original.size
    assert row.verdict is not None
    assert row.verdict.passes
    assert row.did == ("weights as int8",)
    assert whole.complete


def test_a_model_that_lost_accuracy_is_dropped_on_the_first_rung(whole: Found) -> None:
    row = whole.row("coarse")
    assert row.rung == 1
    assert row.compared is not None
    assert row.compared.value < 0.9
    assert not row.finalist


def test_what_a_pass_cannot_do_is_a_row_with_its_reason(whole: Found) -> None:
    assert whole.row("simplify > refusing > dynamic").failed == "Softmax (probabilities): nothing to do here"


def test_the_gate_looks_at_finalists_alone(whole: Found) -> None:
    assert next(row.name for row in whole.rows if row.finalist) == AS_IT_CAME
    assert len([row for row in whole.rows if row.finalist]) == 4


def test_beginnings_that_chains_share_are_computed_once(tmp_path: Path) -> None:
    counting = Counting(bench())
    found(tmp_path, executor=counting)
    assert len(counting.done) == len(set(counting.done))
    # Six chains of ten passes have seven beginnings, and what follows a pass that failed is not tried; then three finalists.
    assert len(counting.done) == 6 + 3


def test_a_search_gone_on_with_decides_the_same_and_repeats_nothing(tmp_path: Path, whole: Found) -> None:
    how, reference = settings(), Counting(bench())
    assert found(tmp_path / "other", how, executor=reference) == whole
    for after in (0, 5, len(reference.done) - 1):
        folder = tmp_path / str(after)
        first, second = Stopping(bench(), after), Counting(bench())
        with pytest.raises(KeyboardInterrupt):
            found(folder, how, executor=first)
        assert found(folder, how, executor=second) == whole
        assert sorted(first.done[:-1] + second.done) == sorted(reference.done)
    third = Counting(bench())
    assert found(folder, how, executor=third) == whole
    assert third.done == []


def test_workers_find_what_one_process_finds(tmp_path: Path) -> None:
    simplify = fixed(Simplify())
    how = settings(chains=(Chain("simplify", (simplify,)), Chain("simplify > tune", (simplify, tune))), finalists=1)
    alone = found(tmp_path / "alone", how)
    workers = Processes(bench(), 2)
    try:
        assert found(tmp_path / "workers", how, executor=workers) == alone
    finally:
        workers.close()


def test_where_time_is_over_the_best_so_far_is_still_measured(tmp_path: Path) -> None:
    result = found(tmp_path, settings(minutes=0.012 / 60))
    assert not result.complete
    assert result.chosen
    assert len(result.rows) < 9


def test_an_impossible_budget_has_no_choice_but_a_nearest(tmp_path: Path) -> None:
    result = found(tmp_path, settings(budget=Budget(size=1000)))
    assert result.chosen == {}
    assert result.nearest == "dynamic"
    assert result.row("dynamic").unmet == (f"{result.row('dynamic').size} bytes > 1000",)


def test_where_nothing_helps_the_model_stays_as_it_came(tmp_path: Path) -> None:
    result = found(
        tmp_path, settings(chains=(Chain("coarse", (fixed(Coarse(2)),)), Chain("none", (fixed(Refusing()),))))
    )
    assert result.chosen["best"] == AS_IT_CAME
    assert result.row("coarse").unmet[0].startswith("drop ")


def test_a_model_that_is_not_allowed_is_no_candidate(tmp_path: Path) -> None:
    how = settings(allow=lambda data: "MatMulInteger is not on the target" if b"MatMulInteger" in data else "")
    result = found(tmp_path, how)
    assert result.row("dynamic").failed == "MatMulInteger is not on the target"
    assert result.chosen["best"] != "dynamic"


def test_progress_says_what_is_tried_how_far_it_is_and_what_is_best(tmp_path: Path) -> None:
    told: list[Progress] = []
    found(tmp_path, watch=told.append)
    assert {name for each in told for name in each.trying} >= {"simplify", "dynamic", "coarse:2"}
    assert all(each.done <= each.total for each in told)
    assert told[-1].rung == told[-1].rungs + 1
    assert told[-1].best.startswith("dynamic: 0.28 of the bytes")
    assert told[-1].seconds_left == pytest.approx(0)


def test_candidates_are_known_by_what_they_come_from_and_what_their_passes_are_called() -> None:
    one = Candidate("sha256:a", (Simplify(), Coarse(2)), 100)
    assert one.digest == Candidate("sha256:a", (Simplify(), Coarse(2)), 100).digest
    others = [
        replace(one, origin="sha256:b"), replace(one, passes=one.passes[::-1]), replace(one, samples=99),
        replace(one, passes=(Simplify(), Coarse(3))), one.before,
    ]  # fmt: skip
    assert len({one.digest, *(other.digest for other in others)}) == 6
    assert [part.digest for part in one.beginnings()] == [one.before.digest, one.digest]


def test_chains_that_come_to_the_same_are_tried_once() -> None:
    how = settings()
    twice = (*how.chains, Chain("again", (fixed(Dynamic()),)))
    assert list(distinct(twice, "sha256:a", how.most)) == [chain.name for chain in how.chains]


def test_every_row_of_the_table_is_made_of_known_passes() -> None:
    kind = kind_of(read_model(model()))
    assert kind == "convolutional"
    for each in ("convolutional", "recurrent", "transformer", "dense"):
        names = [chain.name for chain in chains_for(each)]
        assert len(names) == len(set(names)) > 0


def killed(folder: Path, kills: int, seed: int) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.compress.search.killed_search", str(folder), str(kills), str(seed)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.long)])
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_search_that_is_killed_at_random_instants_finds_the_same(tmp_path: Path, kills: int) -> None:
    told = killed(tmp_path / "killed", kills, seed=kills)
    assert told["killed"] == kills
    (result,) = told["results"]  # type: ignore[misc]  # with that of a search that nobody disturbed
    assert json.loads(result)[1] == {"best": "dynamic", "smallest": "dynamic", "fastest": "dynamic"}


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked for in /proc")
def test_workers_end_with_a_parent_that_is_killed() -> None:
    code = (
        "import sys, time\n"
        "from edgewise.compress.search.executor import Processes\n"
        "from edgewise.compress.search.bench import Work\n"
        "from edgewise.compress.graph.simplify import Simplify\n"
        "from tests.compress.search.stand_ins import bench, model\n"
        "if __name__ == '__main__':\n"
        "    pool = Processes(bench(), 1)\n"
        "    pool.submit(Work('a', model(), Simplify(), 10)); pool.next()\n"
        "    print(*pool._pool._processes, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        assert parent.stdout is not None
        worker = Path("/proc") / parent.stdout.readline().strip()
        assert (worker / "stat").is_file()
        parent.kill()
    for _ in range(100):
        if not worker.is_dir() or " Z " in (worker / "stat").read_text():
            return
        time.sleep(0.1)
    raise AssertionError(f"{worker} still runs")
