"""The golden set: well-formed or refused, and a replay that notices."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgewise.bundle.build import build_bundle
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.safetensors import dump_arrays, parse_arrays
from edgewise.digests import digest_of
from edgewise.errors import GoldenReplayError, HostileBundleError
from edgewise.runtime.device import read_device
from edgewise.runtime.engine import Array
from edgewise.runtime.golden_set import read_golden
from edgewise.runtime.opening import Candidate, open_candidate
from edgewise.runtime.replay import _worst, replay_golden, require_replay
from edgewise.runtime.session import Session
from edgewise.store.bundles import open_path
from edgewise.store.home import Home

FP32 = Candidate("fp32", "onnxruntime", "CPUExecutionProvider")


def arrays_of(bundle: Bundle) -> dict[str, Array]:
    assert bundle.document.golden is not None
    return dict(parse_arrays(bundle.read(bundle.document.golden.file), "golden"))


def with_golden(bundle: Bundle, arrays: dict[str, Array]) -> Bundle:
    golden = bundle.document.golden
    assert golden is not None
    data = dump_arrays(arrays)
    file = replace(golden.file, digest=digest_of(data), size=len(data))
    document = replace(bundle.document, golden=replace(golden, file=file))
    return build_bundle(document, [*(bundle.read(f) for v in bundle.document.variants for f in v.files), data])


@pytest.fixture
def bundle(digits_bundle: Path) -> Bundle:
    return open_path(digits_bundle)


def opened(bundle: Bundle, tmp_path: Path) -> Session:
    return open_candidate(bundle, FP32, home=Home(tmp_path), device=read_device())


def test_a_sound_set_passes_with_its_numbers(bundle: Bundle, tmp_path: Path) -> None:
    replay = require_replay(bundle, opened(bundle, tmp_path))
    assert replay is not None
    assert replay.samples == 32
    assert replay.worst <= 1e-6
    assert replay.agreement == 1.0


@pytest.mark.parametrize("change", ["value", "nan", "shape"])
def test_one_changed_output_is_noticed(bundle: Bundle, tmp_path: Path, change: str) -> None:
    arrays = arrays_of(bundle)
    outputs = arrays["out/fp32/probabilities"].copy()
    if change == "value":
        outputs[5, 3] += 0.01
    elif change == "nan":
        outputs[5, 3] = np.nan
    else:
        outputs = outputs[:, :9].copy()
    spoilt = with_golden(bundle, arrays | {"out/fp32/probabilities": outputs})
    with pytest.raises(GoldenReplayError, match="fails its golden replay"):
        require_replay(spoilt, opened(spoilt, tmp_path))


def test_decisions_count_as_well_as_values(bundle: Bundle, tmp_path: Path) -> None:
    golden = bundle.document.golden
    assert golden is not None
    arrays = arrays_of(bundle)
    arrays["out/fp32/probabilities"] = np.roll(arrays["out/fp32/probabilities"], 1, axis=1)
    spoilt = with_golden(bundle, arrays)
    loose = replace(spoilt.document, golden=replace(spoilt.document.golden, absolute_by_variant={"fp32": 2.0}))  # type: ignore[type-var]
    files = [spoilt.read(file) for file in spoilt.document.all_files()]
    wide = build_bundle(loose, files)
    replay = replay_golden(wide, opened(wide, tmp_path))
    assert replay is not None
    assert replay.worst <= replay.allowed
    assert replay.agreement == 0.0
    assert not replay.passed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"in/image": None}, "lacks in/image"),
        ({"out/int8/probabilities": None}, "lacks out/int8"),
        ({"in/other": np.zeros((32, 3), np.float32)}, "'in/other'"),
        ({"out/fp32/other": np.zeros((32, 3), np.float32)}, "'out/fp32/other'"),
        ({"note": np.zeros(1, np.float32)}, "'note'"),
        ({"in/image": np.zeros((0, 8, 8, 1), np.uint8)}, "rows"),
    ],
)
def test_a_set_that_does_not_fit_the_interface_is_refused(
    bundle: Bundle, change: dict[str, Array | None], words: str
) -> None:
    arrays = {name: array for name, array in (arrays_of(bundle) | change).items() if array is not None}
    with pytest.raises(HostileBundleError, match=words):
        read_golden(with_golden(bundle, arrays))


@pytest.mark.parametrize(
    ("recorded", "unit"),
    [
        (np.array([[0.0, 1.0], [0.25, 0.75]], np.float32), 1.0),
        (np.array([[-10.0, 30.0]], np.float32), 40.0),
        (np.array([[3, 9]], np.uint8), 255.0),
        (np.array([[3, 9]], np.int16), 65_535.0),
        (np.array([[5.0, 5.0]], np.float32), 1.0),
    ],
    ids=["probabilities", "logits", "uint8", "int16", "constant"],
)
def test_the_absolute_tolerance_is_a_share_of_what_the_output_spreads_over(recorded: Array, unit: float) -> None:
    worst, allowed = _worst(recorded, recorded, 0.05, 0.0)
    assert (worst, allowed) == (0.0, pytest.approx(0.05 * unit))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 0.5])
def test_where_nothing_is_allowed_nothing_passes_not_even_what_is_no_number(
    bundle: Bundle, tmp_path: Path, wrong: float
) -> None:
    golden = bundle.document.golden
    assert golden is not None
    arrays = arrays_of(bundle)
    outputs = arrays["out/fp32/probabilities"].copy()
    outputs[3, 2] = wrong
    spoilt = with_golden(bundle, arrays | {"out/fp32/probabilities": outputs})
    exact = replace(
        spoilt.document, golden=replace(spoilt.document.golden, relative=0.0, absolute_by_variant={"fp32": 0.0})
    )  # type: ignore[type-var]
    built = build_bundle(exact, [spoilt.read(file) for file in spoilt.document.all_files()])
    replay = replay_golden(built, opened(built, tmp_path))
    assert replay is not None
    assert not replay.passed
