"""Whom an address means: by its form, and by what the model that asks takes and gives."""

from typing import Any

import numpy as np
import pytest

from edgewise.bundle.document import Document
from edgewise.bundle.tensors import TensorSpec
from edgewise.compose.upstream_addresses import TOKEN
from edgewise.compose.upstreams import open_upstream
from edgewise.errors import InputError, RefusedError
from edgewise.routing.upstreams.chat import ChatUpstream
from edgewise.routing.upstreams.function import FunctionUpstream
from edgewise.routing.upstreams.workers import WorkersUpstream

LABELS = ("no", "yes")
WORDS = TensorSpec("words", "int64", ("batch", 20))
PHOTO = TensorSpec("photo", "uint8", ("batch", 8, 8, 3))
ACCOUNT = "https://api.cloudflare.com/client/v4/accounts/abc"


def document(spec: TensorSpec = WORDS, task: str = "classification", labels: tuple[str, ...] = LABELS) -> Document:
    scores = TensorSpec("scores", "float32", ("batch", 2))
    return Document("model", "1.0.0", task, (spec,), (scores,), (), labels=labels, description="Yes or no.")


def opened(what: Any, asks: Document) -> Any:
    return open_upstream(what, asks, lambda ref: pytest.fail(f"{ref} is no bundle"))


def test_a_model_after_the_sign_is_a_chat_model_that_knows_the_labels() -> None:
    upstream = opened("https://api.example.org/v1#org/large", document())
    assert isinstance(upstream, ChatUpstream)
    assert upstream.name == "org/large at https://api.example.org/v1"
    assert (upstream.prompt.labels, upstream.prompt.description, upstream.prompt.form) == (
        LABELS,
        "Yes or no.",
        "json-schema",
    )


@pytest.mark.parametrize(
    ("asks", "task", "labels"),
    [
        (document(), "text-classification", LABELS),
        (document(PHOTO), "image-classification", LABELS),
        (document(WORDS, "embedding", ()), "embeddings", ()),
    ],
)
def test_workers_ai_is_asked_for_what_the_model_does(asks: Document, task: str, labels: tuple[str, ...]) -> None:
    upstream = opened(f"{ACCOUNT}/ai/run/@cf/some/model", asks)
    assert isinstance(upstream, WorkersUpstream)
    assert upstream.name == f"@cf/some/model at {ACCOUNT}"
    assert (upstream.task, upstream.labels) == (task, labels)


def test_a_function_has_the_labels_of_the_model() -> None:
    def judge(inputs: Any) -> Any:
        return np.zeros((len(inputs["words"]), 2), np.float32)

    upstream = opened(judge, document())
    assert isinstance(upstream, FunctionUpstream)
    assert upstream.name == "judge"
    assert opened(upstream, document()) is upstream


@pytest.mark.parametrize("url", ["http://example.org/v1#m", "http://example.org/ai/run/m"])
def test_nothing_goes_unencrypted_to_another_machine(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RefusedError, match="without encryption"):
        opened(url, document())
    monkeypatch.setenv(TOKEN, "very-secret")
    with pytest.raises(RefusedError, match="the token would go") as raised:
        open_upstream(url, document(), pytest.fail, unsafe_plain_http=True)
    assert "very-secret" not in str(raised.value)


@pytest.mark.parametrize("what", ["https://example.org/v1", "ftp://example.org/v1#m", "https://[::1", 3, None])
def test_what_says_not_what_it_speaks_is_refused(what: Any) -> None:
    with pytest.raises(InputError):
        opened(what, document())
