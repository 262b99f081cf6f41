"""A chat model that knows intents, asked what people said to an assistant: CLINC150, and a classifier that is fitted to it."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.naive_bayes import MultinomialNB

from edgewise.net.cancel import Cancel
from edgewise.routing.upstream import Question, Reply
from edgewise.routing.upstreams.chat import ChatUpstream
from edgewise.routing.upstreams.prompt import Prompt
from edgewise.runtime.engine import Array
from edgewise.testing.chat_server import Asked, ChatServer

ASKED = 60  # of the 4,500 texts to test with
LENGTH = 30  # words


@dataclass(frozen=True, slots=True)
class Intents:
    """texts, wanted: what is asked. probabilities: (n, classes) of the classifier behind the server, which ``classify`` is."""

    labels: tuple[str, ...]
    texts: list[str]
    wanted: Array
    probabilities: Array
    model: Any

    def classify(self, asked: Asked) -> tuple[str, float]:
        row = self.model.predict_proba([asked[0]])[0]
        return self.labels[row.argmax()], float(row.max())


class Pipeline:
    """Words and pairs of words, and a linear classifier by Bayes' rule: in 0.3 s, and right about six in seven."""

    def __init__(self, texts: list[str], labels: list[str]) -> None:
        self.words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        self.bayes = MultinomialNB(alpha=0.05).fit(self.words.fit_transform(texts), labels)

    def predict_proba(self, texts: list[str]) -> Array:
        return np.asarray(self.bayes.predict_proba(self.words.transform(texts)))


@pytest.fixture(scope="module")
def intents(shared_data: Path) -> Intents:
    data = json.loads((shared_data / "assistant_clinc150" / "data_small.json").read_text())
    model = Pipeline(*map(list, zip(*data["train"], strict=True)))
    labels = tuple(map(str, model.bayes.classes_))
    rows = [data["test"][at] for at in np.random.default_rng(0).permutation(len(data["test"]))[:ASKED]]
    texts = [text for text, _ in rows]
    wanted = np.array([labels.index(label) for _, label in rows])
    return Intents(labels, texts, wanted, model.predict_proba(texts), model)


@pytest.fixture
def server(intents: Intents) -> Iterator[ChatServer]:
    with ChatServer(intents.classify) as found:
        yield found


def ask(upstream: ChatUpstream, **inputs: Array) -> Reply:
    return upstream.ask(Question(inputs, time.perf_counter() + 60, "scores"), Cancel())


@pytest.mark.parametrize("form", ["label", "json-schema"])
def test_the_decisions_are_those_of_the_model_behind_the_server(
    intents: Intents, server: ChatServer, form: Any
) -> None:
    prompt = Prompt(intents.labels, "What somebody wants of an assistant.", form=form)
    scores = ask(ChatUpstream(server.url, "large", prompt), text=np.array(intents.texts, object)).outputs["scores"]
    assert scores.shape == (ASKED, 150)
    assert np.array_equal(scores.argmax(axis=1), intents.probabilities.argmax(axis=1))
    assert (scores.argmax(axis=1) == intents.wanted).mean() > 0.8
    assert len(server.calls) == ASKED


def test_probabilities_come_through_where_they_decide(intents: Intents, server: ChatServer) -> None:
    upstream = ChatUpstream(server.url, "large", Prompt(intents.labels), logprobs=True)
    scores = ask(upstream, text=np.array(intents.texts[:30], object)).outputs["scores"]
    best = intents.probabilities[:30].max(axis=1)
    assert np.allclose(scores.max(axis=1), np.maximum(best, 2 / 151), atol=1e-5)
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)


def test_what_a_model_of_the_device_takes_is_turned_back_into_texts(intents: Intents, server: ChatServer) -> None:
    words = ["", *sorted({word for text in intents.texts for word in text.split()})]
    index = {word: at for at, word in enumerate(words)}
    ids = np.zeros((ASKED, LENGTH), np.int64)
    for row, text in enumerate(intents.texts):
        known = [index[word] for word in text.split()][:LENGTH]
        ids[row, : len(known)] = known

    def text_of(inputs: Any) -> list[str]:
        return [" ".join(words[at] for at in row if at) for row in inputs["ids"]]

    upstream = ChatUpstream(server.url, "large", Prompt(intents.labels), text_of=text_of)
    scores = ask(upstream, ids=ids[:30]).outputs["scores"]
    assert np.array_equal(scores.argmax(axis=1), intents.probabilities[:30].argmax(axis=1))
