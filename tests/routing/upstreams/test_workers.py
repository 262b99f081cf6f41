"""Models behind an API in the shape of Workers AI: labels by name, scores that are probabilities, vectors that are finite."""

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgewise.bundle.tensors import TensorSpec
from edgewise.compose.demo import digits_data
from edgewise.errors import HttpStatusError, InputError, PeerError, RefusedError
from edgewise.net.cancel import Cancel
from edgewise.routing.upstream import Described, Question, Reply
from edgewise.routing.upstreams.workers import WorkersUpstream
from edgewise.runtime.engine import Array
from edgewise.testing.upstream_conformance import Subject, UpstreamConformance
from edgewise.testing.workers_server import WorkersServer

MODEL = "@cf/tests/words"
LABELS = ("negative", "Positive")
TOKEN = "cf-very-secret-0123456789"
WHOLE = 10.0


def goodness(text: str) -> float:
    return (1 + text.count("o")) / (2 + len(text))


def classified(body: Any) -> Any:
    good = goodness(body["text"])
    return [{"label": "POSITIVE", "score": good}, {"label": "NEGATIVE", "score": 1 - good}]


def embedded(body: Any) -> Any:
    data = [[float(len(text)), goodness(text), -1.0] for text in body["text"]]
    return {"shape": [len(data), 3], "data": data, "pooling": "mean"}


@pytest.fixture
def server() -> Iterator[WorkersServer]:
    with WorkersServer({MODEL: classified, "@cf/tests/vectors": embedded}) as found:
        yield found


def texts(rows: int, seed: int) -> dict[str, Array]:
    return {"text": np.random.default_rng(seed).choice(np.array(["good", "bad", "so so", "no"], object), rows)}


def asked(upstream: WorkersUpstream, **inputs: Array) -> Reply:
    return upstream.ask(Question(inputs, time.perf_counter() + WHOLE, "out"), Cancel())


class TestTextClassification(UpstreamConformance):
    @pytest.fixture
    def subject(self, server: WorkersServer) -> Subject:
        faults = server.wire_faults()
        said = ("failed", "bare", "odd", "unknown", "beyond", "again", "empty", "text")
        return Subject(
            make=lambda: WorkersUpstream(server.url, MODEL, "text-classification", LABELS, token=TOKEN),
            inputs=texts,
            expected=lambda inputs: {
                "out": np.array([[1 - goodness(text), goodness(text)] for text in inputs["text"]], np.float32)
            },
            decision="out",
            described=Described(MODEL, labels=LABELS),
            hanging={"hang": faults["hanging"]["hang"]},
            wrong=faults["wrong"] | {name: server.setting(says=name) for name in said},
            failing=faults["failing"],
            mend=server.mend,
            secrets=(TOKEN,),
        )


class TestEmbeddings(UpstreamConformance):
    @pytest.fixture
    def subject(self, server: WorkersServer) -> Subject:
        return Subject(
            make=lambda: WorkersUpstream(server.url, "@cf/tests/vectors", "embeddings", token=TOKEN),
            inputs=texts,
            expected=lambda inputs: {"out": np.array(embedded({"text": inputs["text"]})["data"], np.float32)},
            decision="out",
            described=Described("@cf/tests/vectors"),
            wrong={name: server.setting(says=name) for name in ("failed", "bare", "beyond", "text")},
            mend=server.mend,
            secrets=(TOKEN,),
        )


def test_what_it_says_of_itself_is_shown_without_control_characters(server: WorkersServer) -> None:
    upstream = WorkersUpstream(server.url, MODEL, "text-classification", LABELS)
    server.says = "failed"
    with pytest.raises(PeerError, match="says that it failed: AiError: out of capacity") as raised:
        asked(upstream, text=np.array(["a"]))
    assert "\x1b" not in str(raised.value)
    server.says = "unknown"
    with pytest.raises(PeerError, match=r"the bundle has no label 'no such \[2J label'"):
        asked(upstream, text=np.array(["a"]))


def test_a_label_that_is_left_out_has_a_score_of_0(server: WorkersServer) -> None:
    upstream = WorkersUpstream(server.url, MODEL, "text-classification", ("other", *LABELS))
    scores = asked(upstream, text=np.array(["oo"])).outputs["out"]
    assert np.array_equal(scores, np.array([[0, 0.25, 0.75]], np.float32))


def test_texts_for_embeddings_go_together_a_hundred_at_a_time(server: WorkersServer) -> None:
    upstream = WorkersUpstream(server.url, "@cf/tests/vectors", "embeddings")
    words = np.array(["o" * (at % 7) for at in range(230)])
    found = asked(upstream, text=words).outputs["out"]
    assert sorted(len(call.body["text"]) for call in server.calls) == [30, 100, 100]
    assert np.array_equal(found, np.array(embedded({"text": words})["data"], np.float32))


@pytest.mark.parametrize(
    "result",
    [
        None, [], {}, {"data": None}, {"data": []}, {"data": [[1.0]]}, {"data": [[1.0], [1.0], [1.0]]}, {"data": [[], []]},
        {"data": [[1.0], [1.0, 2.0]]}, {"data": [[1.0], [None]]}, {"data": [[1.0], [True]]}, {"data": [[1.0], ["1"]]},
        {"data": [[1.0], 1.0]}, {"data": [1.0, 1.0]}, {"data": [[1.0], [1e39]]}, {"data": [[0.0] * 8193] * 2},
    ],
)  # fmt: skip
def test_what_is_no_vector_for_each_text_is_refused(server: WorkersServer, result: Any) -> None:
    server.models["@cf/tests/vectors"] = lambda body: result
    with pytest.raises(PeerError, match="result"):
        asked(WorkersUpstream(server.url, "@cf/tests/vectors", "embeddings"), text=np.array(["a", "b"]))


def test_vectors_of_different_sizes_are_refused(server: WorkersServer) -> None:
    server.models["@cf/tests/vectors"] = lambda body: {"data": [[1.0] * len(body["text"])] * len(body["text"])}
    with pytest.raises(PeerError, match="different sizes"):
        asked(WorkersUpstream(server.url, "@cf/tests/vectors", "embeddings"), text=np.array(["a"] * 150))


@pytest.mark.parametrize("score", [-0.01, 1.01, "0.5", None, True, 1e400])
def test_a_score_is_a_probability(server: WorkersServer, score: Any) -> None:
    server.models[MODEL] = lambda body: [{"label": "negative", "score": score}]
    with pytest.raises(PeerError):
        asked(WorkersUpstream(server.url, MODEL, "text-classification", LABELS), text=np.array(["a"]))


def test_digits_are_sent_as_the_bytes_of_pictures() -> None:
    known, seen = digits_data("train"), digits_data("eval")
    spec = TensorSpec("pixels", "uint8", ("batch", 8, 8, 1), (0, 255), "image")

    def nearest(body: Any) -> Any:
        """The three digits that are most like the picture, as resnet-50 there gives the best five."""
        picture = np.asarray(Image.open(io.BytesIO(bytes(body["image"]))), np.float32)
        distance = np.square(known.x[..., 0] - picture).sum(axis=(1, 2))
        least = [distance[known.y == digit].min() for digit in range(10)]
        score = np.exp(-(np.array(least) - min(least)) / 1e4)
        return [{"label": known.labels[at], "score": float(score[at] / score.sum())} for at in np.argsort(-score)[:3]]

    with WorkersServer({"@cf/tests/digits": nearest}) as server:
        upstream = WorkersUpstream(server.url, "@cf/tests/digits", "image-classification", known.labels, inputs=[spec])
        scores = asked(upstream, pixels=seen.x[:40]).outputs["out"]
    assert (scores.argmax(axis=1) == seen.y[:40]).mean() == 1.0
    assert (np.count_nonzero(scores, axis=1) <= 3).all()


def test_a_model_is_looked_for_in_the_catalogue_where_there_is_one(server: WorkersServer) -> None:
    until = time.perf_counter() + WHOLE
    part = WorkersUpstream(server.url, "@cf/tests/word", "text-classification", LABELS)
    with pytest.raises(PeerError, match=r"has no model @cf/tests/word$"):
        part.describe(until, Cancel())
    server.lists = False
    assert part.describe(until, Cancel()) == Described("@cf/tests/word", labels=LABELS)
    server.statuses = [403]
    with pytest.raises(HttpStatusError, match="403"):
        part.describe(until, Cancel())


def test_inputs_that_the_task_cannot_read_are_refused_with_both_ways(server: WorkersServer) -> None:
    numbers = np.zeros((1, 3), np.float32)
    with pytest.raises(InputError, match="reads texts") as raised:
        asked(WorkersUpstream(server.url, MODEL, "text-classification", LABELS), x=numbers)
    assert "text_of" in raised.value.remedy
    assert "dtype str" in raised.value.remedy
    with pytest.raises(InputError, match="reads pictures"):
        asked(WorkersUpstream(server.url, MODEL, "image-classification", LABELS), x=numbers)
    assert not server.calls


def test_the_form_is_checked_when_it_is_made() -> None:
    url = "https://api.cloudflare.com/client/v4/accounts/abc"
    assert WorkersUpstream(url, MODEL, "embeddings", token=TOKEN).name == f"{MODEL} at {url}"
    for task, labels in (("embeddings", LABELS), ("text-classification", ()), ("text-classification", ("a", "A "))):
        with pytest.raises(InputError, match="labels"):
            WorkersUpstream(url, MODEL, task, labels)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the tasks are"):
        WorkersUpstream(url, MODEL, "poetry", LABELS)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no model's name"):
        WorkersUpstream(url, "../../run", "embeddings")
    with pytest.raises(RefusedError, match="token would go"):
        WorkersUpstream("http://example.org", MODEL, "embeddings", token=TOKEN, unsafe_plain_http=True)


def test_the_token_is_sent(server: WorkersServer) -> None:
    asked(WorkersUpstream(server.url, MODEL, "text-classification", LABELS, token=TOKEN), text=np.array(["a"]))
    assert server.calls[0].token == f"Bearer {TOKEN}"
    assert server.calls[0].path == f"/ai/run/{MODEL}"
    assert Path(server.calls[0].path).name == "words"
