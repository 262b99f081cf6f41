"""`edgewise.load(ref, upstream=...)`: a node by the bundle's own calibration, or one that learns."""

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgewise
from edgewise.bundle.build import with_evidence
from edgewise.bundle.bundle import Bundle
from edgewise.compose.demo import digits_data
from edgewise.compose.demo_route import field_noise
from edgewise.errors import CalibrationError, InputError, RefusedError
from edgewise.packing.pack import sign_release
from edgewise.routing.calibration import Against, Calibration, Then
from edgewise.routing.node import Node
from edgewise.routing.watch.events import Trusted
from edgewise.runtime.session import Session
from edgewise.store.bundles import open_path, write_file
from edgewise.trust.keys import PrivateKey
from edgewise.trust.root import TrustRoot
from edgewise.trust.verification import sign_statement

LABELS = tuple("0123456789")
RULE = {"name": "max-probability", "of": {"output": "probabilities", "form": "probabilities"}}


def calibration(variant: str, threshold: float | None = 0.9, **given: Any) -> Calibration:
    fields: dict[str, Any] = {
        "rule": RULE, "threshold": threshold, "epsilon": 0.02, "delta": 0.05, "loss": "disagreement", "test": "binomial",
        "offload": 0.1, "lost": 0.01, "oracle": 0.08, "data": {"name": "digits", "digest": "", "samples": 300},
        "against": Against("digits", "1.0.0", LABELS), "measured_at": "2026-01-31T12:00:00Z",
    }  # fmt: skip
    return Calibration(variant, **(fields | given))


def with_calibrations(path: Path, key: PrivateKey, folder: Path, *items: Calibration) -> Path:
    bundle = open_path(path)
    statements = [item.statement(*(bundle.variant(name) for name in item.variants)) for item in items]
    return written(with_evidence(bundle, [sign_statement(statement, key) for statement in statements]), key, folder)


def written(bundle: Bundle, key: PrivateKey, folder: Path) -> Path:
    path = folder / "calibrated.bundle"
    write_file(sign_release(bundle, key), path)
    return path


@pytest.fixture
def trust(signing_key: PrivateKey) -> TrustRoot:
    return TrustRoot().with_key(signing_key.public, "tests", ("release", "receipt"))


@pytest.fixture(scope="module")
def images() -> Any:
    return field_noise(digits_data("eval").x[:60], seed=0)


def three(inputs: Any) -> np.ndarray:
    return np.tile(np.eye(10, dtype=np.float32)[3], (len(inputs["image"]), 1))


def test_without_an_upstream_a_session_comes_as_before(digits_bundle: Path, trust: TrustRoot) -> None:
    with edgewise.load(digits_bundle, trust=trust) as session:
        assert isinstance(session, Session)
    with pytest.raises(InputError, match="nobody is asked"):
        edgewise.load(digits_bundle, trust=trust, deadline=1.0)


def test_a_node_keeps_by_the_threshold_of_its_own_calibration(
    digits_bundle: Path, trust: TrustRoot, signing_key: PrivateKey, tmp_path: Path, images: Any
) -> None:
    path = with_calibrations(digits_bundle, signing_key, tmp_path, calibration("int8", 0.95))
    with edgewise.load(path, trust=trust, upstream=three, audit=0) as node:
        assert isinstance(node, Node)
        assert node.stages[0].variant == "int8"
        answer = node.predict(images)
        assert answer.deferred == [value < 0.95 for value in answer.confidence]
        assert any(answer.deferred)
        assert all(label == "3" for label, passed in zip(answer.label, answer.deferred, strict=True) if passed)


def test_a_threshold_is_never_borrowed_from_another_variant(
    digits_bundle: Path, trust: TrustRoot, signing_key: PrivateKey, tmp_path: Path
) -> None:
    with pytest.raises(CalibrationError, match="has none"):
        edgewise.load(digits_bundle, trust=trust, upstream=three)
    path = with_calibrations(digits_bundle, signing_key, tmp_path, calibration("fp32"))
    with pytest.raises(CalibrationError, match="not lent"):
        edgewise.load(path, trust=trust, upstream=three, require={"variant": "int8"})
    with edgewise.load(path, trust=trust, upstream=three) as node:
        assert node.stages[0].variant == "fp32", "a device starts at a variant that has one"


def test_the_chosen_variant_is_where_a_device_starts(
    digits_bundle: Path, trust: TrustRoot, signing_key: PrivateKey, tmp_path: Path
) -> None:
    for chosen in ("fp32", "int8"):
        items = [calibration(name, chosen=name == chosen) for name in ("fp32", "int8")]
        path = with_calibrations(digits_bundle, signing_key, tmp_path, *items)
        with edgewise.load(path, trust=trust, upstream=three) as node:
            assert node.stages[0].variant == chosen


def test_a_cascade_asks_the_next_variant_first(
    digits_bundle: Path, trust: TrustRoot, signing_key: PrivateKey, tmp_path: Path, images: Any
) -> None:
    item = calibration("int8", 0.99, then=(Then("fp32", RULE, 0.0),))
    path = with_calibrations(digits_bundle, signing_key, tmp_path, item)
    with edgewise.load(path, trust=trust, upstream=three) as node:
        assert [stage.variant for stage in node.stages] == ["int8", "fp32"]
        answer = node.predict(images)
        assert not any(answer.deferred)
        assert {"int8", "fp32"} == set(answer.variant)


def test_a_promise_for_each_class_is_watched_too(
    digits_bundle: Path, trust: TrustRoot, signing_key: PrivateKey, tmp_path: Path, images: Any
) -> None:
    item = calibration("int8", None, by_group=dict.fromkeys(LABELS, 0.5) | {"3": None})
    path = with_calibrations(digits_bundle, signing_key, tmp_path, item)
    with edgewise.load(path, trust=trust, upstream=three) as node:
        assert node.guard is not None
        assert node.guard.watch.mode == "keeping"
        answer = node.predict(images)
        own = node.stages[0].session.predict(images)
        assert answer.deferred == [
            label == "3" or score < 0.5 for label, score in zip(own.label, answer.confidence, strict=True)
        ]
        assert True in answer.deferred
        assert False in answer.deferred


def test_verification_that_was_switched_off_believes_what_is_there(
    digits_bundle: Path, signing_key: PrivateKey, tmp_path: Path
) -> None:
    path = with_calibrations(digits_bundle, signing_key, tmp_path, calibration("int8"))
    with edgewise.load(path, unsafe_no_verification=True, upstream=three) as node:
        assert node.stages[0].threshold == 0.9


def test_what_nobody_trusted_vouches_for_is_not_used(digits_bundle: Path, trust: TrustRoot, tmp_path: Path) -> None:
    bundle = open_path(digits_bundle)
    stranger = PrivateKey(bytes(range(1, 33)))
    statement = calibration("int8").statement(bundle.variant("int8"))
    path = tmp_path / "strange.bundle"
    write_file(with_evidence(bundle, [sign_statement(statement, stranger)]), path)
    with pytest.raises(CalibrationError, match="nobody whom you trust"):
        edgewise.load(path, trust=trust, upstream=three)


def test_an_upstream_of_other_labels_is_not_asked(
    digits_bundle: Path, trust: TrustRoot, signing_key: PrivateKey, tmp_path: Path, images: Any
) -> None:
    item = calibration("int8", None, against=Against("digits", "1", LABELS[::-1]))
    path = with_calibrations(digits_bundle, signing_key, tmp_path, item)
    with edgewise.load(path, trust=trust, upstream=three) as node:
        answer = node.predict(images[0])
        assert answer.degraded
        assert "another order" in answer.why


def test_nothing_that_may_be_kept_means_that_all_is_passed_on(
    digits_bundle: Path, trust: TrustRoot, signing_key: PrivateKey, tmp_path: Path, images: Any
) -> None:
    path = with_calibrations(digits_bundle, signing_key, tmp_path, calibration("int8", None))
    with edgewise.load(path, trust=trust, upstream=three) as node:
        assert node.stages[0].threshold == math.inf
        assert node.predict(images).deferred == [True] * len(images)


def test_another_bundle_can_be_upstream(
    digits_bundle: Path, trust: TrustRoot, signing_key: PrivateKey, tmp_path: Path, images: Any
) -> None:
    path = with_calibrations(digits_bundle, signing_key, tmp_path, calibration("int8", 0.99))
    with edgewise.load(path, trust=trust, upstream=digits_bundle) as node:
        answer = node.predict(images)
        assert set(answer.tier) == {"device", "cloud"}
    for variant in ("fp32", "int8"):
        with edgewise.load(path, trust=trust, upstream=f"{digits_bundle}#{variant}") as node:
            answer = node.predict(images)
            assert {name for name, passed in zip(answer.variant, answer.deferred, strict=True) if passed} == {variant}


def test_a_device_learns_what_it_may_keep_and_remembers_it(
    digits_bundle: Path, trust: TrustRoot, tmp_path: Path
) -> None:
    x, reports = digits_data("eval").x, []
    given: dict[str, Any] = {
        "trust": trust,
        "upstream": digits_bundle,
        "learn": 10.0,
        "report": reports.append,
        "home": tmp_path,
    }
    with edgewise.load(digits_bundle, **given) as node:
        assert node.guard is not None
        for at in range(0, 1200, 40):
            asked = node.predict(x[at % 480 : at % 480 + 40]).deferred
            if not any(asked):
                break
        end = time.perf_counter() + 10
        while not reports and time.perf_counter() < end:
            time.sleep(0.01)
        assert isinstance(reports[0], Trusted)
        assert not all(node.predict(x[:40]).deferred)
    with edgewise.load(digits_bundle, **given) as again:
        assert not all(again.predict(x[:40]).deferred), "what was learnt outlives the process"


def test_a_watch_is_kept_for_the_promise_and_can_be_left_out(
    digits_bundle: Path, trust: TrustRoot, signing_key: PrivateKey, tmp_path: Path
) -> None:
    path = with_calibrations(digits_bundle, signing_key, tmp_path, calibration("int8"))
    with edgewise.load(path, trust=trust, upstream=three) as node:
        assert node.guard is not None
        assert node.guard.watch.terms.epsilon == 0.02
    with edgewise.load(path, trust=trust, upstream=three, audit=0) as node:
        assert node.guard is None


def test_a_promise_about_accuracy_is_watched_by_what_was_seen_of_disagreement(
    digits_bundle: Path, trust: TrustRoot, signing_key: PrivateKey, tmp_path: Path
) -> None:
    item = calibration("int8", loss="gap", test="trinomial", extra={"watch": {"disagreement": 0.05}})
    path = with_calibrations(digits_bundle, signing_key, tmp_path, item)
    with edgewise.load(path, trust=trust, upstream=three) as node:
        assert node.guard is not None
        assert node.guard.watch.terms.epsilon == 0.05
    path = with_calibrations(digits_bundle, signing_key, tmp_path, calibration("int8", loss="gap", test="trinomial"))
    with edgewise.load(path, trust=trust, upstream=three) as node:
        assert node.guard is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"deadline": 0}, "makes no sense"),
        ({"audit": 0.5}, "makes no sense"),
        ({"learn": 0}, "cannot be learnt"),
        ({"learn": 1.0, "audit": 0}, "cannot be learnt"),
        ({"patience": 3}, "no parameter patience"),
    ],
)
def test_what_makes_no_sense_is_refused(
    digits_bundle: Path, trust: TrustRoot, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        edgewise.load(digits_bundle, trust=trust, upstream=three, **given)


@pytest.mark.parametrize(
    ("upstream", "error", "said"),
    [
        ("https://example.com/predict", InputError, "says not what it speaks"),
        ("ftp://example.com/v2/models/x", InputError, "says not what it speaks"),
        ("http://example.com/v2/models/x", RefusedError, "without encryption"),
        (17, InputError, "not a int"),
    ],
)
def test_an_upstream_that_is_none_is_refused(
    digits_bundle: Path, trust: TrustRoot, upstream: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        edgewise.load(digits_bundle, trust=trust, upstream=upstream, learn=1.0)


def test_personal_weights_and_an_upstream_exclude_each_other(digits_bundle: Path, trust: TrustRoot) -> None:
    with pytest.raises(InputError, match="personal weights are none"):
        edgewise.load(digits_bundle, trust=trust, upstream=three, personal="mine.weights")
