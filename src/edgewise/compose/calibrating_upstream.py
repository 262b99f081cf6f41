"""`edgewise calibrate --upstream`: what the other side says to the calibration samples: a bundle here, a URL, a file of answers."""

from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from edgewise.bundle.document import Document
from edgewise.compose.calibrating_data import Samples, hashing_beside
from edgewise.compose.calibrating_url import ask_url
from edgewise.compose.calibrating_variants import answer_all
from edgewise.compose.loading import load
from edgewise.errors import DataError, InputError, NotFoundError
from edgewise.measure.dataset import rows_by_number
from edgewise.measure.npz import load_npz
from edgewise.routing.calibration import Against
from edgewise.runtime.engine import Array
from edgewise.runtime.session import Session
from edgewise.store.bundles import find_bundle
from edgewise.store.home import Home

__all__ = ["Upstreamed", "ask_upstream", "check_labels", "is_url"]

_BESIDE = ("x", "y", "group", "class_names", "name", "version")  # of a recorded file: not the answers


@dataclass(frozen=True, slots=True)
class Upstreamed:
    """answers: (N, ...) of upstream's deciding output. seconds: p50 of one question, None where it was not asked here.

    told: who it is and how it was asked, in a sentence.
    """

    answers: Array
    against: Against
    told: str
    seconds: float | None = None


def ask_upstream(
    options: Namespace, document: Document, samples: Samples, home: Home, note: Callable[[str], None],
    progress: Callable[[str, int, int], None],
) -> Upstreamed:  # fmt: skip
    """What ``--upstream`` names says to every sample.

    Samples that leave the machine are told to ``note`` before. Raises InputError where upstream does not fit the model.
    """
    source = options.upstream
    decides = next((spec for spec in document.outputs if spec.name == document.decision), document.outputs[0])
    decision, answer = decides.name, tuple(size for size in decides.shape[1:] if isinstance(size, int))
    if is_url(source):
        check = partial(check_labels, document=document)
        found = ask_url(options, document, decision, samples, home, note, progress, check)
        result = Upstreamed(found.answers, found.against, found.told, found.seconds)
    elif source.lower().endswith(".npz"):
        result = _recorded(Path(source), document, decision, len(samples))
    else:
        result = _bundle(options, document, samples, home, progress)
    _check_form(result.answers, answer, document)
    return result


def is_url(source: str) -> bool:
    """Whether asking ``source`` sends samples away."""
    return "://" in source


def check_labels(whose: str, theirs: tuple[str, ...], document: Document) -> None:
    """Raise InputError where upstream counts its classes otherwise: an answer of its would mean something else here."""
    ours = document.labels
    if theirs and ours and theirs != ours:
        other = "in another order" if sorted(theirs) == sorted(ours) else "that are others"
        raise InputError(
            f"{whose} has labels {other}: {', '.join(theirs[:8])}; the bundle has {', '.join(ours[:8])}",
            remedy="Upstream and the bundle have to count the same classes in the same order: pack one of them again.",
        )


def _bundle(
    options: Namespace, document: Document, samples: Samples, home: Home, progress: Callable[[str, int, int], None]
) -> Upstreamed:
    path = find_bundle(options.upstream, home)
    require = {"variant": options.upstream_variant} if options.upstream_variant else None
    session = load(
        path, trust=options.trust, require=require, home=home, progress=progress,
        unsafe_no_verification=options.unsafe_no_verification,
    )  # fmt: skip
    with session:
        theirs = session.document
        whose = f"upstream {theirs.name}:{theirs.version}"
        check_labels(whose, theirs.labels, document)
        if theirs.task != document.task:
            raise InputError(f"{whose} is a model for {theirs.task}, and {document.name} for {document.task}")
        inputs = _inputs(session, samples, path)
        asked = Samples(inputs, None, None, (), samples.name, "")
        outputs = answer_all(session, asked, partial(progress, f"ask {theirs.name}"))
        by = session.origin
    told = f"{theirs.name}:{theirs.version}, {by.variant} by {by.engine}/{by.provider}, asked on this machine"
    return Upstreamed(outputs[by.decision], Against(theirs.name, theirs.version, theirs.labels), told)


def _inputs(session: Session, samples: Samples, path: Path) -> Mapping[str, Array]:
    """The samples by the names of upstream's inputs: the very values that a device passes on."""
    states = {state.input for state in session.document.states}
    specs = [spec for spec in session.document.inputs if spec.name not in states]
    if samples.hashing is not None and samples.hashing != hashing_beside(path):
        raise InputError(
            f"{path.name} makes other ids of texts than the bundle, and in use it is asked with the bundle's ids",
            remedy="Train both with the same settings of text; or have the texts answered elsewhere, and name the answers (.npz).",
        )
    if {spec.name for spec in specs} == set(samples.inputs):
        return samples.inputs
    if len(specs) == len(samples.inputs) == 1:
        return {specs[0].name: next(iter(samples.inputs.values()))}
    raise InputError(
        f"upstream takes {', '.join(spec.name for spec in specs)}, and the model {', '.join(samples.inputs)}",
        remedy="Upstream has to take what the device takes: its inputs are what is passed on.",
    )


def _recorded(path: Path, document: Document, decision: str, count: int) -> Upstreamed:
    if not path.is_file():
        raise NotFoundError(f"there is no file of answers at {path}", path=str(path))
    arrays = load_npz(path)
    named = [name for name in arrays if name not in _BESIDE]
    chosen = decision if decision in arrays else named[0] if len(named) == 1 else ""
    if not chosen:
        raise DataError(
            f"which array of {path.name} has upstream's answers is unclear: it has {', '.join(sorted(arrays)[:10]) or 'none'}",
            remedy=f"Save it as {decision}, or alone.", rule="upstream-answers",
        )  # fmt: skip
    answers = arrays[chosen]
    if answers.ndim < 1 or len(answers) != count:
        raise DataError(
            f"{path.name} has {len(answers) if answers.ndim else 1} answers, and there are {count} samples",
            remedy="One answer for each sample, in the order of the data.", rule="upstream-answers",
        )  # fmt: skip
    labels = tuple(str(label) for label in arrays.get("class_names", np.empty(0, "U1")).ravel())
    if answers.dtype.kind in "US":
        answers = _by_name(answers.astype(str).ravel(), labels or document.labels, path)
    if answers.dtype.kind == "f":
        rows = np.flatnonzero(~np.isfinite(answers.reshape(count, -1)).all(axis=1))
        if len(rows):
            raise DataError(
                f"{path.name} has answers that are not finite (NaN or infinity) at {rows_by_number(rows)}",
                remedy="Ask again for these, or leave the samples out.", rule="upstream-answers",
            )  # fmt: skip
    check_labels(path.name, labels, document)
    name, version = (
        str(arrays[key].ravel()[0]) if key in arrays and arrays[key].size else "" for key in ("name", "version")
    )
    told = f"{name or 'an upstream that the file does not name'}{f' {version}' if version else ''}, its answers from {path.name}"
    return Upstreamed(answers, Against(name, version, labels), told)


def _by_name(answers: Array, labels: tuple[str, ...], path: Path) -> Array:
    place = {label: at for at, label in enumerate(labels)}
    if strange := sorted(set(answers.tolist()) - place.keys()):
        raise DataError(
            f"{path.name} has answers that are no labels of the bundle: {', '.join(strange[:8])}",
            remedy=f"The labels are {', '.join(labels[:8]) or 'not in the bundle'}.", rule="upstream-answers",
        )  # fmt: skip
    return np.array([place[answer] for answer in answers.tolist()], np.int64)


def _check_form(answers: Array, ours: tuple[int, ...], document: Document) -> None:
    """Scores of another number of classes are another question's answers. Class numbers are always understood."""
    theirs = answers.shape[1:]
    if document.task != "classification" or len(ours) != 1 or ours[0] < 2:
        return
    if len(theirs) == 1 and theirs[0] > 1 and answers.dtype.kind == "f" and theirs[0] != ours[0]:
        raise InputError(
            f"upstream tells {theirs[0]} classes apart, and the bundle {ours[0]}",
            remedy="Name an upstream for the same classes in the same order.",
        )
    if answers.dtype.kind in "iu" and len(answers) and not (int(answers.min()) >= 0 and int(answers.max()) < ours[0]):
        raise InputError(f"upstream answers with classes {answers.min()}..{answers.max()}, and there are {ours[0]}")
