"""What a person gives is looked at before anything is learnt from it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgewise.bundle.document import Document
from edgewise.errors import DataError
from edgewise.store.bundles import open_path
from edgewise.training.personal.learner import PersonalTrainer
from edgewise.training.run.step_file import TrainingStep

pytestmark = pytest.mark.bare

BUNDLE = open_path(Path(__file__).resolve().parents[3] / "spec" / "vectors" / "training" / "learner.bundle")
X, NAMES = np.zeros((4, 4), np.float32), ["up", "down", "up", "level"]


def learner(document: Document) -> PersonalTrainer:
    (entry,) = document.training
    step = TrainingStep.from_blobs(BUNDLE.training_parts(entry))
    variant = BUNDLE.variant(entry.variant)
    return PersonalTrainer(document, variant, step, step.digest(), threads=1)


def test_held_out_examples_are_for_classifiers() -> None:
    other = learner(replace(BUNDLE.document, task="regression"))
    with pytest.raises(DataError, match="this model is for regression"):
        other.fit(X, NAMES, held_out=(X, NAMES))
