"""`edgewise run --upstream`: who answered which file, and what is said when nobody upstream does."""

import json
from pathlib import Path

import pytest

from edgewise.bundle.build import with_evidence
from edgewise.cli.main import main
from edgewise.compose.demo import digits_model
from edgewise.packing.pack import sign_release
from edgewise.routing.calibration import Against, Calibration
from edgewise.store.bundles import open_path, write_file
from edgewise.store.home import Home
from edgewise.testing.inference_server import InferenceServer
from edgewise.trust.keys import PrivateKey
from edgewise.trust.verification import sign_statement

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples" / "digits"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def calibrated(digits_bundle: Path, signing_key: PrivateKey, trusting_home: Home, tmp_path: Path) -> Path:
    """The demo's bundle, in which a device keeps nothing."""
    bundle = open_path(digits_bundle)
    item = Calibration(
        "int8", {"name": "max-probability", "of": {"output": "probabilities", "form": "probabilities"}}, 1.5, 0.02, 0.05,
        "disagreement", "binomial", 1.0, 0.0, 0.1, {"name": "digits", "digest": "", "samples": 300},
        Against("digits", "1.0.0", tuple("0123456789")), "2026-01-31T12:00:00Z",
    )  # fmt: skip
    statement = item.statement(bundle.variant("int8"))
    path = tmp_path / "calibrated.bundle"
    write_file(sign_release(with_evidence(bundle, [sign_statement(statement, signing_key)]), signing_key), path)
    return path


def test_files_are_answered_upstream_where_the_device_is_not_sure(
    capsys: pytest.CaptureFixture[str], calibrated: Path
) -> None:
    image = EXAMPLES / "seven.png"
    with InferenceServer(digits_model("fp32").model, "large") as server:
        code, out, _ = run(capsys, "run", calibrated, image, "--upstream", server.model_url, "--deadline", 5000)
        assert code == 0
        assert "0 of 1 answered on this device, 1 upstream; 0 degraded" in out
        code, out, _ = run(capsys, "run", calibrated, image, "--upstream", server.model_url, "--json")
        (answer,) = json.loads(out)
        assert (answer["label"], answer["deferred"], answer["degraded"], answer["tier"]) == ("7", True, False, "cloud")
        assert "below 1.5" in answer["why"]
        assert {"device", "network"} <= set(answer["spentSeconds"])


def test_an_upstream_that_is_not_there_costs_a_mark_and_no_answer(
    capsys: pytest.CaptureFixture[str], calibrated: Path
) -> None:
    code, out, _ = run(
        capsys, "run", calibrated, EXAMPLES / "seven.png", "--upstream", "http://127.0.0.1:9/v2/models/x"
    )
    assert code == 0
    assert "degraded" in out
    assert "degraded: not sure enough" in out
    assert "Connection refused" in out


def test_a_bundle_without_calibration_is_told_how_to_get_one(
    capsys: pytest.CaptureFixture[str], digits_bundle: Path, trusting_home: Home
) -> None:
    code, _, err = run(
        capsys, "run", digits_bundle, EXAMPLES / "seven.png", "--upstream", "http://127.0.0.1:9/v2/models/x"
    )
    assert code == 4
    assert "edgewise calibrate" in err


def test_learning_passes_everything_on_at_first(
    capsys: pytest.CaptureFixture[str], digits_bundle: Path, trusting_home: Home
) -> None:
    with InferenceServer(digits_model("fp32").model, "large") as server:
        code, out, _ = run(
            capsys, "run", digits_bundle, *sorted(EXAMPLES.glob("*.png")), "--upstream", server.model_url, "--learn", 2
        )
    assert code == 0
    assert "0 of 5 answered on this device, 5 upstream" in out


@pytest.mark.parametrize("option", [("--deadline", 3), ("--learn", 1), ("--audit", 1), ("--unsafe-plain-http",)])
def test_what_says_how_to_pass_on_needs_somebody_to_pass_on_to(
    capsys: pytest.CaptureFixture[str], digits_bundle: Path, trusting_home: Home, option: tuple[object, ...]
) -> None:
    code, _, err = run(capsys, "run", digits_bundle, EXAMPLES / "seven.png", *option)
    assert code == 1
    assert "--upstream" in err


def test_samples_go_nowhere_in_the_clear(capsys: pytest.CaptureFixture[str], calibrated: Path) -> None:
    code, _, err = run(
        capsys, "run", calibrated, EXAMPLES / "seven.png", "--upstream", "http://example.com/v2/models/x"
    )
    assert code == 4
    assert "without encryption" in err
    assert "--unsafe-plain-http" in err
