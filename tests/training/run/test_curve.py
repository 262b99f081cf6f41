"""A learning curve is a picture of its own history, whatever that holds."""

import builtins
import struct
from pathlib import Path

import numpy as np
import pytest

from edgewise.errors import DataError, MissingExtraError
from edgewise.measure.metric import Metric
from edgewise.training.run.curve import curve_png, write_curve
from edgewise.training.run.history import EpochRecord


def history(epochs: int, every: int = 1) -> list[EpochRecord]:
    rng = np.random.default_rng(0)
    records = []
    for epoch in range(1, epochs + 1):
        value = 1 - 0.6 / epoch + float(rng.normal(0, 0.01)) - 0.002 * epoch
        metric = Metric("accuracy", value, value - 0.03, value + 0.03, 200, "wilson") if epoch % every == 0 else None
        records.append(EpochRecord(epoch, 2 / epoch + float(rng.random()) * 0.05, metric, 0.1, 1.0, 100))
    return records


@pytest.mark.parametrize(("epochs", "every", "best"), [(1, 1, 1), (1, 2, None), (12, 1, 7), (40, 5, 10), (3, 1, 99)])
def test_every_history_makes_a_picture(tmp_path: Path, epochs: int, every: int, best: int | None) -> None:
    pytest.importorskip("matplotlib")
    write_curve(history(epochs, every), tmp_path / "curve.png", "digits", best)
    data = (tmp_path / "curve.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (1008, 604)
    assert data == curve_png(history(epochs, every), "digits", best), "equal histories, equal bytes"
    came = Metric("accuracy", 0.3, 0.2, 0.4, 200, "wilson")
    assert (data != curve_png(history(epochs, every), "digits", best, came)) == (every <= epochs)


def test_no_epoch_makes_no_picture() -> None:
    with pytest.raises(DataError, match="no curve"):
        curve_png([])


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: object, **kwargs: object) -> object:
        if name.startswith("matplotlib"):
            raise ImportError(name="matplotlib")
        return real(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingExtraError, match="matplotlib") as caught:
        curve_png(history(2))
    assert "edgewise[train]" in caught.value.remedy
