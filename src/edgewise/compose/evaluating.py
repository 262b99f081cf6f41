"""`edgewise eval`: every way to run a bundle here, on labelled data, beside its receipts."""

import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgewise.bundle.build import with_evidence
from edgewise.bundle.bundle import Bundle
from edgewise.clock import SystemClock
from edgewise.compose.decoding import image_channels
from edgewise.compose.keys import default_signing_key, load_private
from edgewise.compose.loading import open_verified
from edgewise.compose.receipts import believed_receipts
from edgewise.errors import EdgewiseError, InputError, ProbeError, RequirementError
from edgewise.measure.candidates import candidates_for
from edgewise.measure.dataset import Dataset, read_dataset, with_labels
from edgewise.measure.demands import too_inaccurate, unmet
from edgewise.measure.evaluation import Evaluation, evaluate, to_receipt
from edgewise.measure.memory import peak_memory
from edgewise.measure.receipt import Receipt
from edgewise.runtime.device import read_device
from edgewise.runtime.opening import Candidate, open_candidate
from edgewise.runtime.replay import require_replay
from edgewise.runtime.requirements import Requirements
from edgewise.store.bundles import find_bundle, write_file
from edgewise.store.home import Home
from edgewise.trust.verification import sign_statement

__all__ = ["Evaluated", "Row", "evaluate_path"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One way to run the bundle, as measured. receipt: what the bundle says of it. unmet: which requirement does not hold."""

    evaluation: Evaluation
    receipt: Receipt | None
    unmet: str = ""

    def to_json(self) -> dict[str, Any]:
        receipt = self.receipt and self.receipt.to_json()
        return {**self.evaluation.to_json(), "receipt": receipt, "unmet": self.unmet}


@dataclass(frozen=True, slots=True)
class Evaluated:
    """failed: what could not be measured or answers wrongly, and why. receipts: the file that was written, if any."""

    ref: str
    rows: tuple[Row, ...]
    failed: tuple[tuple[Candidate, str], ...]
    receipts: Path | None = field(default=None)

    @property
    def met(self) -> bool:
        """Whether something fulfils every requirement."""
        return any(not row.unmet for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        return {
            "ref": self.ref,
            "results": [row.to_json() for row in self.rows],
            "failed": [{**candidate.to_json(), "reason": reason} for candidate, reason in self.failed],
            "receipts": self.receipts and str(self.receipts),
        }


def evaluate_path(options: Namespace, require: Requirements, progress: Progress) -> Evaluated:
    """Measure the bundle that the options name.

    Only what opens, is placed as required and repeats its golden answers is measured. Raises what is wrong with the data where
    nothing can be measured for that reason, else RequirementError with the reason for each candidate.
    """
    if options.key and not options.receipts:
        raise InputError("--key is for signing receipts", remedy="Say where they go: --receipts FILE.bundle.")
    home = Home.default()
    path = find_bundle(options.bundle, home)
    bundle, verification = open_verified(
        path, options.trust, home, unsafe_no_verification=options.unsafe_no_verification
    )
    believed = believed_receipts(bundle, verification)
    variants = [variant.name for variant in bundle.document.variants]
    forbidden = (
        too_inaccurate(believed, variants, require.max_metric_drop) if require.max_metric_drop is not None else {}
    )
    channels = image_channels(bundle.document.inputs)
    data = with_labels(read_dataset(options.data, channels=channels), bundle.document.labels)
    rows: list[Row] = []
    errors: dict[Candidate, EdgewiseError] = {}
    for candidate in candidates_for(bundle, require):
        try:
            result = _measured(bundle, candidate, data, require, home, progress)
        except EdgewiseError as error:
            errors[candidate] = error
            continue
        reason = forbidden.get(candidate.variant, "")
        peak = None
        with suppress(ProbeError):  # then the row has no memory
            peak = peak_memory(path, candidate, home, sys.executable).peak
        if not reason:
            reason, _ = unmet(require, candidate.variant, result.latency, partial(_known, peak, candidate))
        rows.append(Row(replace(result, peak_rss=peak), _receipt_for(candidate, believed), reason))
    if not rows:
        raise _nothing(bundle, errors)
    if options.receipts:
        _write_receipts(bundle, [row.evaluation for row in rows], data, options)
    failed = tuple((candidate, error.what) for candidate, error in errors.items())
    return Evaluated(bundle.ref, tuple(rows), failed, options.receipts)


def _measured(
    bundle: Bundle, candidate: Candidate, data: Dataset, require: Requirements, home: Home, progress: Progress
) -> Evaluation:
    device = read_device()
    with open_candidate(bundle, candidate, home=home, device=device, record_placement=True) as session:
        require.check_placement(session.placement(), candidate.variant)
        require_replay(bundle, session)
    report = partial(progress, f"measure {candidate}")
    return evaluate(bundle, candidate, data, home=home, device=device, clock=SystemClock(), progress=report)


def _known(peak: int | None, candidate: Candidate) -> int:
    if peak is None:
        raise ProbeError(f"the memory of {candidate} could not be measured")
    return peak


def _receipt_for(candidate: Candidate, receipts: list[Receipt]) -> Receipt | None:
    """The receipt on the same variant, by the same engine where there is one."""
    same = [receipt for receipt in receipts if receipt.variant == candidate.variant]
    return min(same, key=lambda receipt: receipt.engine != candidate.engine, default=None)


def _nothing(bundle: Bundle, errors: dict[Candidate, EdgewiseError]) -> EdgewiseError:
    """The one fault that all have in common, if it is the user's data; else one error that lists them."""
    found = list(errors.values())
    if all(isinstance(error, InputError) for error in found):
        return found[0]
    reasons = [f"{candidate}: {error.what}" for candidate, error in errors.items()]
    return RequirementError(f"nothing in {bundle.ref} could be measured here: {'; '.join(reasons)}", reasons=reasons)


def _write_receipts(bundle: Bundle, results: list[Evaluation], data: Dataset, options: Namespace) -> None:
    key = load_private(options.key) if options.key else default_signing_key(Home.default())
    device, clock = read_device(), SystemClock()
    receipts = [to_receipt(result, data.name or "data", device, clock) for result in results]
    signed = [sign_statement(receipt.statement(bundle.variant(receipt.variant)), key) for receipt in receipts]
    write_file(with_evidence(bundle, signed), options.receipts)
