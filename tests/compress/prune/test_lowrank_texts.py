"""A real text classifier: most of its table says nothing to the layer behind it."""

from pathlib import Path

import numpy as np
from onnx import ModelProto

from edgewise.compress.prune.lowrank import LowRank
from edgewise.compress.prune.prune import Prune
from edgewise.compress.quantize.static import Static
from edgewise.compress.samples import Samples, joined_inputs
from edgewise.compress.tuning import Tuning, answers, fine_tune
from edgewise.measure.dataset import Dataset
from edgewise.networks.registry import build
from edgewise.networks.text_bag import TextBagConfig
from edgewise.training.data.public_sets import intents
from edgewise.training.data.text_hash import TextHash

CLASSES = 30
LEARNING = Tuning(epochs=3, learning_rate=1e-3)
HASH = TextHash(2048, 64, 2, (3, 4))


def samples(data: Dataset, idf: np.ndarray) -> Samples:
    few = data.take(data.y < CLASSES)
    ids, weights = HASH.encode(few.x.tolist(), idf)
    x = joined_inputs({"ids": ids, "weights": weights})
    return Samples(Dataset(x, few.y), "classification", "ids", "logits")


def accuracy(model: ModelProto, held: Samples) -> float:
    return float(np.mean(answers(model, held).argmax(1) == held.data.y))


def test_a_quarter_of_a_text_classifiers_table_answers_as_well(shared_data: Path) -> None:
    found = intents(shared_data / "assistant_clinc150")
    idf = HASH.idf(found.train.x[found.train.y < CLASSES].tolist())
    train, held = samples(found.train, idf), samples(found.evaluation, idf)
    network = TextBagConfig(
        vocabulary=2048, classes=CLASSES, length=64, weighted=True, width=64, norm="batch", hidden=(48,), dropout=0.3,
        pooling="sum",
    )  # fmt: skip
    model = fine_tune(build("text-bag", network, 0), train, Tuning(epochs=8, batch=64, learning_rate=0.01))
    before = accuracy(model, held)
    narrow = LowRank(share=0.25, tuning=None).apply(model, train)
    assert accuracy(narrow, held) > before - 0.005  # 0.9311 of 0.9333
    learnt = LowRank(share=0.25, tuning=LEARNING).apply(model, train)
    assert accuracy(learnt, held) > before - 0.005  # 0.9322
    assert len(learnt.SerializeToString()) < 0.3 * len(model.SerializeToString())
    whole = Static(bias="float32").apply(learnt, train)
    assert accuracy(whole, held) > before - 0.01
    # Rows without some of their channels, as many bytes: 0.72.
    pruned = Prune(share=0.25, of="bytes", steps=1, tuning=LEARNING).apply(model, train)
    assert accuracy(pruned, held) < before - 0.05
