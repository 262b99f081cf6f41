"""Loading: verified first, chosen by measuring once, failing closed with reasons."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edgewise
from edgewise.bundle.build import build_bundle, with_evidence
from edgewise.bundle.safetensors import dump_arrays, parse_arrays
from edgewise.compose.demo import digits_data
from edgewise.digests import digest_of
from edgewise.errors import InputError, NotFoundError, RequirementError, SignatureError
from edgewise.packing.pack import sign_release
from edgewise.store.bundles import install_bundle, open_path, write_file
from edgewise.store.home import Home
from edgewise.testing.sample_bundles import receipt
from edgewise.trust.keys import PrivateKey
from edgewise.trust.root import TrustRoot
from edgewise.trust.verification import sign_statement

DATA = digits_data("eval")


def test_a_signed_bundle_answers_and_says_by_what(digits_bundle: Path, trusting_home: Home) -> None:
    with edgewise.load(digits_bundle) as model:
        answer = model.predict(DATA.x[:20])
        single = model.predict(DATA.x[0])
    assert np.mean([label == str(y) for label, y in zip(answer.label, DATA.y, strict=False)]) > 0.9
    assert single.label == answer.label[0]
    assert (single.tier, single.deferred) == ("device", False)
    assert single.variant in {"fp32", "int8"}
    assert single.output.shape == (10,)
    assert single.output.sum() == pytest.approx(1, abs=1e-2)


def test_an_installed_bundle_is_found_by_its_name_highest_version_first(
    digits_bundle: Path, trusting_home: Home
) -> None:
    install_bundle(open_path(digits_bundle), trusting_home)
    assert edgewise.load("digits").document.version == "1.0.0"
    with pytest.raises(NotFoundError, match="installed: digits"):
        edgewise.load("digit")


def test_a_bundle_by_a_stranger_is_refused_and_loads_only_by_the_dangerous_name(
    digits_bundle: Path, tmp_path: Path
) -> None:
    home = Home(tmp_path / "elsewhere")
    with pytest.raises(SignatureError, match="no trust root"):
        edgewise.load(digits_bundle, home=home)
    stranger = TrustRoot().with_key(PrivateKey.new().public, "somebody else")
    with pytest.raises(SignatureError, match="0 of 1 valid signatures"):
        edgewise.load(digits_bundle, home=home, trust=stranger)
    assert edgewise.load(digits_bundle, home=home, unsafe_no_verification=True).predict(DATA.x[0]).label


def test_an_unsigned_bundle_is_refused(digits_bundle: Path, tmp_path: Path, trusting_home: Home) -> None:
    bundle = open_path(digits_bundle)
    files = [bundle.read(file) for file in bundle.document.all_files()]
    write_file(build_bundle(bundle.document, files), tmp_path / "unsigned.bundle")
    with pytest.raises(SignatureError, match="not signed"):
        edgewise.load(tmp_path / "unsigned.bundle")


def test_the_second_load_measures_nothing(digits_bundle: Path, trusting_home: Home) -> None:
    edgewise.load(digits_bundle).close()
    code = (
        "import sys, edgewise; edgewise.load(sys.argv[1]).close(); "
        "print([name for name in sys.modules if name.startswith('edgewise.measure') or name == 'onnx'])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(digits_bundle)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("change", ["engine", "provider", "damage", "device"])
def test_a_choice_is_made_again_when_engine_or_device_changed_or_the_file_is_damaged(
    change: str, digits_bundle: Path, trusting_home: Home
) -> None:
    edgewise.load(digits_bundle).close()
    (path,) = (trusting_home.cache / "choices").iterdir()
    kept = json.loads(path.read_text())
    if change == "engine":
        path.write_text(json.dumps({**kept, "engines": {"onnxruntime": "0.1"}}))
    elif change == "provider":
        path.write_text(json.dumps({**kept, "providers": {"onnxruntime/NPUExecutionProvider": ["npu: X"]}}))
    elif change == "damage":
        path.write_text("{")
    else:
        path.rename(path.with_name("of-another-device.json"))
    edgewise.load(digits_bundle).close()
    again = json.loads(path.read_text())
    assert again["engines"]["onnxruntime"] != "0.1"
    assert "onnxruntime/CPUExecutionProvider" in again["providers"]
    assert {trial["variant"] for trial in again["trials"]} == {"fp32", "int8"}
    assert all(trial["latency"]["p50Ms"] > 0 for trial in again["trials"] if not trial["rejected"])


def test_a_required_provider_is_proven_by_placement(digits_bundle: Path, trusting_home: Home) -> None:
    with edgewise.load(digits_bundle, require={"provider": "CPUExecutionProvider"}) as model:
        assert set(model.placement().counts()) == {"CPUExecutionProvider"}
        assert len(model.placement().nodes) > 3


def test_a_provider_that_is_not_here_is_an_error_that_names_those_that_are(
    digits_bundle: Path, trusting_home: Home
) -> None:
    with pytest.raises(RequirementError, match="CPUExecutionProvider"):
        edgewise.load(digits_bundle, require={"provider": "CUDAExecutionProvider"})


@pytest.mark.parametrize(("clause", "words"), [({"max_p95_ms": 1e-9}, "p95 is"), ({"max_rss_mb": 1}, "peak memory is")])
def test_a_requirement_that_no_candidate_meets_fails_with_a_reason_for_each(
    clause: dict[str, float], words: str, digits_bundle: Path, trusting_home: Home
) -> None:
    with pytest.raises(RequirementError, match=words) as caught:
        edgewise.load(digits_bundle, require={**clause, "engine": "onnxruntime"})
    assert len(caught.value.details["reasons"]) == 2


def test_requirements_that_hold_are_met_and_a_variant_can_be_named(digits_bundle: Path, trusting_home: Home) -> None:
    require = {"variant": "fp32", "engine": "onnxruntime", "max_rss_mb": 2000, "max_p95_ms": 1000}
    assert edgewise.load(digits_bundle, require=require).origin.variant == "fp32"


def test_an_unknown_requirement_is_named_with_those_there_are(digits_bundle: Path, trusting_home: Home) -> None:
    with pytest.raises(InputError, match="max_p95_ms"):
        edgewise.load(digits_bundle, require={"max_p59_ms": 5})


def test_a_variant_that_does_not_give_its_golden_answers_is_not_chosen(
    digits_bundle: Path, tmp_path: Path, trusting_home: Home, signing_key: PrivateKey
) -> None:
    bundle = open_path(digits_bundle)
    document = bundle.document
    assert document.golden is not None
    arrays = dict(parse_arrays(bundle.read(document.golden.file), "golden"))
    arrays["out/int8/probabilities"] = arrays["out/int8/probabilities"][::-1].copy()
    golden = dump_arrays(arrays)
    from dataclasses import replace

    file = replace(document.golden.file, digest=digest_of(golden), size=len(golden))
    changed = replace(document, golden=replace(document.golden, file=file))
    files = [bundle.read(file) for variant in document.variants for file in variant.files]
    spoilt = sign_release(with_evidence(build_bundle(changed, [*files, golden]), []), signing_key)
    write_file(spoilt, tmp_path / "spoilt.bundle")
    assert edgewise.load(tmp_path / "spoilt.bundle").origin.variant == "fp32"
    with pytest.raises(RequirementError, match="golden replay"):
        edgewise.load(tmp_path / "spoilt.bundle", require={"variant": "int8"})


def test_a_choice_made_without_verification_does_not_stand_in_for_one_that_the_receipts_allow(
    digits_bundle: Path, trusting_home: Home
) -> None:
    edgewise.load(digits_bundle, unsafe_no_verification=True).close()
    folder = trusting_home.cache / "choices"
    assert len(list(folder.iterdir())) == 1
    edgewise.load(digits_bundle).close()
    assert len(list(folder.iterdir())) == 2
    edgewise.load(digits_bundle).close()
    assert len(list(folder.iterdir())) == 2


def test_a_choice_that_no_longer_opens_is_made_again(digits_bundle: Path, trusting_home: Home) -> None:
    edgewise.load(digits_bundle).close()
    (path,) = (trusting_home.cache / "choices").iterdir()
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({**kept, "chosen": {**kept["chosen"], "provider": "GoneExecutionProvider"}}))
    with edgewise.load(digits_bundle) as model:
        assert model.predict(DATA.x[0]).label
    assert json.loads(path.read_text())["chosen"]["provider"] != "GoneExecutionProvider"


def test_home_and_trust_are_taken_as_paths_too(digits_bundle: Path, tmp_path: Path, trusting_home: Home) -> None:
    elsewhere = tmp_path / "elsewhere"
    with edgewise.load(digits_bundle, home=str(elsewhere), trust=str(trusting_home.trust_root)) as model:
        assert model.origin.reason.startswith("p50 ")
    assert (elsewhere / "cache" / "choices").is_dir()
    assert not trusting_home.cache.exists(), "nothing is kept in another home than the one that was named"
    with pytest.raises(SignatureError, match="no trust root"):
        edgewise.load(digits_bundle, home=elsewhere)


def test_what_the_receipts_rule_out_is_not_chosen_however_fast_it_is(
    digits_bundle: Path, tmp_path: Path, trusting_home: Home, signing_key: PrivateKey
) -> None:
    bundle = open_path(digits_bundle)
    plain = build_bundle(bundle.document, [bundle.read(file) for file in bundle.document.all_files()])
    for worse, left in (("fp32", "int8"), ("int8", "fp32")):
        told = [receipt(plain, name, 0.5 if name == worse else 0.95) for name in ("fp32", "int8")]
        evidence = with_evidence(plain, [sign_statement(item, signing_key) for item in told])
        write_file(sign_release(evidence, signing_key), tmp_path / f"{left}.bundle")
        assert edgewise.load(tmp_path / f"{left}.bundle").origin.variant == left
