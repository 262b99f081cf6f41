"""Arrays read back as they were written; offsets that overlap or leave gaps are refused (spec/attacks has the rest)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgewise.bundle.limits import Limits
from edgewise.bundle.safetensors import Array, dump_arrays, parse_arrays
from edgewise.errors import HostileBundleError

DTYPES = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
]
ARRAYS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=10).filter(lambda name: name != "__metadata__"),
    hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)),
    max_size=4,
)


@given(ARRAYS)
def test_parse_after_dump_is_the_identity(arrays: dict[str, Array]) -> None:
    read = parse_arrays(dump_arrays(arrays), "arrays")
    assert set(read) == set(arrays)
    for name, array in arrays.items():
        assert (read[name].shape, read[name].dtype) == (array.shape, array.dtype)
        assert read[name].tobytes() == array.tobytes()


@given(ARRAYS)
def test_equal_arrays_give_equal_bytes(arrays: dict[str, Array]) -> None:
    backwards = dict(reversed(arrays.items()))
    assert dump_arrays(arrays) == dump_arrays(backwards)


def test_byte_order_and_memory_order_do_not_show() -> None:
    plain = np.arange(6, dtype="<i4").reshape(2, 3)
    assert dump_arrays({"a": plain}) == dump_arrays({"a": np.asfortranarray(plain.astype(">i4"))})


def test_what_is_read_is_a_view_that_cannot_be_written() -> None:
    read = parse_arrays(dump_arrays({"a": np.zeros(3)}), "arrays")
    with pytest.raises(ValueError, match="read-only"):
        read["a"][0] = 1


def test_the_size_limit_holds() -> None:
    with pytest.raises(HostileBundleError) as raised:
        parse_arrays(dump_arrays({"a": np.zeros(100)}), "arrays", Limits(array_bytes=100))
    assert raised.value.rule == "arrays-size"


def test_metadata_of_other_writers_is_ignored() -> None:
    header = b'{"__metadata__":{"format":"pt"},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    read = parse_arrays(len(header).to_bytes(8, "little") + header + b"\x07", "arrays")
    assert {name: array.tolist() for name, array in read.items()} == {"a": [7]}
