"""What somebody else's model can read of a sample: its text, or a picture as a PNG file.

The models here take numbers: hashed or split words, scaled pixels. A text is there only where the interface has an input of
texts, or whoever names the upstream says how to get it back. A picture is one of the interface's inputs by its own word or form.
"""

import re
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import InputError
from edgewise.runtime.engine import Array

__all__ = ["TextOf", "is_picture", "pictures_of", "texts_of", "to_png"]

#: From inputs by name, (n, ...) each, to n texts.
TextOf = Callable[[Mapping[str, Array]], list[str]]

MOST_CHARACTERS = 16_384  # of one text; the prompt around it comes on top
_MOST_PIXELS = 1 << 24  # of one picture: 4096 x 4096
_SURROGATE = re.compile("[\ud800-\udfff]")
_COLOURS = {
    1: 0,
    2: 4,
    3: 2,
    4: 6,
}  # channels -> colour type: grey, grey with alpha, RGB, RGBA (PNG specification, 11.2.1)


def texts_of(inputs: Mapping[str, Array], text_of: TextOf | None) -> list[str] | None:
    """The text of each sample, or None where there is none.

    Raises InputError where several inputs are of texts and nobody says which, or what comes is not one bounded text for each.
    """
    rows = len(next(iter(inputs.values())))
    if text_of is not None:
        texts = text_of(inputs)
    else:
        named = {name: array for name, array in inputs.items() if _holds_texts(array)}
        if not named:
            return None
        if len(named) > 1:
            raise InputError(
                f"the inputs {', '.join(named)} are all texts", remedy="Say by text_of what is to be asked about them."
            )
        array = next(iter(named.values()))
        if array.size != rows:
            raise InputError(
                f"{rows} samples have {array.size} texts", remedy="Say by text_of what is to be asked about them."
            )
        texts = array.ravel().tolist()
    if not isinstance(texts, list) or len(texts) != rows or not all(isinstance(text, str) for text in texts):
        raise InputError(f"text_of gives a list of {rows} texts for {rows} samples, one each")
    if any(map(_SURROGATE.search, texts)):
        raise InputError("a text has half a surrogate pair in it, which cannot be sent", remedy="Decode it anew.")
    longest = max(map(len, texts), default=0)
    if longest > MOST_CHARACTERS:
        raise InputError(
            f"a text of {longest} characters is too long to ask about", remedy=f"Cut it to {MOST_CHARACTERS} or fewer."
        )
    return texts


def is_picture(spec: TensorSpec) -> bool:
    """Of content image; or bytes of height, width and one or three channels, which are nothing else where nobody says."""
    return spec.content == "image" or (
        spec.content == "tensor" and spec.dtype == "uint8" and len(spec.shape) == 4 and spec.shape[3] in (1, 3)
    )


def pictures_of(inputs: Mapping[str, Array], specs: Sequence[TensorSpec]) -> list[bytes] | None:
    """Each sample's picture as a PNG file, or None where no input among ``specs`` is one.

    Raises InputError where it cannot be written as one.
    """
    named = [spec for spec in specs if is_picture(spec) and spec.name in inputs]
    if not named:
        return None
    if len(named) > 1:
        raise InputError(
            f"the inputs {', '.join(spec.name for spec in named)} are all pictures; one can be asked about"
        )
    (spec,) = named
    return [to_png(_bytes_of(image, spec)) for image in inputs[spec.name]]


def to_png(image: Array) -> bytes:
    """A PNG file of (height, width, channels) uint8: grey, grey and alpha, RGB or RGBA. ISO/IEC 15948."""
    height, width, channels = image.shape
    head = struct.pack(">IIBBBBB", width, height, 8, _COLOURS[channels], 0, 0, 0)
    # Each line begins with its filter: 0, none.
    lines = np.zeros((height, 1 + width * channels), np.uint8)
    lines[:, 1:] = image.reshape(height, -1)
    body = zlib.compress(lines.tobytes(), 6)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _bytes_of(image: Array, spec: TensorSpec) -> Array:
    if image.ndim != 3 or image.shape[2] not in _COLOURS or not 0 < image.shape[0] * image.shape[1] <= _MOST_PIXELS:
        raise InputError(f"{spec.name}: {image.shape} is no picture of height, width and 1 to 4 channels")
    if image.dtype == np.uint8 and spec.range in (None, (0, 255)):
        return image
    if spec.range is None or spec.range[0] >= spec.range[1] or image.dtype.kind not in "iuf":
        raise InputError(
            f"{spec.name}: {image.dtype} without a range cannot be written as a picture",
            remedy="Pack the model with the range of its pixels, such as 0..1.",
        )
    low, high = spec.range
    scaled = (image.astype(np.float64) - low) * (255 / (high - low))
    if not np.isfinite(scaled).all():
        raise InputError(f"{spec.name}: pixels are finite numbers")
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def _holds_texts(array: Array) -> bool:
    return array.dtype.kind == "U" or (array.dtype.kind == "O" and all(isinstance(item, str) for item in array.flat))
