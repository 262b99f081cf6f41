"""Requirements: read from text, validated, and placement judged share by share."""

import pytest

from edgewise.errors import InputError, RequirementError
from edgewise.runtime.engine import PlacedNode, Placement
from edgewise.runtime.requirements import Requirements

pytestmark = pytest.mark.bare
MIXED = Placement(
    (
        PlacedNode("Gpu", "Conv", "a"),
        PlacedNode("Gpu", "Relu", "b"),
        PlacedNode("Cpu", "TopK", "c"),
        PlacedNode("Gpu", "Add", "d"),
    )
)


def test_text_is_converted_and_nothing_is_demanded_by_default() -> None:
    assert Requirements.parse({"max_p95_ms": "5", "provider": "Gpu"}) == Requirements(provider="Gpu", max_p95_ms=5.0)
    assert Requirements().to_json() == {}


@pytest.mark.parametrize(
    ("clauses", "words"),
    [({"p95": 1}, "max_p95_ms"), ({"max_p95_ms": "fast"}, "number"), ({"min_share_on_provider": 0.5}, "needs a provider"),
     ({"provider": "x", "min_share_on_provider": 50}, "between 0 and 1"), ({"max_p95_ms": "nan"}, "number"),
     ({"max_rss_mb": float("inf")}, "finite"), ({"max_metric_drop": -1}, "0 or more"), ({"max_p95_ms": True}, "number"),
     ({"provider": ""}, "needs a name"), ({"engine": None}, "needs a name"), ("max_p95_ms=5", "not a str")],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(clauses: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Requirements.parse(clauses)


def test_a_provider_means_all_nodes_unless_a_share_is_given() -> None:
    assert MIXED.share("Gpu") == 0.75
    with pytest.raises(RequirementError, match=r"75% .*TopK"):
        Requirements(provider="Gpu").check_placement(MIXED, "fp32")
    Requirements(provider="Gpu", min_share_on_provider=0.7).check_placement(MIXED, "fp32")
    with pytest.raises(RequirementError):
        Requirements(provider="Gpu", min_share_on_provider=0.8).check_placement(MIXED, "fp32")


def test_a_placement_that_nobody_reported_meets_nothing() -> None:
    with pytest.raises(RequirementError, match="no node was placed"):
        Requirements(provider="Gpu").check_placement(Placement(()), "fp32")
