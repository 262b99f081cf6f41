"""What is written of a tensor is read again, in every type of the protocol, raw and as JSON; what is no tensor is refused."""

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.net.oip_tensors import (
    DTYPES,
    datatype_of,
    from_raw,
    from_values,
    is_number,
    most_bytes,
    to_raw,
    to_values,
)

NUMBERS = sorted(name for name in DTYPES if is_number(name))


@st.composite
def tensors(draw: st.DrawFn, json_safe: bool = False) -> tuple[str, np.ndarray]:
    datatype = draw(st.sampled_from(sorted(DTYPES)))
    shape = tuple(draw(st.lists(st.integers(0, 3), min_size=1, max_size=3)))
    size = int(np.prod(shape))
    if datatype == "BYTES":
        items = draw(
            st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=size, max_size=size)
        )
        array = np.empty(size, object)
        array[:] = items
        return datatype, array.reshape(shape)
    dtype = np.dtype(DTYPES[datatype])
    if dtype.kind == "b":
        elements: Any = st.booleans()
    elif dtype.kind == "f":
        elements = st.floats(allow_nan=False, allow_infinity=False, width=8 * dtype.itemsize)
    else:
        limits = np.iinfo(dtype)
        low, high = (max(limits.min, 1 - 2**53), min(limits.max, 2**53 - 1)) if json_safe else (limits.min, limits.max)
        elements = st.integers(int(low), int(high))
    return datatype, np.array(draw(st.lists(elements, min_size=size, max_size=size)), dtype).reshape(shape)


@settings(max_examples=150, deadline=None)
@given(tensors())
def test_raw_read_after_write_is_the_identity_and_no_longer_than_is_said(tensor: tuple[str, np.ndarray]) -> None:
    datatype, array = tensor
    data = to_raw(array, datatype)
    back = from_raw(data, datatype, array.shape)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tolist() == array.tolist()
    assert datatype_of(array) == datatype
    assert len(data) <= most_bytes(datatype, array.shape, raw=True)


@settings(max_examples=150, deadline=None)
@given(tensors(json_safe=True))
def test_json_read_after_write_is_the_identity_and_no_longer_than_is_said(tensor: tuple[str, np.ndarray]) -> None:
    datatype, array = tensor
    text = json.dumps(to_values(array, datatype))
    back = from_values(json.loads(text), datatype, array.shape)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tolist() == array.tolist()
    assert len(text) <= 2 + most_bytes(datatype, array.shape, raw=False)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(DTYPES)), st.binary(max_size=40), st.integers(0, 5))
def test_any_bytes_are_a_tensor_or_a_value_error(datatype: str, data: bytes, size: int) -> None:
    try:
        array = from_raw(data, datatype, (size,))
    except ValueError:
        return
    assert to_raw(array, datatype) == data


def test_nested_rows_are_the_same_numbers() -> None:
    assert from_values([[1, 2], [3, 4]], "INT8", (2, 2)).tolist() == [[1, 2], [3, 4]]
    assert from_values([["a", "b"], ["c", "d"]], "BYTES", (2, 2)).tolist() == [["a", "b"], ["c", "d"]]


def test_texts_are_written_with_their_length_before_them() -> None:
    array = np.array(["é", "bc"], object)
    assert to_raw(array, "BYTES") == b"\x02\0\0\0\xc3\xa9\x02\0\0\0bc"
    assert to_raw(np.array(["a"]), "BYTES") == to_raw(np.array([b"a"]), "BYTES") == b"\x01\0\0\0a"


@pytest.mark.parametrize(
    ("data", "datatype", "shape"),
    [
        (b"\0" * 7, "FP32", (2,)), (b"\0" * 9, "FP32", (2,)), (b"\2", "BOOL", (1,)),
        (struct.pack("<f", float("nan")), "FP32", (1,)), (struct.pack("<e", float("inf")), "FP16", (1,)),
        (b"\5\0\0\0abc", "BYTES", (1,)), (b"\xff\xff\xff\xff", "BYTES", (1,)), (b"\1\0\0", "BYTES", (1,)),
        (b"\1\0\0\0a", "BYTES", (2,)), (b"\1\0\0\0\xff", "BYTES", (1,)), (b"\1\0\0\0a\1\0\0\0b", "BYTES", (1,)),
        (struct.pack("<I", 5000) + b"a" * 5000, "BYTES", (1,)),
    ],
)  # fmt: skip
def test_raw_bytes_that_are_no_tensor_are_refused(data: bytes, datatype: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"bytes|text|boolean|finite"):
        from_raw(data, datatype, shape)


@pytest.mark.parametrize(
    ("values", "datatype"),
    [
        ([256, 0], "UINT8"), ([-1, 0], "UINT8"), ([1.5, 0], "INT32"), ([True, False], "INT8"), ([0, 1], "BOOL"),
        ([1e300, 0], "FP32"), ([70000.0, 0], "FP16"), (["1", "2"], "FP32"), ([1], "FP32"), ([[1], [1, 2]], "FP32"),
        (None, "FP32"), ("ab", "BYTES"), ([1, 2], "BYTES"), ({"a": 1}, "FP32"), ([None, None], "FP32"), ([128, 0], "INT8"),
        ([[["a"]], "b", "c"], "BYTES"),
    ],
)  # fmt: skip
def test_json_values_that_are_no_tensor_are_refused(values: Any, datatype: str) -> None:
    with pytest.raises(ValueError, match=r"needed|finite|none of"):
        from_values(values, datatype, (2,))


def test_numbers_that_json_has_not_are_not_written() -> None:
    with pytest.raises(ValueError, match=r"finite"):
        to_values(np.array([np.nan], np.float32), "FP32")
