"""Public sets: honest splits of the sizes that their authors state, with nothing alike on both sides."""

from pathlib import Path

import numpy as np
import pytest

from edgewise.errors import DataError
from edgewise.training.data.checks import check_data
from edgewise.training.data.public_sets import activity, intents, pcb_defects, spoken_digits


def test_boards_are_held_out_by_whole_scans(shared_data: Path) -> None:
    halves = pcb_defects(shared_data / "defects_pcb")
    assert len(halves.train) + len(halves.evaluation) == 16106
    assert halves.train.x.shape[1:] == (64, 64)
    assert len(halves.train.labels) == 7
    assert not set(halves.train.group) & set(halves.evaluation.group)  # type: ignore[arg-type]
    warnings = check_data(halves.train, halves.evaluation, shape=(64, 64), dtype="uint8", classes=7)
    assert not any("groups" in warning for warning in warnings)


def test_digits_are_held_out_by_take_or_by_speaker(shared_data: Path) -> None:
    folder = shared_data / "speech_digits"
    halves = spoken_digits(folder)
    assert (len(halves.train), len(halves.evaluation)) == (2700, 300)
    assert halves.train.x.shape == (2700, 8000)
    assert float(np.abs(halves.train.x).max()) <= 1
    assert np.bincount(halves.evaluation.y).tolist() == [30] * 10
    alone = spoken_digits(folder, 4000, "theo")
    assert set(alone.evaluation.group) == {"theo"}  # type: ignore[arg-type]
    assert "theo" not in set(alone.train.group)  # type: ignore[arg-type]
    assert (len(alone.evaluation), alone.evaluation.x.shape[1]) == (500, 4000)
    with pytest.raises(DataError, match="no speaker 'nobody'; there are george, jackson"):
        spoken_digits(folder, speaker="nobody")


def test_activity_is_held_out_by_recording(shared_data: Path) -> None:
    halves = activity(shared_data / "activity_st_har")
    assert (halves.train.x.shape, halves.evaluation.x.shape) == ((4071, 64, 3), (690, 64, 3))
    assert not set(halves.train.group) & set(halves.evaluation.group)  # type: ignore[arg-type]
    assert halves.train.labels == ("stationary", "walking", "running")


def test_intents_keep_the_texts_of_no_intent_apart(shared_data: Path) -> None:
    data = intents(shared_data / "assistant_clinc150")
    assert [len(part) for part in (data.train, data.validation, data.evaluation)] == [15000, 3000, 4500]
    assert [len(part) for part in (data.unknown_train, data.unknown_validation, data.unknown_evaluation)] == [
        100,
        100,
        1000,
    ]
    assert len(data.train.labels) == 150
    assert "oos" not in data.train.labels
    assert np.bincount(data.evaluation.y).tolist() == [30] * 150


def test_a_folder_without_the_set_is_said_in_words(tmp_path: Path) -> None:
    np.savez(tmp_path / "st_har_26hz_int16.npz", acc_mg=np.zeros((3, 3)))
    (tmp_path / "data_full.json").write_text('{"train": [["a"]]}')
    for read, said in (
        (pcb_defects, "deeppcb_patches64.npz"),
        (activity, "no array offset, label"),
        (intents, "train is no list"),
    ):
        with pytest.raises(DataError, match=said):
            read(tmp_path)
