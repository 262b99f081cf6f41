"""A fresh name is taken by nobody, and only what has to change gets one."""

from hypothesis import given
from hypothesis import strategies as st

from edgewise.graph.rename import fresh_names

NAMES = st.sets(st.sampled_from(["a", "b", "p_a", "p_b", "p_p_a", "p_2_a", "p_3_a", "p_2_b"]))


@given(NAMES, NAMES)
def test_fresh_names_are_new_and_different(names: set[str], taken: set[str]) -> None:
    renamed = fresh_names(names, taken, "p_")
    assert set(renamed) == names & taken
    after = [renamed.get(name, name) for name in names]
    assert len(set(after)) == len(after)
    assert not set(after) & taken
