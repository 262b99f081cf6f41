"""Queries that no intent is meant for (CLINC150): which rule tells them from the others, on a small model trained for it here."""

from pathlib import Path

import numpy as np
import pytest

from edgewise.compress.samples import Samples, joined_inputs
from edgewise.compress.tuning import Tuning, answers, fine_tune
from edgewise.measure.dataset import Dataset
from edgewise.networks.registry import build
from edgewise.networks.text_bag import TextBagConfig
from edgewise.routing.rules import KINDS, rules_for
from edgewise.routing.rules.fit import fit_rule
from edgewise.training.data.public_sets import intents
from edgewise.training.data.text_hash import TextHash

Array = np.ndarray
HASH = TextHash(4096, 64, 2, (3, 4))
NETWORK = TextBagConfig(
    vocabulary=4096, classes=150, length=64, weighted=True, width=64, norm="batch", hidden=(), dropout=0.3, pooling="sum"
)  # fmt: skip


def told_apart(known: Array, unknown: Array) -> tuple[float, float]:
    """Area under the ROC curve, and the share of the unknown that is kept where 95 % of the known are."""
    ranked = np.sort(unknown)
    below = np.searchsorted(ranked, known, side="left") + np.searchsorted(ranked, known, side="right")
    return float(below.mean() / 2 / len(unknown)), float((unknown >= np.quantile(known, 0.05)).mean())


@pytest.mark.long
def test_scores_before_softmax_tell_queries_of_no_intent_from_others(shared_data: Path) -> None:
    found = intents(shared_data / "assistant_clinc150")
    idf = HASH.idf(found.train.x.tolist())

    def samples(texts: Array, y: Array) -> Samples:
        ids, weights = HASH.encode(texts.tolist(), idf)
        return Samples(Dataset(joined_inputs({"ids": ids, "weights": weights}), y), "classification", "ids", "logits")

    model = fine_tune(
        build("text-bag", NETWORK, 0), samples(found.train.x, found.train.y), Tuning(epochs=4, batch=64, learning_rate=0.02)
    )  # fmt: skip
    texts = (found.validation.x, found.evaluation.x, found.unknown_evaluation)
    fitted, known, unknown = ({"out": answers(model, samples(part, np.zeros(len(part), np.int64)))} for part in texts)
    assert (known["out"].argmax(axis=1) == found.evaluation.y).mean() > 0.87  # 0.894

    area, kept = {}, {}
    for name in ("max-probability", "entropy", *(name for name in rules_for("classification") if KINDS[name].scope)):
        rule = fit_rule(name, fitted, "out", y=found.validation.y)
        area[name], kept[name] = told_apart(rule.scores(known), rule.scores(unknown))
    # 0.936; 0.944 and 0.945; and 0.374 of them kept; 0.336 and 0.309.
    assert area["max-probability"] > 0.92
    for name in ("entropy", "energy", "max-logit", "vector-energy", "with-scope"):
        assert area[name] > area["max-probability"], name
    for name in ("energy", "max-logit", "with-scope"):
        assert kept[name] < kept["max-probability"], name
    # Means of 20 samples in 150 directions say less: 0.921 by direction alone, 0.703 in units of a scatter that is as little known.
    assert 0.6 < area["mahalanobis"] < area["prototype-similarity"] < area["max-probability"]
