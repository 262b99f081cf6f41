"""The journal: what is in it stays, what is torn is dropped, what is wrong is refused."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from edgewise.compress.search.journal import Journal
from edgewise.errors import CheckpointError

IDENTITY = {"model": "m", "seed": 0}


def filled(folder: Path, steps: int = 4) -> Path:
    journal = Journal.open(folder, IDENTITY, resume=False)
    for at in range(steps):
        journal.add("built", str(at), {"bytes": at, "name": "ä" * at})
    journal.close()
    return folder / "journal.jsonl"


def keys(folder: Path) -> list[str]:
    journal = Journal.open(folder, IDENTITY, resume=True)
    found = [str(at) for at in range(9) if journal.find("built", str(at)) is not None]
    journal.close()
    return found


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(cut=st.floats(0, 1), noise=st.binary(max_size=8))
def test_a_journal_torn_anywhere_gives_the_steps_before_and_goes_on(tmp_path: Path, cut: float, noise: bytes) -> None:
    folder = tmp_path / "torn"
    path = folder / "journal.jsonl"
    path.unlink(missing_ok=True)
    whole = filled(folder).read_bytes()
    end = int(cut * len(whole))
    lines = whole[:end].count(b"\n")
    path.write_bytes(whole[:end] + noise.replace(b"\n", b"?"))
    assert keys(folder) == [str(at) for at in range(max(0, lines - 1))]
    journal = Journal.open(folder, IDENTITY, resume=True)
    journal.add("built", "8", {})
    journal.close()
    assert keys(folder) == [*(str(at) for at in range(max(0, lines - 1))), "8"]


def test_damage_before_the_last_line_is_refused(tmp_path: Path) -> None:
    path = filled(tmp_path)
    whole = bytearray(path.read_bytes())
    whole[30] ^= 1
    path.write_bytes(whole)
    with pytest.raises(CheckpointError, match="damaged at byte 0"):
        Journal.open(tmp_path, IDENTITY, resume=True)


def test_a_step_is_finished_once(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, IDENTITY, resume=False)
    journal.add("built", "a", {})
    with pytest.raises(CheckpointError, match="finished before"):
        journal.add("built", "a", {})
    journal.close()
    line = (tmp_path / "journal.jsonl").read_bytes().splitlines(keepends=True)[-1]
    with (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(line)
    with pytest.raises(CheckpointError, match="twice"):
        Journal.open(tmp_path, IDENTITY, resume=True)


def test_a_search_that_is_there_is_gone_on_with_only_where_that_is_said_and_it_is_the_same(tmp_path: Path) -> None:
    filled(tmp_path)
    with pytest.raises(CheckpointError, match="already"):
        Journal.open(tmp_path, IDENTITY, resume=False)
    with pytest.raises(CheckpointError, match="its seed differ"):
        Journal.open(tmp_path, {**IDENTITY, "seed": 1}, resume=True)


def test_one_process_at_a_time_writes(tmp_path: Path) -> None:
    first = Journal.open(tmp_path, IDENTITY, resume=False)
    with pytest.raises(CheckpointError, match="another process"):
        Journal.open(tmp_path, IDENTITY, resume=True)
    first.close()
    Journal.open(tmp_path, IDENTITY, resume=True).close()


def test_models_lie_by_their_digest_and_are_checked_when_read(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, IDENTITY, resume=False)
    digest = journal.keep(b"model")
    assert journal.keep(b"model") == digest
    assert journal.model(digest) == b"model"
    assert [path.name for path in (tmp_path / "models").iterdir()] == [f"{digest.removeprefix('sha256:')}.onnx"]
    journal.path(digest).write_bytes(b"other")
    with pytest.raises(CheckpointError, match="has changed"):
        journal.model(digest)
    journal.close()


def test_what_was_begun_and_did_nothing_is_no_search(tmp_path: Path) -> None:
    filled(tmp_path, steps=0)
    other = {**IDENTITY, "seed": 1}
    journal = Journal.open(tmp_path, other, resume=False)
    journal.add("built", "a", {})
    journal.close()
    journal = Journal.open(tmp_path, other, resume=True)
    assert journal.find("built", "a") is not None
    journal.close()
