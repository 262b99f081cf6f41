"""Text to ids without a vocabulary: hashed n-grams of words and characters, the same in every language that computes them.

What a reimplementation has to do, step by step (test vectors: spec/vectors/text_hash.json):

1. Unicode NFKC, then the full lower-case mapping (JavaScript: ``normalize("NFKC").toLowerCase()``); U+2019 becomes ``'``.
2. Words are the longest runs of letters, marks, numbers (categories L, M, N) and ``'``, less ``'`` at both ends; none is empty.
3. Features: for n = 1..words each n neighbouring words, joined by a space, after the prefix ``w<n>:``; then, for each n of
   chars, each n neighbouring code points of the words joined by a space, with a space before and after, behind ``c<n>:``.
4. A feature's hash is FNV-1a, 32 bits, over its UTF-8 bytes (Fowler, Noll, Vo); its id 1 + hash mod (buckets - 1). 0 is padding.
5. Ids in this order, the first ``length`` of them. Weights: idf of the id (or 1), through the Euclidean norm of all of the text's
   word features, and of its character features, each by themselves, as kept.

Hashing in place of a vocabulary: Weinberger et al. 2009, arXiv 0902.2206; n-grams so: Joulin et al. 2016, arXiv 1607.01759.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edgewise.bundle.fields import Form
from edgewise.bundle.strict_json import dump_json, parse_object
from edgewise.errors import DataError, DocumentError
from edgewise.measure.npz import Array
from edgewise.training.augment.step import need

__all__ = ["TextEncoder", "TextHash", "fnv1a32", "words_of"]

_KIND = "text hash"
_VERSION = 1
_OFFSET, _PRIME = 0x811C9DC5, 0x01000193  # of FNV-1a with 32 bits
_MOST_BUCKETS = 1 << 24
_MOST_LENGTH = 1 << 16
_MOST_GRAM = 16


@dataclass(frozen=True, slots=True)
class TextHash:
    """How texts become ids and weights. buckets: rows of the embedding, the padding among them. length: ids of one text.

    words: n-grams of words up to this n. chars: sizes of the n-grams of characters, () for none.
    """

    buckets: int = 32_768
    length: int = 192
    words: int = 2
    chars: tuple[int, ...] = (3, 4, 5)

    def __post_init__(self) -> None:
        need(
            _KIND,
            (2 <= self.buckets <= _MOST_BUCKETS, f"buckets are 2..{_MOST_BUCKETS}, not {self.buckets}"),
            (1 <= self.length <= _MOST_LENGTH, f"length is 1..{_MOST_LENGTH}, not {self.length}"),
            (0 <= self.words <= _MOST_GRAM, f"words are 0..{_MOST_GRAM}, not {self.words}"),
            (all(1 <= n <= _MOST_GRAM for n in self.chars), f"chars are 1..{_MOST_GRAM}, not {self.chars}"),
            (bool(self.words or self.chars), "words or chars must be there"),
        )

    def features(self, words: Sequence[str]) -> tuple[list[str], list[str]]:
        """The features of a text's words: those of words, those of characters."""
        of_words = [
            f"w{n}:{' '.join(words[at : at + n])}" for n in range(1, self.words + 1) for at in range(len(words) - n + 1)
        ]
        text = f" {' '.join(words)} "
        of_chars = [f"c{n}:{text[at : at + n]}" for n in self.chars for at in range(len(text) - n + 1)]
        return of_words, of_chars if words else []

    def encode_words(self, texts: Sequence[Sequence[str]], idf: Array | None = None) -> tuple[Array, Array]:
        """Ids (N, length) int64 and weights (N, length) float32 of texts that are lists of words (see ``words_of``)."""
        ids, weights = np.zeros((len(texts), self.length), np.int64), np.zeros((len(texts), self.length), np.float32)
        last = self.buckets - 1
        for row, words in enumerate(texts):
            of_words, of_chars = self.features(words)
            found = [1 + _hashed(feature) % last for feature in (of_words + of_chars)[: self.length]]
            kept = len(found)
            ids[row, :kept] = found
            value = np.ones(kept) if idf is None else idf[ids[row, :kept]].astype(np.float64)
            border = min(len(of_words), kept)
            for half in (slice(0, border), slice(border, kept)):
                value[half] /= max(float(np.sqrt(np.square(value[half]).sum())), 1e-12)
            weights[row, :kept] = value
        return ids, weights

    def encode(self, texts: Iterable[str], idf: Array | None = None) -> tuple[Array, Array]:
        """Ids (N, length) int64 and weights (N, length) float32. idf: (buckets,), from ``idf``; 1 for all where it is None."""
        return self.encode_words([words_of(text) for text in texts], idf)

    def idf(self, texts: Iterable[str]) -> Array:
        """(buckets,) float32: ln((1 + N) / (1 + texts with the id)) + 1, the smooth inverse document frequency of scikit-learn."""
        counts, total, last = np.zeros(self.buckets), 0, self.buckets - 1
        for total, text in enumerate(texts, 1):  # noqa: B007  (the last number is how many there were)
            of_words, of_chars = self.features(words_of(text))
            counts[list({1 + _hashed(feature) % last for feature in of_words + of_chars})] += 1
        return (np.log((1 + total) / (1 + counts)) + 1).astype(np.float32)

    def to_json(self) -> bytes:
        """Canonical bytes, to be kept beside the model; ``from_json`` is the inverse."""
        return dump_json({
            "kind": _KIND, "version": _VERSION, "hash": "fnv1a32", "normalisation": "nfkc-lower",
            "buckets": self.buckets, "length": self.length, "words": self.words, "chars": list(self.chars),
        })  # fmt: skip

    @classmethod
    def from_json(cls, data: bytes) -> "TextHash":
        """Raises DocumentError for a description that this version cannot follow to the letter."""
        form = Form(parse_object(data, _KIND), _KIND)
        form.text("kind", one_of=[_KIND])
        form.integer("version", low=_VERSION, high=_VERSION)
        form.text("hash", one_of=["fnv1a32"])
        form.text("normalisation", one_of=["nfkc-lower"])
        chars = form.values("chars", lambda n: type(n) is int and 1 <= n <= _MOST_GRAM, f"1..{_MOST_GRAM}", limit=16)
        buckets = form.integer("buckets", low=2, high=_MOST_BUCKETS)
        length = form.integer("length", low=1, high=_MOST_LENGTH)
        words = form.integer("words", high=_MOST_GRAM)
        if unknown := form.rest():
            raise DocumentError(_KIND, [f"{name[:60]}: is unknown" for name in unknown])
        form.finish()
        return cls(buckets, length, words, tuple(chars))


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """Texts (N,) of a batch to the inputs ``ids`` and ``weights`` of a model; an encoder for batches.

    idf: (buckets,) or None. word_dropout: rate at which words are left out in training, before the n-grams are made; one always
    stays. weights: "" where the model takes none. trim: 0, or cut the batch to its longest text, rounded up to a multiple.
    """

    hashing: TextHash
    idf: Array | None = None
    word_dropout: float = 0.0
    ids: str = "ids"
    weights: str = "weights"
    trim: int = 0

    def __post_init__(self) -> None:
        need(
            "text encoder",
            (0 <= self.word_dropout < 1, f"word_dropout is in 0..1, not {self.word_dropout}"),
            (self.idf is None or self.idf.shape == (self.hashing.buckets,), "idf needs one value for each bucket"),
        )

    def __call__(self, x: Array, rng: np.random.Generator, /) -> Mapping[str, Array]:
        if x.ndim != 1 or x.dtype.kind not in "UOT":
            raise DataError(f"texts are (N,) of text, not {x.dtype} {x.shape}", rule="text-shape")
        texts = [words_of(str(text)) for text in x]
        if self.word_dropout:
            texts = [_thinned(words, self.word_dropout, rng) for words in texts]
        ids, weights = self.hashing.encode_words(texts, self.idf)
        if self.trim:
            used = int((ids != 0).sum(axis=1).max(initial=1))
            used = min(-(-used // self.trim) * self.trim, self.hashing.length)
            ids, weights = ids[:, :used], weights[:, :used]
        return {self.ids: ids, self.weights: weights} if self.weights else {self.ids: ids}

    def still(self) -> "TextEncoder":
        return TextEncoder(self.hashing, self.idf, 0.0, self.ids, self.weights, self.trim)


def words_of(text: str) -> tuple[str, ...]:
    """The words of ``text``: normalised, lower case, without what stands between them."""
    flat = unicodedata.normalize("NFKC", text).lower().translate(_SEPARATORS)
    return tuple(word for run in flat.split(" ") if (word := run.strip("'")))


def fnv1a32(data: bytes) -> int:
    """FNV-1a with 32 bits (http://www.isthe.com/chongo/tech/comp/fnv/)."""
    value = _OFFSET
    for byte in data:
        value = ((value ^ byte) * _PRIME) & 0xFFFFFFFF
    return value


@lru_cache(maxsize=1 << 18)  # n-grams repeat, within a language and from epoch to epoch
def _hashed(feature: str) -> int:
    # Lone surrogates are no text, but may come out of a damaged file: any bytes will do, as long as they are the same.
    return fnv1a32(feature.encode("utf-8", "surrogatepass"))


class _Separators(dict[int, str]):
    """Code point -> itself for what belongs to words, else a space; found out when first seen."""

    def __missing__(self, point: int) -> str:
        letter = chr(point)
        found = letter if unicodedata.category(letter)[0] in "LMN" or letter == "'" else " "
        self[point] = found
        return found


_SEPARATORS = _Separators({0x2019: "'"})


def _thinned(words: tuple[str, ...], rate: float, rng: np.random.Generator) -> tuple[str, ...]:
    draws = rng.random(len(words))
    kept = (draws >= rate) | (draws == draws.max(initial=-1.0))
    return tuple(word for word, stays in zip(words, kept.tolist(), strict=True) if stays)
