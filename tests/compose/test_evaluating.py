"""`edgewise eval` measures only what answers rightly, holds it to the requirements, and counts classes by their names."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewise.compose.demo import digits_data
from edgewise.compose.evaluating import Evaluated, evaluate_path
from edgewise.errors import DataError, InputError, TensorError
from edgewise.measure.dataset import Dataset, with_labels
from edgewise.runtime.requirements import Requirements
from edgewise.store.home import Home

DATA = digits_data("calibration")
ONLY = {"engine": "onnxruntime", "variant": "int8"}


def measured(bundle: Path, data: Path, require: dict[str, Any] | None = None, **options: Any) -> Evaluated:
    given = {"trust": None, "unsafe_no_verification": False, "receipts": None, "key": None, **options}
    demanded = Requirements.parse(ONLY | (require or {}))
    return evaluate_path(Namespace(bundle=str(bundle), data=data, **given), demanded, lambda what, done, total: None)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.savez(tmp_path / "d.npz", x=DATA.x[:100], y=DATA.y[:100])
    return tmp_path / "d.npz"


@pytest.mark.parametrize(
    ("require", "words"),
    [({"max_p95_ms": 1e-6}, "p95 is"), ({"max_rss_mb": 1}, "peak memory is"), ({"max_metric_drop": 0.0}, "")],
)
def test_a_requirement_that_does_not_hold_is_told_beside_what_was_measured(
    require: dict[str, Any], words: str, digits_bundle: Path, data: Path, trusting_home: Home
) -> None:
    result = measured(digits_bundle, data, require)
    (row,) = result.rows
    assert words in row.unmet
    assert bool(row.unmet) == bool(words)
    assert result.met == (not words)
    assert result.to_json()["results"][0]["unmet"] == row.unmet


def test_data_that_does_not_fit_is_the_users_fault_and_says_how(
    digits_bundle: Path, tmp_path: Path, trusting_home: Home
) -> None:
    np.savez(tmp_path / "wrong.npz", x=DATA.x[:20].astype(np.float64), y=DATA.y[:20])
    with pytest.raises((DataError, TensorError), match="float64") as caught:
        measured(digits_bundle, tmp_path / "wrong.npz")
    assert caught.value.exit_code == 1


def test_a_key_without_receipts_is_a_contradiction(digits_bundle: Path, data: Path, trusting_home: Home) -> None:
    with pytest.raises(InputError, match="--key is for signing receipts"):
        measured(digits_bundle, data, key=Path("x.key"))


def test_classes_are_counted_by_name(digits_bundle: Path, tmp_path: Path, trusting_home: Home) -> None:
    turned = np.array([str(9 - at) for at in range(10)])
    np.savez(tmp_path / "turned.npz", x=DATA.x[:100], y=9 - DATA.y[:100], class_names=turned)
    assert measured(digits_bundle, tmp_path / "turned.npz").rows[0].evaluation.metrics[0].value > 0.9


def test_a_class_that_the_model_lacks_is_named_and_fewer_classes_are_fine() -> None:
    data = Dataset(np.zeros((3, 2)), np.array([0, 1, 1]), None, ("b", "c"))
    assert with_labels(data, ("a", "b", "c")).y.tolist() == [1, 2, 2]
    assert with_labels(data, ()).y.tolist() == [0, 1, 1]
    with pytest.raises(DataError, match="classes that the model lacks: c"):
        with_labels(data, ("a", "b"))
    with pytest.raises(DataError, match="y counts to 5"):
        with_labels(Dataset(np.zeros((1, 2)), np.array([5]), None, ("b", "c")), ("a", "b", "c"))
