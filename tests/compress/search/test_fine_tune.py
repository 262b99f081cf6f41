"""Fine-tuning as a pass."""

from dataclasses import replace

import numpy as np
from tests.compress.prune.digits_cnn import digits, learnt
from tests.compress.prune.masking import run

from edgewise.compress.search.fine_tune import FineTune
from edgewise.compress.tuning import Tuning
from edgewise.graph.answer import softmax
from edgewise.graph.join import append


def test_a_teacher_that_answers_with_probabilities_teaches_as_one_that_gives_scores() -> None:
    model = learnt()
    likely = append(model, softmax("logits", "probabilities"))
    tuning = Tuning(epochs=2, batch=32, learning_rate=0.01)
    scored = FineTune(tuning, model.SerializeToString()).apply(model, digits(count=320))
    sure = FineTune(tuning, likely.SerializeToString()).apply(
        likely, replace(digits(count=320), output="probabilities")
    )
    x = {"image": digits("eval", 50).data.x}
    expected = np.exp(run(scored, x)[0])
    np.testing.assert_allclose(
        run(sure, x)[0], expected / expected.sum(1, keepdims=True), atol=0.1
    )  # probabilities below 1e-6 count as that
