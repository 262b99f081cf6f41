"""Inputs: what a value means is kept or the value is refused; nothing is cast silently."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import TensorError
from edgewise.runtime.inputs import InputCheck, checks_for, convert_values, form_of


def spec(dtype: str = "float32", shape: tuple[int | str, ...] = ("batch", 3), **more: Any) -> TensorSpec:
    return TensorSpec("x", dtype, shape, **more)


def check(value: Any, dtype: str = "float32", shape: tuple[int | str, ...] = ("batch", 3), **more: Any) -> np.ndarray:
    return InputCheck(spec(dtype, shape, **more)).check(value)[0]


FLOATS = np.array([0.1, 0.9, 0.2])


@pytest.mark.parametrize(
    ("dtype", "value", "got"),
    [
        ("uint8", [FLOATS], "float64"),
        ("uint8", FLOATS.tolist(), "type float"),
        ("uint8", [1, 2.5, 3], "type float"),
        ("int32", [[1.9, 2.9, -3.9]], "type float"),
        ("int32", [[1.0, 2.0, 3.0]], "type float"),
        ("int64", np.float32(3), "a float32"),
        ("float32", ["1", "2", "3"], "type str"),
        ("float32", [True, False, True], "type bool"),
        ("float32", [1, True, 2.5], "type bool"),
        ("float32", [np.array([True, False, True])], "type bool"),
        ("int8", [1, True, 2], "type bool"),
        ("float32", None, "a NoneType"),
        ("float32", [None, 1.0, 2.0], "type None"),
        ("float32", [1j, 1.0, 2.0], "type complex"),
        ("int64", [np.timedelta64(1, "s")] * 3, "type timedelta64"),
        ("float32", b"abc", "a bytes"),
        ("float32", {"a": 1}, "a dict"),
        ("float32", [{"a": 1}], "type dict"),
        ("bool", [0, 1, 0], "type int"),
        ("bool", ["yes", "no", "no"], "type str"),
        ("str", [1, 2, 3], "type int"),
        ("str", ["a", 1, None], "type NoneType, int"),
        ("str", [b"a", b"b", b"c"], "type bytes"),
        ("str", np.array(["a", None, "c"], object), "type NoneType"),
        ("str", np.array([b"a", b"b", b"c"]), "dtype |S1"),
    ],
)
def test_values_of_another_kind_are_refused_with_expected_and_got(dtype: str, value: Any, got: str) -> None:
    with pytest.raises(TensorError) as raised:
        check(value, dtype)
    assert raised.value.what.startswith(f"x should be {dtype} (batch, 3); got ")
    assert got in raised.value.what
    assert raised.value.details["fault"] == "dtype"
    assert raised.value.remedy


@pytest.mark.parametrize(
    ("dtype", "value", "got"),
    [
        ("uint8", [300, 1, -1], "-1..300, where uint8 holds 0..255"),
        ("uint8", [np.array([0, 1, 256])], "0..256"),
        ("int64", [1, 2, 2**63], "1..9223372036854775808"),
        ("int64", [-1, 2**63, 0], "-1..9223372036854775808"),
        ("uint64", [-1, 2**63, 0], "-1..9223372036854775808"),
        ("int64", [1, 2, 10**5000], "beyond 2^128"),
        ("float32", [1e39, 0, 0], "1e+39, which float32 cannot hold"),
        ("float16", [70000, 0, 0], "70000, which float16 cannot hold"),
        ("float64", [10**400, 0, 0], "beyond 1e308"),
    ],
)
def test_values_beyond_the_type_are_refused_and_never_wrapped(dtype: str, value: Any, got: str) -> None:
    with pytest.raises(TensorError) as raised:
        check(value, dtype)
    assert got in raised.value.what
    assert raised.value.details["fault"] == "range"


@pytest.mark.parametrize(
    ("dtype", "value", "kept"),
    [
        ("float32", [1, 2.5, -3], [1.0, 2.5, -3.0]),
        ("float32", [0.5, float("inf"), -1.0], [0.5, float("inf"), -1.0]),
        ("float64", [2**70, 0, 1], [2.0**70, 0.0, 1.0]),
        ("uint8", [0, 255, np.uint8(7)], [0, 255, 7]),
        ("int64", [np.uint64(5), np.int64(-1), 0], [5, -1, 0]),
        ("uint64", [2**64 - 1, 0, 1], [2**64 - 1, 0, 1]),
        ("int16", range(3), [0, 1, 2]),
        ("bool", [True, False, np.True_], [True, False, True]),
        ("str", ["a", "b\0", ""], ["a", "b\0", ""]),
        ("str", np.array(["a", "b", "c"]), ["a", "b", "c"]),
    ],
)
def test_values_of_the_wanted_kind_are_kept(dtype: str, value: Any, kept: list[Any]) -> None:
    array = check(value, dtype)
    assert array.dtype == np.dtype(object if dtype == "str" else dtype)
    assert array.tolist() == [kept]


def test_a_list_of_arrays_is_a_batch_in_the_wanted_precision() -> None:
    array = check([FLOATS, FLOATS.astype(np.float32)])
    assert (array.shape, array.dtype) == ((2, 3), np.float32)


INTEGERS = st.lists(st.integers(-(2**65), 2**65), min_size=1, max_size=4)


@given(INTEGERS, st.sampled_from(["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]))
def test_integers_are_the_same_after_conversion_or_refused(values: list[int], dtype: str) -> None:
    limits = np.iinfo(dtype)
    if all(limits.min <= value <= limits.max for value in values):
        assert convert_values(values, spec(dtype, ("n",))).tolist() == values
    else:
        with pytest.raises(TensorError):
            convert_values(values, spec(dtype, ("n",)))


@pytest.mark.parametrize("dtype", ["float32", "uint8", "bool", "str"])
@pytest.mark.parametrize("value", [[], [[]], [[], []]])
def test_an_empty_list_has_the_wrong_shape(value: Any, dtype: str) -> None:
    for shape in (("batch", 3), ("batch",), ("batch", "samples")):
        with pytest.raises(TensorError, match="got shape") as raised:
            check(value, dtype, shape)
        assert raised.value.details["fault"] == "shape"


@pytest.mark.parametrize("dtype", ["float32", "str"])
def test_lists_of_different_lengths_are_said_to_be_that(dtype: str) -> None:
    item: Any = "a" if dtype == "str" else 1.0
    for value in ([[item] * 3, [item] * 2], [[item] * 3, item]):
        with pytest.raises(TensorError, match="got lists of different lengths"):
            check(value, dtype)


def test_an_object_that_cannot_become_an_array_is_refused_with_its_own_words() -> None:
    class OnAnotherDevice:
        def __array__(self, *arguments: Any, **named: Any) -> Any:
            raise RuntimeError("copy it to host memory first")

    with pytest.raises(TensorError, match="copy it to host memory first"):
        check(OnAnotherDevice())


def test_the_message_names_the_input_once() -> None:
    limited = spec(range=(0.0, 1.0))
    assert form_of(limited) == "float32 (batch, 3) in 0..1"
    with pytest.raises(TensorError) as raised:
        checks_for((spec(),))["x"](np.zeros((2, 5)))
    assert raised.value.what == "x should be float32 (batch, 3); got dtype float64, shape (2, 5)"
    assert "astype('float32')" in raised.value.remedy
    assert raised.value.details["got"] == {"dtype": "float64", "shape": [2, 5]}


@pytest.mark.parametrize("shape", [(32, 40, 1), (2, 32, 40, 1)])
def test_an_image_of_another_size_comes_with_both_ways_out(shape: tuple[int, ...]) -> None:
    with pytest.raises(TensorError, match="got shape") as raised:
        check(np.zeros(shape, np.uint8), "uint8", ("batch", 28, 20, 1))
    assert "28x20" in raised.value.remedy
    assert "--before image:size=28x20" in raised.value.remedy


def test_sound_of_another_length_comes_with_the_length() -> None:
    with pytest.raises(TensorError) as raised:
        check(np.zeros(16100, np.float32), shape=("batch", 16000), content="audio")
    assert "16000 samples" in raised.value.remedy


def test_a_batch_that_is_fixed_at_one_is_one_and_a_single_example_gets_it() -> None:
    one = InputCheck(spec(shape=(1, 3)))
    assert one.check(np.zeros((1, 3), np.float32))[1] is False
    array, single = one.check(np.zeros(3, np.float32))
    assert (array.shape, single) == ((1, 3), True)
    with pytest.raises(TensorError, match=r"got shape \(2, 3\)"):
        one.check(np.zeros((2, 3), np.float32))
    with pytest.raises(TensorError, match=r"got shape \(3,\)"):
        check(np.zeros(3, np.float32), shape=(2, 3))


@pytest.mark.parametrize(
    ("dtype", "limits", "value", "got"),
    [
        ("uint8", (0, 16), 17, "got values 17..17"),
        ("uint8", (8, 255), 7, "got values 7..7"),
        ("int8", (-5, 127), -6, "got values -6..-6"),
        ("int8", (-128, 5), 6, "got values 6..6"),
        ("int32", (0, 100), -1, "got values -1..-1"),
        ("int64", (0, 9), 10, "got values 10..10"),
        ("uint16", (0, 1023), 1024, "got values 1024..1024"),
    ],
)
def test_whole_numbers_are_held_to_their_range_at_both_ends(
    dtype: str, limits: tuple[float, float], value: int, got: str
) -> None:
    for end in limits:
        assert check(np.full((1, 3), end, dtype), dtype, range=limits).tolist() == [[end] * 3]
    with pytest.raises(TensorError, match=got) as raised:
        check(np.full((1, 3), value, dtype), dtype, range=limits)
    assert raised.value.details["fault"] == "range"


def test_an_empty_batch_is_within_every_range() -> None:
    for limits in (None, (0.0, 1.0)):
        assert check(np.zeros((0, 3), np.float32), range=limits).shape == (0, 3)
