"""A metric from outside is read strictly: what is kept and signed is a finite number inside its interval."""

from typing import Any

import pytest

from edgewise.errors import DataError
from edgewise.measure.metric import Metric

METRIC = Metric("accuracy", 0.9, 0.85, 0.94, 200, "wilson")


def test_a_metric_survives_json() -> None:
    assert Metric.from_json(METRIC.to_json()) == METRIC
    assert Metric.from_json({**METRIC.to_json(), "unit": "a field of a later version"}) == METRIC


@pytest.mark.parametrize(
    "fault",
    [
        {"value": float("nan")},
        {"value": 0.5},
        {"value": 0.95},
        {"value": "0.9"},
        {"value": True},
        {"value": None},
        {"value": 10**400},
        {"value": 10**5000},
        {"low": float("-inf")},
        {"samples": 0},
        {"samples": 2.5},
        {"samples": float("inf")},
        {"confidence": 1.0},
        {"confidence": 0},
        {"higherIsBetter": "no"},
        {"higherIsBetter": 1},
        {"name": 5},
        {"name": ""},
        {"name": "n" * 65},
        {"method": ["wilson"]},
        {"method": ""},
    ],
)
def test_every_other_form_is_refused(fault: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        Metric.from_json({**METRIC.to_json(), **fault})


@pytest.mark.parametrize("name", list(METRIC.to_json()))
def test_no_field_may_be_absent(name: str) -> None:
    with pytest.raises(DataError):
        Metric.from_json({key: value for key, value in METRIC.to_json().items() if key != name})
