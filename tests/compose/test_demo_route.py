"""The demo's second half: a promise that is kept, and answers that go on when the process upstream is killed."""

from pathlib import Path

import edgewise
from edgewise.clock import SystemClock
from edgewise.compose.demo import digits_data, digits_model
from edgewise.compose.demo_route import field_noise, routed
from edgewise.compose.keys import default_signing_key, new_key
from edgewise.compose.loading import open_verified
from edgewise.packing.pack import PackRequest, pack
from edgewise.routing.calibration import own_calibration
from edgewise.store.bundles import open_path, write_file
from edgewise.store.home import Home


def test_answers_go_on_when_upstream_is_killed_and_say_so(tmp_path: Path) -> None:
    home = Home.default()
    new_key(home.default_key, home, "me")
    models = {"big": digits_model("fp32"), "small": digits_model("int8")}
    request = PackRequest(
        "digits", "1.0.0", models, task="classification", labels=tuple("0123456789"), golden=digits_data("calibration")
    )
    packed, path, told = pack(request, default_signing_key(home)), tmp_path / "digits.bundle", []
    write_file(packed.bundle, path)
    found = routed(packed.bundle, path, home, SystemClock(), told.append)
    assert (found.before.answered, found.after.answered) == (248, 249)
    assert found.before.deferred > 0
    assert (found.before.degraded, found.after.deferred) == (0, 0)
    assert found.after.degraded > 0
    assert "no answer from" in found.after.why or "in time" in found.after.why
    assert found.before.right / 248 >= found.upstream - 0.02
    assert len(told) == 2
    bundle, verification = open_verified(path, None, home)
    kept = own_calibration(bundle, verification, "small")
    assert kept.chosen
    assert kept.extra["watch"]["sketch"]
    assert open_path(path).ref == "digits:1.0.0"
    assert edgewise.load("digits", upstream=lambda inputs: None).stages[0].variant == "small"


def test_noise_is_the_same_each_time_and_stays_an_image() -> None:
    images = digits_data("eval").x[:5]
    noisy = field_noise(images, seed=2)
    assert (noisy == field_noise(images, seed=2)).all()
    assert noisy.dtype == images.dtype
    assert (noisy != images).any()
