"""Money is divided so that what is promised of false alarms holds."""

import math

import pytest

from edgewise.bundle.fields import Form
from edgewise.errors import DocumentError, InputError
from edgewise.routing.watch.restarts import Restarts


@pytest.mark.parametrize("way", ["never", "spending"])
def test_what_bets_and_what_is_aside_is_one_fortune(way: str) -> None:
    restarts, begun = Restarts(way, 10, 0.05), 0.0  # type: ignore[arg-type]
    for block in range(5000):
        assert restarts.begins(block) >= 0
        begun += restarts.begins(block)
        assert begun + restarts.aside(block) == pytest.approx(1, abs=1e-9)
    assert restarts.run_length == math.inf


def test_running_money_is_new_in_each_block() -> None:
    restarts = Restarts("running", 100, 0.01)
    assert [restarts.begins(block) for block in (0, 1, 1000)] == [1, 1, 1]
    assert restarts.aside(5) == 0
    assert restarts.run_length == pytest.approx(9900)
    assert restarts.bar == pytest.approx(100)


def test_a_late_block_gets_little_less_than_one_over_its_number() -> None:
    restarts = Restarts("spending", 10, 0.05)
    assert 1 / restarts.begins(1000) == pytest.approx(1000 * math.log(1000) ** 2 / math.log(2), rel=0.02)


@pytest.mark.parametrize("wrong", [("sometimes", 1, 0.1), ("never", 0, 0.1), ("never", 1, 0.0), ("never", 1, 1.0)])
def test_what_cannot_be_is_refused(wrong: tuple[str, int, float]) -> None:
    with pytest.raises(InputError):
        Restarts(*wrong)  # type: ignore[arg-type]
    form = Form(dict(zip(("way", "length", "alpha"), wrong, strict=True)), "restarts")
    Restarts.read(form)
    with pytest.raises(DocumentError):
        form.finish()


def test_what_is_written_is_read() -> None:
    form = Form(Restarts("running", 7, 0.25).to_json(), "restarts")
    assert Restarts.read(form) == Restarts("running", 7, 0.25)
    form.finish()
