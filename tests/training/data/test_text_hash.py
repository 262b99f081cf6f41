"""Hashed text: the steps that the module describes, and nothing that only Python would do."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.errors import DataError, DocumentError, InputError
from edgewise.training.data.chance import chance
from edgewise.training.data.text_hash import TextEncoder, TextHash, fnv1a32, words_of


@pytest.mark.parametrize(
    # The published vectors: http://www.isthe.com/chongo/src/fnv/test_fnv.c
    ("text", "value"), [(b"", 0x811C9DC5), (b"a", 0xE40C292C), (b"b", 0xE70C2DE5), (b"foobar", 0xBF9CF968)],
)  # fmt: skip
def test_the_hash_is_fnv1a(text: bytes, value: int) -> None:
    assert fnv1a32(text) == value


def test_vectors(spec: Path) -> None:
    """Every implementation gives these ids exactly, and these weights to six digits."""
    vectors = json.loads((spec / "vectors" / "text_hash.json").read_text("utf-8"))
    for case in vectors["hashes"]:
        assert fnv1a32(case["text"].encode()) == case["fnv1a32"]
    for case in vectors["texts"]:
        assert list(words_of(case["text"])) == case["words"]
    for case in vectors["encodings"]:
        hashing = TextHash.from_json(json.dumps(case["description"]).encode())
        assert hashing.features(words_of(case["text"])) == (case["word_features"], case["char_features"])
        ids, weights = hashing.encode([case["text"]])
        kept = len(case["ids"])
        assert ids[0].tolist() == case["ids"] + [0] * (hashing.length - kept)
        assert np.allclose(weights[0, :kept], case["weights"], atol=1e-6)
        assert not weights[0, kept:].any()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("What's the weather, please?", ("what's", "the", "weather", "please")),
        ("  'quoted'  -- '' ", ("quoted",)),
        ("ÄRGER  ﬁne １２", ("ärger", "fine", "12")),
        ("it’s", ("it's",)),
        ("नमस्ते दुनिया", ("नमस्ते", "दुनिया")),
        ("ΟΔΟΣ", ("οδος"[:-1] + "ς",)),
        ("a_b-c", ("a", "b", "c")),
        ("?!", ()),
    ],
)
def test_words_are_letters_marks_and_numbers(text: str, words: tuple[str, ...]) -> None:
    assert words_of(text) == words


@given(st.lists(st.text(max_size=40), max_size=6), st.integers(2, 5000), st.integers(1, 60), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_ids_are_in_the_table_and_each_half_has_length_one(
    texts: list[str], buckets: int, length: int, words: int
) -> None:
    hashing = TextHash(buckets, length, words, (2, 3))
    ids, weights = hashing.encode(texts)
    assert ids.shape == weights.shape == (len(texts), length)
    assert (ids >= 0).all()
    assert (ids < buckets).all()
    assert ((ids == 0) == (weights == 0)).all()
    for row, text in enumerate(texts):
        of_words, of_chars = hashing.features(words_of(text))
        border, kept = min(len(of_words), length), min(len(of_words) + len(of_chars), length)
        assert (ids[row] != 0).sum() == kept
        for half in (weights[row, :border], weights[row, border:kept]):
            assert not len(half) or abs(np.square(half.astype(float)).sum() - 1) < 1e-5


@given(st.integers(2, 1 << 24), st.integers(1, 1 << 16), st.integers(0, 16), st.lists(st.integers(1, 16), max_size=5))
def test_a_description_read_is_the_one_that_was_written(
    buckets: int, length: int, words: int, chars: list[int]
) -> None:
    if not words and not chars:
        words = 1
    hashing = TextHash(buckets, length, words, tuple(chars))
    assert TextHash.from_json(hashing.to_json()) == hashing


def test_a_description_that_cannot_be_followed_is_refused_with_every_reason() -> None:
    described = json.loads(TextHash().to_json())
    described |= {"hash": "murmur3", "buckets": 1, "chars": [0, True], "stemmer": "porter"}
    with pytest.raises(DocumentError) as raised:
        TextHash.from_json(json.dumps({**described, "version": 1}).encode())
    assert any("stemmer" in problem for problem in raised.value.problems)
    del described["stemmer"]
    with pytest.raises(DocumentError) as raised:
        TextHash.from_json(json.dumps(described).encode())
    assert len(raised.value.problems) == 4
    with pytest.raises(InputError, match="words or chars"):
        TextHash(words=0, chars=())


def test_rare_features_weigh_more() -> None:
    hashing = TextHash(1 << 16, 32, 1, ())
    texts = ["the cat", "the dog", "the bird"]
    idf = hashing.idf(texts)
    _, weights = hashing.encode(["the cat"], idf)
    the, cat = weights[0, :2]
    assert np.isclose(cat / the, (np.log(4 / 2) + 1) / 1)
    assert idf.max() == pytest.approx(np.log(4) + 1)


def test_an_encoder_drops_words_in_training_only() -> None:
    texts = np.array(["one two three four five", "six", ""], object)
    encoder = TextEncoder(TextHash(1 << 16, 40, 1, ()), word_dropout=0.5)
    first, again = encoder(texts, chance(0)), encoder(texts, chance(0))
    assert all((first[name] == again[name]).all() for name in ("ids", "weights"))
    counts = [(encoder(texts, chance(seed))["ids"] != 0).sum(axis=1) for seed in range(30)]
    assert {int(count[0]) for count in counts} >= {1, 2, 3, 4}
    assert all(count[1:].tolist() == [1, 0] for count in counts), "one word always stays"
    still = encoder.still()
    assert (still(texts, chance(0))["ids"] == encoder.hashing.encode(texts)[0]).all()


def test_trimming_cuts_padding_only() -> None:
    texts = np.array(["a b c", "a"])
    hashing = TextHash(100, 40, 1, ())
    assert TextEncoder(hashing, trim=2)(texts, chance(0))["ids"].shape == (2, 4)
    assert TextEncoder(hashing, trim=64, weights="")(texts, chance(0)).keys() == {"ids"}
    assert TextEncoder(hashing, trim=64)(texts, chance(0))["ids"].shape == (2, 40)
    with pytest.raises(DataError, match="texts are"):
        TextEncoder(hashing)(np.zeros((2, 2)), chance(0))
