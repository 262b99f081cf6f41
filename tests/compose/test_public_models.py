"""Public models, packed and run through edgewise, give the figures that they were published with."""

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks import models


@pytest.fixture(autouse=True)
def _needs_the_data(shared_data: Path) -> None:
    assert shared_data.is_dir()


def test_keyword_spotting_reproduces_both_accuracies() -> None:
    fp32, int8 = models.keyword_spotting()
    assert float(fp32[3].split()[0]) == pytest.approx(0.913, abs=0.0005)
    assert float(int8[3].split()[0]) == pytest.approx(0.902, abs=0.0005)


def test_person_detection_reproduces_its_probabilities() -> None:
    (row,) = models.person_detection()
    assert float(row[3]) < 6e-5  # the published figures have four digits


def test_mobilenet_gives_the_published_first_answer_for_every_photograph() -> None:
    expected = json.loads((models.VISION / "golden_predictions.json").read_text())
    assert int(models.mobilenet()[3]) == len(expected) == 9


def test_silero_gives_its_golden_probabilities_frame_by_frame() -> None:
    row = models.voice_activity()
    assert str(len(np.load(models.VAD / "golden_probabilities.npy").ravel())) in row[1]
    assert float(row[3]) < 1e-5
