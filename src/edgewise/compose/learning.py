"""From a bundle that carries a training step to a trainer, or to a session with weights that were learnt here.

Only what was verified is used: the parts come from the bundle by digest, and a file of weights is held to the step's own.
"""

from functools import partial
from pathlib import Path

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.training_parts import TrainingEntry
from edgewise.errors import MismatchError, UnsupportedError
from edgewise.runtime.session import Session
from edgewise.training.personal.learner import PersonalTrainer, personal_session
from edgewise.training.personal.weights_file import read_weights, step_of
from edgewise.training.run.step_file import TrainingStep

__all__ = ["open_personal", "open_trainer"]


def open_trainer(
    bundle: Bundle,
    variant: str,
    *,
    budget: int | None = None,
    threads: int | None = None,
    frugal: bool | None = None,
    personal: Path | None = None,
) -> PersonalTrainer:
    """A trainer of ``variant``, or of the first variant that came with a step. personal: weights to go on from.

    Raises UnsupportedError where the bundle has no training step, and what PersonalTrainer raises.
    """
    entries = _entries(bundle)
    entry = next((entry for entry in entries if entry.variant == variant), entries[0])
    step = TrainingStep.from_blobs(bundle.training_parts(entry))
    trainer = PersonalTrainer(
        bundle.document, bundle.variant(entry.variant), step, entry.digest(bundle.document.files),
        budget=budget, threads=threads, frugal=frugal,
    )  # fmt: skip
    if personal is not None:
        trainer.load(personal)
    return trainer


def open_personal(bundle: Bundle, path: Path) -> Session:
    """A session that answers with the weights in ``path``, by the variant that they were learnt from.

    Raises NotFoundError, UnsupportedError where the bundle has no training step, MismatchError where the weights belong to
    none of its steps.
    """
    entries = _entries(bundle)
    wanted = step_of(path)
    entry = next((entry for entry in entries if entry.digest(bundle.document.files) == wanted), None)
    if entry is None:
        raise MismatchError(
            f"the weights in {path} were not learnt with {bundle.ref}",
            remedy="Load the version that they were learnt with, or learn again with this one.", path=str(path),
        )  # fmt: skip
    step = TrainingStep.from_blobs(bundle.training_parts(entry))
    teach = partial(open_trainer, bundle, personal=path)
    return personal_session(bundle.document, bundle.variant(entry.variant), step, read_weights(path, wanted), teach)


def _entries(bundle: Bundle) -> tuple[TrainingEntry, ...]:
    if not bundle.document.training:
        raise UnsupportedError(
            f"{bundle.ref} carries no training step, so it cannot learn here",
            remedy="Pack it with one: `edgewise pack MODEL.onnx ... --trainable`.",
        )
    return bundle.document.training
