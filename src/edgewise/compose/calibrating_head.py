"""`edgewise calibrate --head`: a few nodes behind a variant that learn on which inputs it answers as upstream does."""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from edgewise.bundle.build import build_bundle, with_evidence
from edgewise.bundle.bundle import Bundle
from edgewise.compose.calibrating_data import Samples
from edgewise.compose.calibrating_variants import Answers, answer_all
from edgewise.errors import DataError, InputError, UnsupportedError
from edgewise.routing.fitting import Calibrated
from edgewise.routing.head.bundled import with_head
from edgewise.routing.head.head import Head
from edgewise.routing.head.learning import Learnt, learn_head, parts
from edgewise.routing.head.network import Learning
from edgewise.routing.losses import judge_for
from edgewise.routing.rule import HEAD_OUTPUT
from edgewise.runtime.device import read_device
from edgewise.runtime.engine import Array
from edgewise.runtime.opening import open_candidate
from edgewise.store.home import Home
from edgewise.trust.keys import PrivateKey
from edgewise.trust.verification import Verification

__all__ = ["Headed", "check_head", "with_heads"]

_RULE = "graph-output"  # the rule that goes by a head
_PROOF = 32  # samples on which it is proven that a head changes no answer, beside the golden set


@dataclass(frozen=True, slots=True)
class Headed:
    """answers: of the samples ``rows``, which no head was learnt from, with the heads that help. heads: variant -> its head. proof:
    samples on which a head has to change no answer. told: what became of each variant, in a sentence.
    """

    bundle: Bundle
    answers: list[Answers]
    rows: Array
    heads: Mapping[str, Head]
    proof: Mapping[str, Array]
    told: Mapping[str, str]

    def used(self, calibrated: Calibrated) -> tuple[Bundle, list[str]]:
        """The bundle with the heads that a rule goes by, for that is what a head costs its bytes for, and what to tell of all."""
        fits = [*calibrated.each, calibrated.chosen]
        rules = {stage.variant: str(stage.rule.get("name")) for fit in fits for stage in fit.stages}
        kept = {name: head for name, head in self.heads.items() if rules.get(name) == _RULE}
        told = [
            f"{words[:-1]}; it is left out, since {rules[name]} was the better rule by the samples that choose."
            if name in self.heads and name not in kept else words
            for name, words in self.told.items()
        ]  # fmt: skip
        if not kept:
            told.append("Without --head the samples that were to teach would be for the promise as well.")
        bundle = self.bundle
        for name, head in kept.items():
            bundle = _joined(bundle, name, head, self.proof)
        return bundle, told


def check_head(bundle: Bundle, key: PrivateKey, verification: Verification | None) -> None:
    """Raise InputError where a bundle with other files could not be released."""
    if bundle.document.task != "classification":
        raise InputError(f"--head is for classifiers, and {bundle.ref} is a model for {bundle.document.task}")
    if verification is None or key.public.key_id not in verification.signers:
        raise InputError(
            "a head changes the model's file, so that the bundle needs a new release, and this key did not release it",
            remedy="Sign with the publisher's key (--key), or leave --head out.",
        )


def with_heads(
    bundle: Bundle, answers: Sequence[Answers], upstream: Array, samples: Samples, home: Home, options: Namespace,
    progress: Callable[[str, int, int], None],
) -> Headed:  # fmt: skip
    """Learn a head for each variant on three samples out of ten, and keep those that say clearly more than rules without one.

    upstream: (N, ...) its deciding output.
    """
    learning, rest = _halves(samples, options)
    judge = judge_for(bundle.document.task, bundle.document.labels)
    proof = {name: array[learning[:_PROOF]] for name, array in samples.inputs.items()}
    told: dict[str, str] = {}
    heads: dict[str, Head] = {}
    found = [_of_rows(each, rest) for each in answers]
    for at, each in enumerate(answers):
        progress(f"learn a head for {each.variant}", at, len(answers))
        disagree = judge.disagree(each.outputs[each.decision], upstream)
        try:
            learnt = _learnt(bundle, each, samples, disagree, learning, options.seed)
            told[each.variant] = _words(each.variant, learnt)
            if learnt.helps:
                joined = _joined(bundle, each.variant, learnt.head, proof)
                report = partial(progress, f"run {each.variant} with its head")
                found[at] = _asked_again(joined, each, samples, rest, home, report)
                heads[each.variant] = learnt.head
        except (DataError, UnsupportedError) as error:
            told[each.variant] = f"No head for {each.variant}: {error.what}."
    return Headed(bundle, found, rest, heads, proof, told)


def _halves(samples: Samples, options: Namespace) -> tuple[Array, Array]:
    """Those that teach and those that are left for the promise; samples of one origin are not divided where they count as one."""
    if not options.block or samples.group is None:
        return parts(len(samples), options.seed)
    names, at = np.unique(samples.group, return_inverse=True)
    first, second = parts(len(names), options.seed)
    return np.flatnonzero(np.isin(at, first)), np.flatnonzero(np.isin(at, second))


def _learnt(bundle: Bundle, each: Answers, samples: Samples, disagree: Array, rows: Array, seed: int) -> Learnt:
    variant = bundle.variant(each.variant)
    if variant.format != "onnx":
        raise UnsupportedError(f"{variant.name} is {variant.format}, and a head is joined into ONNX graphs")
    files = dict(bundle.model_files(variant))
    model = files.pop(next(iter(files)))
    inputs = {variant.inputs.get(name, name): array[rows] for name, array in samples.inputs.items()}
    output = variant.outputs.get(each.decision, each.decision)
    return learn_head(model, inputs, disagree[rows], output=output, settings=Learning(seed=seed), external=files)


def _words(variant: str, learnt: Learnt) -> str:
    head = f"{learnt.head.kind}, {learnt.gain:.4f} nats below the best rule without (standard error {learnt.error:.4f})"
    if learnt.helps:
        return f"A head for {variant} was learnt from {learnt.samples:,} samples: {head}."
    return f"A head for {variant} says no more than rules without one do, and is left out: {head}."


def _joined(bundle: Bundle, variant: str, head: Head, proof: Mapping[str, Array]) -> Bundle:
    made = with_head(bundle, variant, head, proof)
    return with_evidence(build_bundle(made.document, made.blobs), made.evidence)


def _asked_again(
    bundle: Bundle, each: Answers, samples: Samples, rows: Array, home: Home, progress: Callable[[int, int], None]
) -> Answers:
    """The variant with its head, by the same engine, on the samples of the promise."""
    inputs: Mapping[str, Array] = {name: array[rows] for name, array in samples.inputs.items()}
    with open_candidate(bundle, each.by, home=home, device=read_device(), also=(HEAD_OUTPUT,)) as session:
        outputs = answer_all(session, replace(samples, inputs=inputs), progress)
    return replace(each, outputs=outputs, bytes=bundle.variant(each.variant).size)


def _of_rows(each: Answers, rows: Array) -> Answers:
    return replace(each, outputs={name: np.asarray(array[rows]) for name, array in each.outputs.items()})
