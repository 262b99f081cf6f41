"""A bundle with a head: the golden set holds, what was about the old file falls away, and a session reads the score."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgewise.bundle.build import build_bundle, with_evidence
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.document import Document
from edgewise.bundle.statement import RECEIPT, RELEASE, parse_statement
from edgewise.digits import load_split
from edgewise.errors import InputError, MismatchError, NotFoundError, UnsupportedError
from edgewise.packing.pack import PackRequest, pack, sign_release
from edgewise.packing.training_request import TrainingRequest
from edgewise.routing.head import bundled
from edgewise.routing.head.bundled import Headed, with_head
from edgewise.routing.head.head import SCORE, Head, feature_count
from edgewise.routing.head.join import join_head
from edgewise.routing.rules import read_rule
from edgewise.runtime.device import read_device
from edgewise.runtime.opening import Candidate, open_candidate
from edgewise.runtime.replay import replay_golden
from edgewise.runtime.session import Session
from edgewise.store.bundles import open_path
from edgewise.store.home import Home
from edgewise.trust.keys import PrivateKey

# The first weight is of the only feature that a constant moves, which logits have before the softmax and not behind it.
HEAD = Head("probabilities", "logits", 10, np.linspace(0, 1, feature_count(10)).astype(np.float32), 0.5)


@pytest.fixture(scope="session")
def digits(digits_bundle: Path) -> Bundle:
    return open_path(digits_bundle)


def built(headed: Headed) -> Bundle:
    return with_evidence(build_bundle(headed.document, headed.blobs), headed.evidence)


def session(bundle: Bundle, folder: Path, variant: str = "int8", **more: tuple[str, ...]) -> Session:
    candidate = Candidate(variant, "onnxruntime", "CPUExecutionProvider")
    return open_candidate(bundle, candidate, home=Home(folder), device=read_device(), **more)


def test_the_golden_set_is_answered_to_the_bit_and_the_score_is_read_where_it_is_asked_for(
    digits: Bundle, tmp_path: Path
) -> None:
    bundle = built(with_head(digits, "int8", HEAD))
    with (
        session(digits, tmp_path) as before, session(bundle, tmp_path) as after,
        session(bundle, tmp_path, also=(SCORE,)) as scored,
    ):  # fmt: skip
        replays = [replay_golden(where, each) for where, each in ((digits, before), (bundle, after), (bundle, scored))]
        assert all(replay is not None and replay.passed for replay in replays)
        assert len({replay.worst for replay in replays if replay}) == 1
        x = load_split("eval")[0][7][None, ..., None]
        plain, with_score = after.predict(x), scored.predict(x)
        assert list(plain.outputs) == ["probabilities"]
        assert list(with_score.outputs) == ["probabilities", SCORE]
        assert plain.output.tobytes() == with_score.output.tobytes() == before.predict(x).output.tobytes()
        rule = read_rule({"name": "graph-output", "of": {"output": SCORE, "form": "values"}})
        wanted = HEAD.scores(np.log(plain.outputs["probabilities"].astype(np.float64)))
        assert rule.score(with_score.outputs) == pytest.approx(float(wanted[0]), rel=1e-4)


def test_what_was_measured_of_the_other_variant_is_kept_and_of_this_one_not(digits: Bundle) -> None:
    headed = with_head(digits, "int8", HEAD)
    kept = [parse_statement(envelope.payload) for envelope in headed.evidence]
    fp32 = {file.digest for file in digits.variant("fp32").files}
    assert kept
    assert {statement.predicate_type for statement in kept} == {RECEIPT}
    assert all(set(statement.subject) == fp32 for statement in kept)
    receipts = [parse_statement(e.payload).predicate_type for e in digits.evidence().values()].count(RECEIPT)
    assert f"{receipts - len(kept)} receipts" in headed.notes[-1]


def test_everything_else_in_the_document_stays(digits: Bundle) -> None:
    new, old = with_head(digits, "int8", HEAD).document, digits.document
    assert replace(new, variants=old.variants) == old
    first, second = new.variants
    assert first == old.variants[0]
    before = old.variants[1]
    file = second.files[0]
    assert replace(second, files=before.files, derivation=before.derivation) == before
    assert (file.path, file.media_type) == (before.files[0].path, before.files[0].media_type)
    assert file.digest != before.files[0].digest
    assert second.derivation is not None
    assert second.derivation.source == before.digest
    assert second.derivation.steps == ("deferral head, logistic on scores",)


def test_a_second_head_takes_the_place_of_the_first(digits: Bundle) -> None:
    other = replace(HEAD, bias=2.0)
    once, direct = with_head(digits, "int8", HEAD), with_head(digits, "int8", other)
    twice = with_head(build_bundle(once.document, once.blobs), "int8", other)
    assert [variant.derivation and variant.derivation.steps for variant in twice.document.variants] == [
        variant.derivation and variant.derivation.steps for variant in direct.document.variants
    ]
    assert twice.document.variants[1].derivation.source == digits.variant("int8").digest  # type: ignore[union-attr]
    assert abs(twice.document.variants[1].size - direct.document.variants[1].size) < 100


def test_the_result_can_be_signed_and_opens_as_any_bundle(
    digits: Bundle, signing_key: PrivateKey, tmp_path: Path
) -> None:
    signed = sign_release(built(with_head(digits, "fp32", HEAD)), signing_key)
    kinds = [parse_statement(envelope.payload).predicate_type for envelope in signed.evidence().values()]
    assert kinds.count(RELEASE) == 1
    with session(signed, tmp_path, "fp32", also=(SCORE,)) as opened:
        assert replay_golden(signed, opened).passed  # type: ignore[union-attr]


def test_a_training_step_of_the_old_file_is_left_out_with_its_parts() -> None:
    from edgewise.compose.demo import digits_data, digits_models

    data = digits_data("calibration")
    request = PackRequest(
        name="digits", version="1.0.0", models={"fp32": digits_models()["fp32"]}, task="classification", labels=data.labels,
        golden=data, golden_count=4, training=TrainingRequest(trainable=("*",)),
        files={"licence.txt": b"CC BY 4.0"},
    )  # fmt: skip
    bundle = pack(request, None).bundle
    headed = with_head(bundle, "fp32", HEAD)
    assert bundle.document.training
    assert not headed.document.training
    assert [file.path for file in headed.document.files] == ["licence.txt"]
    assert "training step of fp32" in headed.notes[1]
    build_bundle(headed.document, headed.blobs)


def test_without_anything_to_prove_it_on_there_is_no_head(digits: Bundle) -> None:
    files = [digits.read(file) for variant in digits.document.variants for file in variant.files]
    bare = build_bundle(replace(digits.document, golden=None), files)
    with pytest.raises(InputError, match="no golden inputs"):
        with_head(bare, "int8", HEAD)
    spec = digits.document.inputs[0]
    sample = load_split("eval")[0][:2, ..., None]
    assert "on 1 inputs" in with_head(bare, "int8", HEAD, {spec.name: sample}).notes[0]


def test_nothing_is_replaced_by_a_file_that_answers_otherwise(digits: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    (other,) = digits.model_files(digits.variant("fp32")).values()
    monkeypatch.setattr(bundled, "join_head", lambda model, head, external: join_head(other, head, external))
    with pytest.raises(MismatchError, match="comes out otherwise"):
        with_head(digits, "int8", HEAD)


def test_what_cannot_have_a_head_is_refused(digits: Bundle) -> None:
    with pytest.raises(NotFoundError, match="no variant"):
        with_head(digits, "int4", HEAD)
    with pytest.raises(InputError, match="decides by probabilities"):
        with_head(digits, "int8", replace(HEAD, output="other"))
    files = [digits.read(file) for file in digits.document.all_files()]

    def changed(document: Document) -> Bundle:
        return build_bundle(document, files)

    lite = replace(digits.document.variants[1], format="tflite")
    with pytest.raises(UnsupportedError, match="is tflite"):
        with_head(changed(replace(digits.document, variants=(digits.document.variants[0], lite))), "int8", HEAD)
