"""What a teacher said to known samples is said again to any of them, in any order, and to nothing else."""

import pickle

import numpy as np
import pytest

from edgewise.compress.distill.recorded import RecordedTeacher
from edgewise.errors import DataError


def test_it_repeats_what_was_said_whatever_the_order_and_the_process() -> None:
    x = np.random.default_rng(0).integers(0, 255, (50, 4, 4), np.uint8)
    asked = []

    def teacher(batch: np.ndarray) -> np.ndarray:
        asked.append(len(batch))
        return batch.reshape(len(batch), -1)[:, :3].astype(np.float32)

    recorded = RecordedTeacher.of(teacher, "ab" * 32, "somebody", x)
    order = np.random.default_rng(1).permutation(50)[:20]
    for each in (recorded, pickle.loads(pickle.dumps(recorded))):
        np.testing.assert_array_equal(each(x[order]), teacher(x)[order])
    assert recorded.name == "recorded-abababab"
    with pytest.raises(DataError, match="somebody was not asked"):
        recorded(x[:1] + 1)
    assert asked[0] == 50
