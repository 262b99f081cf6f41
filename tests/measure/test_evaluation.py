"""The digest of data is of all that was measured on, texts included, whatever file it came in."""

from pathlib import Path

import numpy as np

from edgewise.compose.demo import digits_data
from edgewise.measure.dataset import Dataset
from edgewise.measure.evaluation import data_digest, predict_all
from edgewise.runtime.device import read_device
from edgewise.runtime.opening import Candidate, open_candidate
from edgewise.store.bundles import open_path
from edgewise.store.home import Home


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


def test_every_example_is_answered_by_itself_and_counted(digits_bundle: Path, tmp_path: Path) -> None:
    bundle, data = open_path(digits_bundle), digits_data("eval")
    told: list[tuple[int, int]] = []
    candidate = Candidate("fp32", "onnxruntime", "CPUExecutionProvider")
    with open_candidate(bundle, candidate, home=Home(tmp_path), device=read_device()) as session:
        outputs = predict_all(session, data.x[:3], lambda done, total: told.append((done, total)))
        alone = [session.predict(data.x[at]).output for at in range(3)]
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert np.array_equal(outputs, np.stack(alone))
