"""What a bundle says about itself, gathered for a page."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.statement import RECEIPT, RELEASE, Statement, parse_statement
from edgewise.compose.loading import read_trust
from edgewise.compose.receipts import fits, name_of
from edgewise.errors import HostileBundleError, SignatureError
from edgewise.measure.receipt import Receipt, parse_receipt
from edgewise.routing.calibration import CALIBRATION, Calibration, is_about, parse_calibration
from edgewise.runtime.golden_set import read_golden
from edgewise.store.bundles import find_bundle, open_path
from edgewise.store.home import Home
from edgewise.training.run.step_spec import PARAMETER, MemoryEstimate, StepSpec
from edgewise.trust.verification import verify_bundle

__all__ = ["Report", "Teaching", "make_report"]


@dataclass(frozen=True, slots=True)
class Teaching:
    """One training step. weights: numbers that it changes, in so many tensors. size: bytes of its parts.

    learning_rate: where nobody says another; None where the step has none. memory: None where nobody measured it.
    """

    variant: str
    loss: str
    optimizer: str
    weights: int
    tensors: int
    learning_rate: float | None
    memory: MemoryEstimate | None
    size: int

    def to_json(self) -> dict[str, Any]:
        memory = self.memory and {"fixedBytes": self.memory.fixed, "bytesPerSample": self.memory.per_sample}
        return {
            "variant": self.variant, "loss": self.loss, "optimizer": self.optimizer, "weights": self.weights,
            "tensors": self.tensors, "learningRate": self.learning_rate, "memory": memory, "bytes": self.size,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """signature: in words. receipts: each with whether someone trusted vouches for it. size: bytes of all blobs.

    others: evidence of kinds that mean nothing here, each with whether someone trusted vouches for it.
    teaching: the training steps that came with its variants. calibrations: by which its variants may ask upstream, each with
    whether someone trusted vouches for it.
    """

    bundle: Bundle
    signature: str
    trusted: bool
    receipts: tuple[tuple[Receipt, bool], ...]
    golden_count: int
    size: int
    others: tuple[tuple[str, str], ...] = ()
    teaching: tuple[Teaching, ...] = ()
    calibrations: tuple[tuple[Calibration, bool], ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "ref": self.bundle.ref,
            "manifest": self.bundle.index.manifests[0].digest,
            "bytes": self.size,
            "trusted": self.trusted,
            "signature": self.signature,
            "document": self.bundle.document.to_json(),
            "receipts": [{**receipt.to_json(), "trusted": trusted} for receipt, trusted in self.receipts],
            "goldenInputs": self.golden_count,
            "otherEvidence": [{"kind": kind, "counts": counts} for kind, counts in self.others],
            "training": [step.to_json() for step in self.teaching],
            "calibrations": [{**found.to_json(), "trusted": trusted} for found, trusted in self.calibrations],
        }


def make_report(ref: str, trust: Path | None, home: Home | None = None) -> Report:
    """Open and describe a bundle; every blob is checked against its digest, an untrusted signature is reported."""
    place = home or Home.default()
    bundle = open_path(find_bundle(ref, place))
    bundle.check_blobs()
    try:
        root = read_trust(trust, place)
        verification = verify_bundle(bundle, root)
        names = ", ".join(f"{root.name_of(key_id)} ({key_id[:12]})" for key_id in verification.signers)
        signature, trusted = f"trusted: released by {names}", True
        others = tuple(
            (name_of(item.statement), "yes" if item.trusted else "no")
            for item in verification.evidence
            if item.statement.predicate_type not in (RECEIPT, RELEASE, CALIBRATION)
        )
        said = [(item.statement, item.trusted) for item in verification.evidence]
        receipts, malformed = _receipts(
            [(item.statement, item.trusted and fits(bundle, item)) for item in verification.receipts]
        )
    except SignatureError as error:
        signature, trusted = f"NOT TRUSTED: {error.what}", False
        others = ()
        statements = [parse_statement(envelope.payload) for envelope in bundle.evidence().values()]
        said = [(item, False) for item in statements]
        receipts, malformed = _receipts([(item, False) for item in statements if item.predicate_type == RECEIPT])
    calibrations, odd = _calibrations(bundle, said)
    layers = {layer.digest: layer.size for layer in (bundle.manifest.config, *bundle.manifest.layers)}
    golden = read_golden(bundle)
    return Report(
        bundle, signature, trusted, receipts, golden.count if golden else 0, sum(layers.values()),
        (*others, *malformed, *odd), _teaching(bundle), calibrations,
    )  # fmt: skip


def _teaching(bundle: Bundle) -> tuple[Teaching, ...]:
    found = []
    for entry in bundle.document.training:
        files = entry.files(bundle.document.files)
        spec = StepSpec.from_json(bundle.read(files["spec.json"]))
        trained = spec.of_role(PARAMETER)
        rate = next((scalar.default for scalar in spec.scalars if scalar.name == "learning_rate"), None)
        found.append(
            Teaching(
                entry.variant,
                entry.loss,
                entry.optimizer,
                sum(prod(state.shape) for state in trained),
                len(trained),
                rate,
                spec.memory,
                sum(file.size for file in files.values()),
            )
        )
    return tuple(found)


def _calibrations(
    bundle: Bundle, said: list[tuple[Statement, bool]]
) -> tuple[tuple[tuple[Calibration, bool], ...], tuple[tuple[str, str], ...]]:
    """Calibrations with whether they count, the newest last, and those that cannot be read."""
    found: list[tuple[Calibration, bool]] = []
    malformed: list[tuple[str, str]] = []
    for statement, trusted in said:
        if statement.predicate_type != CALIBRATION:
            continue
        try:
            calibration = parse_calibration(statement)
        except HostileBundleError:
            malformed.append((name_of(statement), "no, it cannot be read"))
            continue
        found.append((calibration, trusted and is_about(bundle, statement, calibration)))
    return tuple(sorted(found, key=lambda pair: (pair[0].measured_at, pair[0].variant))), tuple(malformed)


def _receipts(
    statements: list[tuple[Statement, bool]],
) -> tuple[tuple[tuple[Receipt, bool], ...], tuple[tuple[str, str], ...]]:
    """Receipts with whether they count, and those that cannot be read: anybody can add one, and it hides nothing."""
    found: list[tuple[Receipt, bool]] = []
    malformed: list[tuple[str, str]] = []
    for statement, counts in statements:
        try:
            found.append((parse_receipt(statement), counts))
        except HostileBundleError:
            if counts:
                raise
            malformed.append((name_of(statement), "no, it cannot be read"))
    return tuple(found), tuple(malformed)
