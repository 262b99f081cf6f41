"""`edgewise eval`: every way to run a bundle here, on labelled data, beside its receipts."""

import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from edgewise.bundle.build import with_evidence
from edgewise.bundle.bundle import Bundle
from edgewise.clock import SystemClock
from edgewise.compose.keys import default_signing_key, load_private
from edgewise.compose.loading import open_verified
from edgewise.compose.receipts import believed_receipts
from edgewise.errors import EdgewiseError, ProbeError, RequirementError
from edgewise.measure.choice import candidates_for
from edgewise.measure.dataset import Dataset, read_dataset
from edgewise.measure.evaluation import Evaluation, evaluate, to_receipt
from edgewise.measure.memory import peak_memory
from edgewise.measure.receipt import Receipt
from edgewise.runtime.device import read_device
from edgewise.runtime.opening import Candidate
from edgewise.runtime.requirements import Requirements
from edgewise.store.bundles import find_bundle, write_file
from edgewise.store.home import Home
from edgewise.trust.verification import sign_statement

__all__ = ["Evaluated", "evaluate_path"]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """rows: what was measured, with the receipt for the same variant where there is one. failed: what could not be run, and why."""

    ref: str
    rows: tuple[tuple[Evaluation, Receipt | None], ...]
    failed: tuple[tuple[Candidate, str], ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "ref": self.ref,
            "results": [{**item.to_json(), "receipt": receipt and receipt.to_json()} for item, receipt in self.rows],
            "failed": [{**candidate.to_json(), "reason": reason} for candidate, reason in self.failed],
        }


def evaluate_path(options: Namespace, require: Requirements, progress: Callable[[str, int, int], None]) -> Evaluated:
    """Measure the bundle that the options name. Raises RequirementError where nothing in it can be measured here."""
    home = Home.default()
    path = find_bundle(options.bundle, home)
    bundle, verification = open_verified(
        path, options.trust, home, unsafe_no_verification=options.unsafe_no_verification
    )
    receipts = believed_receipts(bundle, verification)
    data, device = read_dataset(options.data), read_device()
    rows: list[tuple[Evaluation, Receipt | None]] = []
    failed: list[tuple[Candidate, str]] = []
    for candidate in candidates_for(bundle, require):
        report = partial(progress, str(candidate))
        try:
            result = evaluate(bundle, candidate, data, home=home, device=device, clock=SystemClock(), progress=report)
        except EdgewiseError as error:
            failed.append((candidate, error.what))
            continue
        with suppress(ProbeError):  # then the row has no memory
            result = replace(result, peak_rss=peak_memory(path, candidate, home, sys.executable).peak)
        promised = [receipt for receipt in receipts if receipt.variant == candidate.variant]
        promised.sort(key=lambda receipt: receipt.engine != candidate.engine)
        rows.append((result, promised[0] if promised else None))
    if not rows:
        raise RequirementError(
            f"nothing in {bundle.ref} could be measured here: {'; '.join(f'{which}: {why}' for which, why in failed)}",
            reasons=[why for _, why in failed],
        )
    if options.receipts:
        _write_receipts(bundle, [result for result, _ in rows], data, options)
    return Evaluated(bundle.ref, tuple(rows), tuple(failed))


def _write_receipts(bundle: Bundle, results: list[Evaluation], data: Dataset, options: Namespace) -> None:
    key = load_private(options.key) if options.key else default_signing_key(Home.default())
    device, clock = read_device(), SystemClock()
    receipts = [to_receipt(result, data.name or "data", device, clock) for result in results]
    signed = [sign_statement(receipt.statement(bundle.variant(receipt.variant)), key) for receipt in receipts]
    write_file(with_evidence(bundle, signed), options.receipts)
