"""JSON that readers could disagree about is refused; what is written is canonical, and reads back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.bundle.limits import Limits
from edgewise.bundle.strict_json import dump_json, parse_json, parse_object
from edgewise.errors import HostileBundleError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)


@given(VALUES)
def test_parse_after_dump_is_the_identity(value: Any) -> None:
    assert parse_json(dump_json(value), "a value") == value


@given(VALUES)
def test_canonical_bytes_are_a_fixed_point(value: Any) -> None:
    data = dump_json(value)
    assert dump_json(parse_json(data, "a value")) == data


@given(st.permutations(["a", "b", "\u00e9", "Z", "", "\U0001f600"]))
def test_the_order_of_keys_does_not_show(names: list[str]) -> None:
    assert dump_json(dict.fromkeys(names, 0)) == dump_json(dict.fromkeys(sorted(names), 0))


@given(st.text('[]{},"\\a ', max_size=60))
def test_the_bounds_agree_with_the_parser_about_what_is_a_string(text: str) -> None:
    """Brackets and commas inside strings do not count, those outside do: whatever the text, a strict limit is never wrong."""
    tight = Limits(json_depth=2, json_values=4)
    try:
        value = parse_json(text.encode(), "a text")
    except HostileBundleError:
        return
    refused = _rule(text.encode(), tight)
    assert refused in (("", "json-values") if _depth(value) <= 2 else ("json-depth", "json-values"))


def _rule(data: bytes, limits: Limits) -> str:
    try:
        parse_json(data, "a text", limits)
    except HostileBundleError as error:
        return error.rule
    return ""


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def test_depth_and_values_are_limits_that_may_be_reached() -> None:
    limits = Limits(json_depth=3, json_values=6)
    assert parse_json(b"[[[]]]", "x", limits) == [[[]]]
    assert parse_json(b"[1,2,3,4,5]", "x", limits) == [1, 2, 3, 4, 5]
    for data, rule in ((b"[[[[]]]]", "json-depth"), (b"[1,2,3,4,5,6]", "json-values")):
        with pytest.raises(HostileBundleError) as raised:
            parse_json(data, "x", limits)
        assert raised.value.rule == rule


def test_the_largest_numbers_are_accepted() -> None:
    assert parse_json(b"[9007199254740991,-9007199254740991,1.7976931348623157e308]", "x") == [
        2**53 - 1,
        1 - 2**53,
        1.7976931348623157e308,
    ]


def test_a_top_level_list_is_no_object() -> None:
    with pytest.raises(HostileBundleError, match="not an object"):
        parse_object(b"[]", "x")


@pytest.mark.parametrize("digits", ["1e999", "-1e999", "NaN", "Infinity", "-Infinity", "1." + "0" * 100])
def test_a_number_that_is_not_finite_is_refused_on_either_side(digits: str) -> None:
    assert _rule(f"[{digits}]".encode(), Limits()) == "json-number"
