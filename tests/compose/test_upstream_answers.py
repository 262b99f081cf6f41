"""Answers of upstream on disk: nobody is asked twice, and nothing that is damaged or old is believed."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from edgewise.compose.upstream_answers import KeptAnswers, sample_keys
from edgewise.errors import DataError

X = np.arange(24, dtype=np.float32).reshape(6, 4)


def answers(rows: list[int]) -> dict[str, np.ndarray]:
    return {"logits": np.array([[row, -row] for row in rows], np.float32)}


def test_what_was_answered_is_there_in_the_next_run_in_any_order(tmp_path: Path) -> None:
    keys = sample_keys({"x": X})
    first = KeptAnswers(tmp_path)
    assert first.lacking(keys) == [0, 1, 2, 3, 4, 5]
    first.add([keys[4], keys[1]], answers([4, 1]))
    again = KeptAnswers(tmp_path)
    assert again.lacking(keys) == [0, 2, 3, 5]
    again.add([keys[at] for at in (0, 2, 3, 5)], answers([0, 2, 3, 5]))
    found = KeptAnswers(tmp_path).stacked([keys[at] for at in (5, 1, 1, 0)])
    assert found["logits"][:, 0].tolist() == [5, 1, 1, 0]


def test_a_sample_is_known_by_values_names_and_type_and_asked_about_once(tmp_path: Path) -> None:
    keys = sample_keys({"x": X})
    assert keys != sample_keys({"z": X})
    assert keys != sample_keys({"x": X.astype(np.float64)})
    assert keys != sample_keys({"x": X, "more": X})
    assert sample_keys({"b": X, "a": X}) == sample_keys({"a": X, "b": X})
    twice = sample_keys({"x": np.concatenate([X, X])})
    assert KeptAnswers(tmp_path).lacking(twice) == [0, 1, 2, 3, 4, 5]
    texts = sample_keys({"x": np.array(["a", "b", "a"])})
    assert texts[0] == texts[2] != texts[1]


def test_damaged_and_old_files_are_asked_for_again(tmp_path: Path) -> None:
    keys = sample_keys({"x": X})
    kept = KeptAnswers(tmp_path)
    kept.add(keys[:3], answers([0, 1, 2]))
    kept.add(keys[3:], answers([3, 4, 5]))
    first, second = sorted(tmp_path.glob("*.npz"))
    first.write_bytes(first.read_bytes()[:100])
    assert KeptAnswers(tmp_path).lacking(keys) == [0, 1, 2]
    assert not first.exists()
    os.utime(second, (0, time.time() - 2 * 86_400))
    assert KeptAnswers(tmp_path).lacking(keys) == [0, 1, 2, 3, 4, 5]
    assert not second.exists()


def test_a_file_of_something_else_is_not_taken_for_answers(tmp_path: Path) -> None:
    np.savez(tmp_path / "00000001.npz", digest=np.zeros((2, 32), np.uint8), **{"out/logits": np.zeros((3, 2))})
    assert KeptAnswers(tmp_path).lacking(sample_keys({"x": X})) == [0, 1, 2, 3, 4, 5]


def test_how_long_a_question_took_is_kept_beside_the_answers(tmp_path: Path) -> None:
    assert KeptAnswers(tmp_path).seconds() is None
    KeptAnswers(tmp_path).note_seconds(0.0625)
    assert KeptAnswers(tmp_path).seconds() == 0.0625
    for damaged in ("", "soon", "-1", "inf", "1" * 100):
        (tmp_path / "seconds.txt").write_text(damaged)
        assert KeptAnswers(tmp_path).seconds() is None


def test_answers_of_two_forms_are_not_mixed(tmp_path: Path) -> None:
    keys = sample_keys({"x": X})
    kept = KeptAnswers(tmp_path)
    kept.add(keys[:3], answers([0, 1, 2]))
    kept.add(keys[3:], {"logits": np.zeros((3, 5), np.float32)})
    with pytest.raises(DataError, match="different forms"):
        kept.stacked(keys)
