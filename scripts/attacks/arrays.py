"""Array files whose headers lie, and data sets that are bombs."""

import json
import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np

from attacks.attack import Attack, hostile

__all__ = ["array_attacks"]

_OPEN = "the header's shape and the directory's size do not agree"


def array_attacks() -> Iterator[Attack]:
    yield from _safetensors()
    yield from _archives()
    yield from _npy_headers()
    yield from _data_sets()


def _safetensors() -> Iterator[Attack]:
    def arrays(name: str, why: str, header: Any, body: bytes = bytes(16), rule: str = "arrays-malformed") -> Attack:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return hostile(f"arrays-{name}", rule, why, len(text).to_bytes(8, "little") + text + body, "arrays")

    def one(shape: Any, offsets: Any, dtype: Any = "F32") -> dict[str, Any]:
        return {"dtype": dtype, "shape": shape, "data_offsets": offsets}

    for name, length in (
        ("header-beyond", 1000),
        ("header-zero", 0),
        ("header-2-63", 2**63),
        ("header-2-64", 2**64 - 1),
    ):
        yield hostile(
            f"arrays-{name}",
            "arrays-malformed",
            "the header's length lies",
            length.to_bytes(8, "little") + b"{}",
            "arrays",
        )
    yield hostile("arrays-short", "arrays-malformed", "not even a length", b"\x01\x00", "arrays")
    yield arrays(
        "overlap", "two tensors over the same bytes, and bytes of none", {"a": one([2], [0, 8]), "b": one([2], [0, 8])}
    )
    yield arrays("overlap-partly", "two tensors share half", {"a": one([3], [0, 12]), "b": one([1], [8, 12])})
    yield arrays("overlap-to-the-end", "the last bytes twice", {"a": one([4], [0, 16]), "b": one([2], [8, 16])})
    yield arrays("gap", "bytes that no tensor has", {"a": one([1], [0, 4]), "b": one([2], [8, 16])})
    yield arrays("gap-at-start", "bytes before the first tensor", {"a": one([3], [4, 16])})
    yield arrays("trailing", "bytes after the last tensor", {"a": one([3], [0, 12])})
    yield arrays("outside", "offsets beyond the file", {"a": one([2**30], [0, 2**32])})
    yield arrays("reversed", "an end before its start", {"a": one([4], [16, 0])})
    yield arrays("negative", "negative offsets", {"a": one([4], [-16, 0])})
    yield arrays("shape-lies", "a shape larger than its bytes", {"a": one([400], [0, 16])})
    yield arrays("shape-overflow", "a shape whose product is 4 in 64 bits", {"a": one([2**52, 2**12, 4], [0, 16])})
    yield arrays(
        "shape-overflow-zero", "a product of 2^64, which is 0 in 64 bits", {"a": one([2**32, 2**32], [0, 0])}, b""
    )
    yield arrays("shape-empty-huge", "empty, but too large for an array", {"a": one([0, 2**52, 2**52], [0, 0])}, b"")
    yield arrays("rank", "a rank of 1,000", {"a": one([1] * 999 + [4], [0, 16])})
    yield arrays("shape-float", "a dimension that is no integer", {"a": one([4.0], [0, 16])})
    yield arrays("shape-true", "a dimension that is a truth value", {"a": one([True, 4], [0, 16])})
    yield arrays("dtype", "an unknown type", {"a": one([4], [0, 16], "OBJECT")})
    yield arrays("dtype-list", "a type that is no text", {"a": one([4], [0, 16], ["F32"])})
    yield arrays("booleans", "booleans that are neither 0 nor 1", {"a": one([16], [0, 16], "BOOL")}, b"\x02" * 16)
    yield arrays("entry-number", "an entry that is no object", {"a": 1})
    yield arrays("three-offsets", "three offsets", {"a": one([4], [0, 16, 16])})
    yield arrays("nothing", "no tensors, but data", {})
    twice = (
        b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"a":{"dtype":"I32","shape":[4],"data_offsets":[0,16]}}'
    )
    yield arrays("name-twice", "one name with two types", twice, rule="json-duplicate-key")
    yield arrays("deep", "a header nested 5,000 deep", b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", rule="json-depth")
    yield arrays("list", "a header that is a list", b"[]", rule="json-malformed")


def _data_set(name: str, rule: str, why: str, data: bytes) -> Attack:
    return Attack(f"npz-{name}", "dataset", "E107", rule, why, data)


def _zip(entries: list[tuple[str, bytes]], method: int = ZIP_STORED) -> bytes:
    target = BytesIO()
    with ZipFile(target, "w", method) as archive:
        for name, data in entries:
            archive.writestr(ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, method)
    return target.getvalue()


def _npy(array: Any) -> bytes:
    target = BytesIO()
    np.lib.format.write_array(target, np.asarray(array))
    return target.getvalue()


def _npy_with(header: str, body: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode("latin-1") + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2 if version[0] == 1 else 4, "little") + text + body


def _archives() -> Iterator[Attack]:
    x, y = ("x.npy", _npy(np.zeros((2, 2), np.float32))), ("y.npy", _npy([0, 1]))
    good = _zip([x, y])
    bomb = _zip([("x.npy", _npy(np.zeros(8 << 20, np.uint8))), y], ZIP_DEFLATED)
    yield _data_set("bomb", "npz-expansion", "8 MiB of zeros in 8 KiB", bomb)
    yield _data_set(
        "bomb-declared",
        "npz-expansion",
        "4 GiB declared by a file of a few bytes",
        _patched(good, 24, struct.pack("<L", 2**32 - 2)),
    )
    yield _data_set(
        "bomb-small-declared",
        "npz-malformed",
        "8 MiB that declare to be 128 bytes",
        _patched(bomb, 24, struct.pack("<L", 128)),
    )
    yield _data_set(
        "packed-size-lies", "npz-overlap", "packed data beyond the file", _patched(good, 20, struct.pack("<L", 2**30))
    )
    yield _data_set("overlap", "npz-overlap", "sixty names for one piece of data", _overlapping(60))
    yield _data_set("entries", "npz-entries", "more arrays than 64", _zip([(f"{at}.npy", b"") for at in range(65)]))
    yield _data_set(
        "entries-declared",
        "npz-entries",
        "65,535 entries in the directory's record",
        _end_patched(good, 8, b"\xff\xff\xff\xff"),
    )
    yield _data_set(
        "directory-size", "npz-entries", "a directory of 2 GiB", _end_patched(good, 12, struct.pack("<L", 2**31))
    )
    yield _data_set("zip64-directory", "npz-entries", "a directory of 2^62 bytes in the zip64 record", _zip64(good))
    yield from _entry_attacks(x, y)


def _entry_attacks(x: tuple[str, bytes], y: tuple[str, bytes]) -> Iterator[Attack]:
    good = _zip([x, y])
    names = {
        "parent": "../x.npy",
        "absolute": "/x.npy",
        "backslash": "a\\x.npy",
        "drive": "C:x.npy",
        "other": "x.pkl",
        "folder": "x/",
    }
    for name, entry in names.items():
        yield _data_set(
            f"name-{name}", "npz-name", "an entry that is no array, or lies elsewhere", _zip([(entry, x[1]), y])
        )
    yield _data_set(
        "duplicate",
        "npz-duplicate",
        "two arrays with one name",
        _zip([x, y, ("z.npy", x[1])]).replace(b"z.npy", b"x.npy"),
    )
    yield _data_set("bzip2", "npz-compression", "a method that numpy does not write", _zip([x, y], ZIP_BZIP2))
    yield _data_set("encrypted", "npz-compression", "an encrypted entry", _patched(good, 8, b"\x01\x00"))
    yield _data_set(
        "checksum",
        "npz-malformed",
        "data that was changed",
        good.replace(b"'fortran_order': False", b"'fortran_order': True ", 1),
    )
    yield _data_set("truncated", "npz-malformed", "the file ends in the middle", good[:150])
    yield _data_set("no-zip", "npz-malformed", "no archive", b"x,y\n1,2\n" * 20)
    yield _data_set("empty", "npz-malformed", "nothing at all", b"")
    yield _data_set(
        "offset", "npz-malformed", "an entry that begins beyond the file", _patched(good, 42, struct.pack("<L", 2**31))
    )


def _npy_headers() -> Iterator[Attack]:
    def header(name: str, why: str, data: bytes, rule: str = "npz-malformed") -> Attack:
        return _data_set(f"header-{name}", rule, why, _zip([("x.npy", data), ("y.npy", _npy([0]))]))

    def described(descr: str, shape: str, body: bytes = bytes(16)) -> bytes:
        return _npy_with(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}", body)

    pickled = b"cos\nsystem\n(S'touch owned'\ntR."
    yield header("object", "objects are code", described("'|O'", "(1,)", pickled), "npz-dtype")
    yield header("structured", "objects inside a record", described("[('a', '|O')]", "(2,)"), "npz-dtype")
    yield header("void", "raw memory", described("'|V8'", "(2,)"), "npz-dtype")
    yield header("time", "dates", described("'<M8[s]'", "(2,)"), "npz-dtype")
    yield header("shape-huge", _OPEN, described("'<f4'", "(1099511627776,)"))
    yield header("shape-overflow", "a product of 2^64", described("'<f4'", "(4294967296, 4294967296)"))
    yield header("shape-overflow-four", "4 in 64 bits", described("'<f4'", "(4611686018427387905, 4)"))
    yield header("shape-negative", "two negative dimensions", described("'<f4'", "(-2, -2)"))
    yield header(
        "shape-empty-huge", "empty, but too large for an array", described("'<f4'", "(0, 4611686018427387904, 4)", b"")
    )
    yield header("rank", "a rank of 40", described("'<f4'", "(" + "1," * 39 + "4)"))
    yield header("short", _OPEN, described("'<f4'", "(5,)"))
    yield header("long", _OPEN, described("'<f4'", "(3,)"))
    yield header("unicode", "text beyond Unicode", described("'<U2'", "(2,)", b"\xff" * 16))
    yield header("booleans", "booleans that are neither 0 nor 1", described("'|b1'", "(16,)", b"\x02" * 16))
    yield header("code", "a call in place of a type", described("__import__('os').getcwd()", "(4,)"))
    yield header("deep", "nested 900 deep", _npy_with("(" * 900 + ")" * 900))
    yield header("minus", "900 minus signs", _npy_with("-" * 900 + "1"))
    yield header("huge", "a header of 60,000 characters", _npy_with("{" + " " * 60_000 + "}"))
    yield header("length-lies", "a header of 4 GiB", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}")
    yield header("version", "a version that does not exist", _npy_with("{}", version=b"\x09\x00"))
    yield header("python-2", "a header of Python 2 that is nonsense", _npy_with("{'descr': '<f4', 'shape': (4L, 0xZ)}"))
    yield header("none", "no header", b"hello")


def _data_sets() -> Iterator[Attack]:
    def arrays(name: str, rule: str, why: str, **values: Any) -> Attack:
        data = _zip([(f"{key}.npy", _npy(value)) for key, value in values.items()])
        return Attack(f"data-{name}", "dataset", "E107", rule, why, data)

    x = np.zeros((3, 2), np.float32)
    yield arrays("no-x", "dataset-arrays", "no inputs", images=x, y=[0, 1, 2])
    yield arrays("no-y", "dataset-arrays", "no answers", x=x)
    yield arrays("lengths", "dataset-lengths", "more samples than answers", x=x, y=[0, 1])
    yield arrays("group-length", "dataset-lengths", "more samples than groups", x=x, y=[0, 1, 2], group=[0])
    yield arrays("group-shape", "dataset-lengths", "a table of groups", x=x, y=[0, 1, 2], group=np.zeros((3, 2)))
    yield arrays("empty", "dataset-empty", "no samples", x=np.zeros((0, 2)), y=np.zeros(0))
    yield arrays("scalar", "dataset-empty", "no axis of samples", x=np.float32(1), y=[0])
    yield arrays("nan", "dataset-finite", "an input that is not a number", x=np.where(x == 0, np.nan, x), y=[0, 1, 2])
    yield arrays("infinite", "dataset-finite", "an infinite answer", x=x, y=[0, np.inf, 2])


def _patched(data: bytes, offset: int, value: bytes) -> bytes:
    """``data`` with a field of its first directory entry replaced."""
    at = data.index(b"PK\1\2") + offset
    return data[:at] + value + data[at + len(value) :]


def _end_patched(data: bytes, offset: int, value: bytes) -> bytes:
    at = data.rindex(b"PK\5\6") + offset
    return data[:at] + value + data[at + len(value) :]


def _zip64(data: bytes) -> bytes:
    at = data.rindex(b"PK\5\6")
    record = b"PK\6\6" + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, 1, 1, 2**62, 0)
    return data[:at] + record + b"PK\6\7" + struct.pack("<LQL", 0, at, 1) + data[at:]


def _overlapping(count: int) -> bytes:
    """Many directory entries for one stored array, as in D. Fifield, "A better zip bomb" (2019)."""
    chance = np.random.default_rng(0)
    whole = _zip([("x00.npy", _npy(chance.integers(0, 256, 2000, np.uint8)))])
    start, end = whole.index(b"PK\1\2"), whole.rindex(b"PK\5\6")
    entries = b"".join(whole[start:end].replace(b"x00", b"x%02d" % at) for at in range(count))
    return whole[:start] + entries + struct.pack("<4sHHHHLLH", b"PK\5\6", 0, 0, count, count, len(entries), start, 0)
