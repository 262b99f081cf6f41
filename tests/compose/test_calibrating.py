"""`edgewise calibrate`, as it is typed: real models, a real server, and everything that a person may get wrong."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.compose.calibration_bundles import LABELS, device, field, linear, save_field, upstream, write

import edgewise
from edgewise.bundle.statement import parse_statement
from edgewise.cli.main import main
from edgewise.compose.calibrating_variants import not_finite
from edgewise.compose.keys import trust_key
from edgewise.compose.loading import read_trust
from edgewise.digits import model_bytes
from edgewise.routing.calibration import CALIBRATION
from edgewise.runtime.engine import OpenOptions, find_engine
from edgewise.store.bundles import open_path
from edgewise.store.home import Home
from edgewise.testing.inference_server import InferenceServer
from edgewise.trust.keys import PrivateKey
from edgewise.trust.verification import verify_bundle

#: Nothing to choose: a run of its own is quick, and all samples are for the promise.
FAST = ("--variant", "linear", "--rule", "margin", "--against", "agreement")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, signing_key: PrivateKey) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write(device(signing_key), folder / "device.bundle")
    write(upstream(signing_key), folder / "large.bundle")
    return folder


@pytest.fixture
def place(
    made: Path, tmp_path: Path, trusting_home: Home, monkeypatch: pytest.MonkeyPatch, signing_key: PrivateKey
) -> Path:
    """A folder to work in, with the bundles, the samples and the publisher's key."""
    work = tmp_path / "work"
    work.mkdir()
    for name in ("device.bundle", "large.bundle"):
        (work / name).symlink_to(made / name)
    save_field(work)
    (work / "publisher.key").write_bytes(signing_key.to_pem())
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def server() -> Iterator[InferenceServer]:
    with InferenceServer(model_bytes("fp32"), "large") as server:
        yield server


def calibrate(*more: str, bundle: str = "device.bundle", asked: str = "large.bundle", data: str = "field.npz") -> int:
    return main([
        "calibrate", bundle, "--data", data, "--upstream", asked, "--epsilon", "2", "--key", "publisher.key", "-o", "out.bundle",
        *more,
    ])  # fmt: skip


def calibrations(path: str = "out.bundle") -> dict[str, Any]:
    """Variant -> what is stored of it, of those that somebody trusted vouches for."""
    bundle = open_path(Path(path))
    verified = verify_bundle(bundle, read_trust(None, Home.default()))
    found = [
        each.statement.predicate
        for each in verified.evidence
        if each.statement.predicate_type == CALIBRATION and each.trusted
    ]
    return {predicate["variant"]: predicate for predicate in found}


def failed(capsys: pytest.CaptureFixture[str], *more: str, code: int = 1, **named: str) -> str:
    assert calibrate(*more, **named) == code
    assert not Path("out.bundle").exists()
    return capsys.readouterr().err


def test_each_variant_gets_a_threshold_of_its_own_and_the_cheapest_is_chosen(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    assert calibrate("--page", "p.html", "--plot", "p.png") == 0
    told = capsys.readouterr().out
    assert (
        "At most 2 points of accuracy below upstream, except with 5 % chance over the draw of the calibration samples"
        in told
    )
    assert "638 samples that the promise rests on" in told
    assert "159 others to choose rule and variant by" in told
    assert "a new release" in told
    chosen = [line for line in told.splitlines() if line.startswith("*")]
    assert len(chosen) == 1
    assert "linear" in chosen[0]
    stored = calibrations()
    assert stored.keys() == {"linear", "coarse"}
    assert stored["linear"]["threshold"] != stored["coarse"]["threshold"]
    assert stored["linear"]["offload"] < 0.25 < stored["coarse"]["offload"]
    assert [name for name, each in stored.items() if each.get("chosen")] == ["linear"]
    assert stored["linear"]["against"]["name"] == "large"
    assert main(["inspect", "out.bundle"]) == 0
    (shown,) = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("linear ") and "points of" in line
    ]
    assert "2 points of accuracy, but for 5 %" in shown
    assert shown.rstrip().endswith("yes        chosen")
    bundle = open_path(Path("out.bundle"))
    for known in (parse_statement(envelope.payload) for envelope in bundle.evidence().values()):
        if known.predicate_type == CALIBRATION:  # about the variant's own files, so that no other can borrow it
            assert set(known.subject) == {file.digest for file in bundle.variant(known.predicate["variant"]).files}
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")
    page = Path("p.html").read_text()
    assert page.count('class="line') == 4  # two curves, each in the plot and in the legend
    assert "At most 2 points of accuracy below upstream" in page


def test_the_same_in_json_has_every_number_of_the_table_and_the_curve(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate("--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["chosen"] == "linear"
    assert told["output"] == "out.bundle"
    assert {each["name"] for each in told["variants"]} == {"linear", "coarse"}
    (fit,) = [each for each in told["variants"] if each["name"] == "linear"]
    assert fit["samples"] + fit["selected"] == 797
    assert fit["chosen"]["lost"] <= 0.02
    assert fit["oracle"]["offload"] <= fit["chosen"]["offload"] < fit["upstream"]["offload"] == 1
    assert len(fit["curve"]["offload"]) == len(fit["curve"]["lost"]) > 100


def test_without_labels_the_promise_is_about_agreement(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_field(place, y=None, class_names=None)
    assert calibrate("--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert {each["loss"] for each in told["variants"]} == {"disagreement"}
    assert all(each["chosen"]["accuracy"] is None for each in told["variants"])
    assert "no more of the answers are others than its" in told["promise"]
    assert "no labels" in failed_after(capsys, "--against", "gap")


def failed_after(capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """Where an output is there from before, it stays as it was."""
    before = Path("out.bundle").read_bytes()
    assert calibrate(*more) == 1
    assert Path("out.bundle").read_bytes() == before
    return capsys.readouterr().err


def test_a_url_is_told_before_asked_once_for_each_sample_and_not_again(
    place: Path, server: InferenceServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate(*FAST, asked=server.model_url) == 0
    told = capsys.readouterr()
    assert (
        f"797 samples of field (204032 bytes) go to {server.model_url} on this machine, because --upstream names it"
        in told.err
    )
    assert sum(server.questions) == 797
    assert server.questions[:15] == [1] * 15  # for how long one question takes
    assert calibrations()["linear"]["against"]["name"] == "large"
    asked = len(server.questions)
    assert calibrate(*FAST, asked=server.model_url) == 0
    again = capsys.readouterr()
    assert "797 answers are kept" in again.err
    assert "samples of field" not in again.err
    assert len(server.questions) == asked


def test_a_run_that_was_cut_goes_on_and_pays_for_nothing_twice(
    place: Path, server: InferenceServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.most = 20
    told = failed(capsys, *FAST, asked=server.model_url, code=3)
    assert "The same command goes on where it was cut" in told
    answered = sum(server.questions)
    assert answered == 15 + 5 * 64
    server.most = None
    assert calibrate(*FAST, asked=server.model_url) == 0
    assert sum(server.questions) == 797


def test_recorded_answers_are_as_good_as_asking(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    y = field().y
    np.savez(
        "said.npz", logits=np.eye(10, dtype=np.float32)[y], class_names=np.array(LABELS), name="people", version="2026"
    )
    assert calibrate(*FAST, asked="said.npz") == 0
    assert calibrations()["linear"]["against"] == {"name": "people", "version": "2026", "labels": list(LABELS)}
    np.savez("numbers.npz", said=y)
    assert calibrate(*FAST, asked="numbers.npz") == 0
    once = calibrations()["linear"]
    np.savez("words.npz", said=np.array(LABELS)[y])
    assert calibrate(*FAST, asked="words.npz") == 0
    assert calibrations()["linear"]["threshold"] == once["threshold"]  # the same answers, and draws have a seed
    assert "an upstream that the file does not name" in capsys.readouterr().out


def test_too_few_samples_are_refused_with_how_many_more(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = field()
    save_field(place, x=data.x[:100], y=data.y[:100])
    told = failed(capsys)
    assert "100 samples are too few to promise 2 points with 5 % to fail" in told
    assert "About 49 more are needed" in told


def test_where_nothing_can_be_kept_no_bundle_is_written_and_the_page_says_so(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("contrary.npz", said=(field().y + 1) % 10)
    assert calibrate("--page", "p.html", "--against", "agreement", "--epsilon", "0.6", asked="contrary.npz") == 1
    assert not Path("out.bundle").exists()
    told = capsys.readouterr().out
    assert "Nothing can be kept on the device" in told
    page = Path("p.html").read_text()
    assert "class=refused" in page
    assert "every input goes upstream" in page


def test_upstreams_that_do_not_fit_are_refused(
    place: Path, made: Path, signing_key: PrivateKey, capsys: pytest.CaptureFixture[str]
) -> None:
    turned = LABELS[1:] + LABELS[:1]
    write(upstream(signing_key, turned), place / "turned.bundle")
    assert "labels in another order: 1, 2, 3" in failed(capsys, asked="turned.bundle")
    names = tuple(f"class {digit}" for digit in range(10))
    write(upstream(signing_key, names), place / "others.bundle")
    assert "labels that are others" in failed(capsys, asked="others.bundle")
    np.savez("few.npz", said=field().y[:50])
    assert "50 answers, and there are 797 samples" in failed(capsys, asked="few.npz")
    np.savez("wide.npz", said=np.zeros((797, 12), np.float32))
    assert "upstream tells 12 classes apart, and the bundle 10" in failed(capsys, asked="wide.npz")
    bad = np.eye(10, dtype=np.float32)[field().y]
    bad[7, 3] = np.nan
    np.savez("nan.npz", said=bad)
    assert "not finite (NaN or infinity) at row 7" in failed(capsys, asked="nan.npz")
    np.savez("strange.npz", said=np.full(797, "eleven"))
    assert "no labels of the bundle: eleven" in failed(capsys, asked="strange.npz")
    np.savez("two.npz", a=bad, b=bad)
    assert "is unclear: it has a, b" in failed(capsys, asked="two.npz")
    np.savez("beyond.npz", said=field().y + 5)
    assert "classes 5..14" in failed(capsys, asked="beyond.npz")
    assert "there is no file of answers" in failed(capsys, asked="nowhere.npz")
    assert "nowhere" in failed(capsys, asked="nowhere.bundle")


def test_a_url_that_does_not_fit_or_is_not_there_gets_no_sample(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with InferenceServer(linear(classes=7), "other") as other:
        assert "[-1, 7], not as logits: float32 (batch, 10)" in failed(capsys, asked=other.model_url, code=3)
        assert not other.questions
        missing = other.model_url.replace("other", "missing")
        assert "404" in failed(capsys, asked=missing, code=3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{free.getsockname()[1]}/v2/models/m"
    told = failed(capsys, asked="http://192.0.2.1/v2/models/m", code=4)
    assert "without encryption" in told
    assert gone  # asking it takes the pauses of five attempts: upstreams have a test of that


def test_who_signs_decides_what_the_result_is(
    place: Path, trusting_home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = PrivateKey.new()
    (place / "stranger.key").write_bytes(stranger.to_pem())
    assert calibrate(*FAST, "--key", "stranger.key") == 0
    assert "evidence beside its release" in capsys.readouterr().out
    assert calibrations() == {}  # nobody trusts that key
    trust_key(stranger.public, "laboratory", trusting_home)
    assert calibrations().keys() == {"linear"}
    assert calibrate(*FAST, "--epsilon", "3", bundle="out.bundle") == 0  # by the publisher, once more
    assert {each["promise"]["epsilon"] for each in calibrations().values()} == {0.03}


def test_what_is_not_signed_or_cannot_be_signed_is_refused_first(
    place: Path, capsys: pytest.CaptureFixture[str], server: InferenceServer
) -> None:
    write(device(None), place / "bare.bundle")
    assert "is not signed" in failed(capsys, bundle="bare.bundle", asked=server.model_url, code=4)
    assert "missing.key does not exist" in failed(capsys, "--key", "missing.key", asked=server.model_url)
    assert (
        main(["calibrate", "device.bundle", "--data", "field.npz", "--upstream", server.model_url, "-o", "out.bundle"])
        == 1
    )
    assert "there is no signing key" in capsys.readouterr().err
    (place / "folder").mkdir()
    assert "is a folder" in failed(capsys, "-o", "folder", asked=server.model_url)
    assert not server.questions


def test_answers_that_are_no_numbers_are_told_by_row() -> None:
    scores = np.zeros((30, 3), np.float32)
    assert not_finite("int4", scores) == ""
    scores[[3, 17], 1] = np.nan, -np.inf
    assert not_finite("int4", scores).startswith("int4 answers what is not finite (NaN or infinity) at rows 3 and 17")
    assert not_finite("int4", np.zeros(30, np.int64)) == ""


def test_options_that_contradict_each_other_are_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "array group" in failed(capsys, "--block")
    assert "no label eleven" in failed(capsys, "--weight", "eleven=3")
    assert "a label and its cost" in failed(capsys, "--weight", "3")
    assert "--price" in failed(capsys, "--minimise", "money")
    assert "not below 0" in failed(capsys, "--price", "-1")
    assert "counts all alike" in failed(capsys, "--weight", "3=2", "--against", "gap")
    assert "one promise for two variants" in failed(capsys, "--cascade", "--variant", "linear")
    assert "has no variant 'tiny'" in failed(capsys, "--variant", "tiny")
    assert "between 0 and 100" in failed(capsys, "--epsilon", "0")
    assert "between 0 and 100" in failed(capsys, "--delta", "nan")
    assert "no deferral rule 'guess'" in failed(capsys, "--rule", "guess")
    with pytest.raises(SystemExit) as usage:
        main(["calibrate", "device.bundle", "--data", "field.npz", "-o", "out.bundle"])
    assert usage.value.code == 2


def test_rules_variants_classes_weights_and_cascades_are_taken(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrate("--variant", "coarse", "--rule", "margin", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    (fit,) = told["variants"]
    assert fit["name"] == "coarse"
    assert fit["stages"][0]["rule"]["name"] == "margin"
    assert calibrate("--weight", "8=5", "--json", "--epsilon", "3") == 0
    told = json.loads(capsys.readouterr().out)
    assert {each["loss"] for each in told["variants"]} == {"loss"}
    assert calibrate("--cascade", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert "coarse -> linear" in [each["name"] for each in told["variants"]] or "linear -> coarse" in [
        each["name"] for each in told["variants"]
    ]
    assert calibrate(*FAST, "--minimise", "money", "--price", "0.002", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    (fit,) = [each for each in told["variants"] if each["name"] == "linear"]
    assert fit["cost"] == pytest.approx(0.002 * fit["chosen"]["offload"])


def test_a_head_that_helps_is_put_into_the_graph_and_used_by_the_node(
    place: Path, signing_key: PrivateKey, capsys: pytest.CaptureFixture[str]
) -> None:
    data = field()
    scores = session_scores(linear(), data.x)
    ranked = np.sort(scores, axis=1)
    largest, margin = ranked[:, -1], ranked[:, -1] - ranked[:, -2]
    # Upstream disagrees where both together are low, which no rule without a head can see.
    low = np.argsort(np.argsort(largest)) + np.argsort(np.argsort(-margin))
    said = np.where(low < np.quantile(low, 0.3), (scores.argmax(axis=1) + 1) % 10, scores.argmax(axis=1))
    np.savez("said.npz", said=said)
    assert calibrate("--head", "--variant", "linear", "--against", "agreement", asked="said.npz") == 0
    told = capsys.readouterr().out
    assert "A head for linear was learnt from 239 samples" in told
    stored = calibrations()["linear"]
    assert stored["rule"]["name"] == "graph-output"
    bundle = open_path(Path("out.bundle"))
    assert bundle.variant("linear").digest != open_path(Path("device.bundle")).variant("linear").digest
    with edgewise.load("out.bundle", upstream="large.bundle", audit=0) as node:
        answer = node.predict(data.x)
    assert np.mean(answer.deferred) == pytest.approx(stored["offload"], abs=0.05)
    stranger = PrivateKey.new()
    (place / "stranger.key").write_bytes(stranger.to_pem())
    assert calibrate("--head", "--key", "stranger.key", asked="said.npz") == 1
    assert "this key did not release it" in capsys.readouterr().err


def session_scores(model: bytes, x: np.ndarray) -> np.ndarray:
    session = find_engine("onnxruntime").open({"model.onnx": model}, OpenOptions(threads=1))
    try:
        return session.run({"pixels": x})["logits"].copy()
    finally:
        session.close()
