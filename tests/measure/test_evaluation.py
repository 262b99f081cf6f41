"""The digest of data is of all that was measured on, texts included, whatever file it came in."""

import numpy as np

from edgewise.measure.dataset import Dataset
from edgewise.measure.evaluation import data_digest


def test_every_part_of_the_data_counts() -> None:
    numbers = Dataset(np.arange(4.0), np.array([0, 1, 0, 1]))
    assert data_digest(numbers) == data_digest(Dataset(np.arange(4.0), np.array([0, 1, 0, 1]), name="other file"))
    others = [
        Dataset(np.arange(4.0) + 1, np.array([0, 1, 0, 1])),
        Dataset(np.arange(4.0), np.array([1, 1, 0, 1])),
        Dataset(np.arange(4.0), np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])),
        Dataset(np.array(["a", "b"]), np.array([0, 1])),
        Dataset(np.array(["c", "b"]), np.array([0, 1])),
    ]
    assert len({data_digest(data) for data in [numbers, *others]}) == 6
