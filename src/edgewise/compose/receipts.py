"""The receipts of a verified bundle that may be believed."""

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.statement import RECEIPT, RELEASE, Statement
from edgewise.measure.receipt import Receipt, parse_receipt
from edgewise.routing.calibration import CALIBRATION
from edgewise.trust.verification import Evidence, Verification

__all__ = ["believed_receipts", "fits", "name_of"]


def believed_receipts(bundle: Bundle, verification: Verification | None) -> list[Receipt]:
    """Receipts that someone trusted vouches for, about exactly the files of the variant that they name."""
    if verification is None:
        return []
    return [parse_receipt(item.statement) for item in verification.receipts if item.trusted and fits(bundle, item)]


def fits(bundle: Bundle, evidence: Evidence) -> bool:
    """Whether a receipt's subject is the variant that it names: one about another file says nothing about this one."""
    named = evidence.statement.predicate.get("variant")
    return any(
        variant.name == named and set(evidence.statement.subject) == {file.digest for file in variant.files}
        for variant in bundle.document.variants
    )


def name_of(statement: Statement) -> str:
    """A piece of evidence in words; its text is bounded and printable, since it may be anybody's."""
    said = statement.predicate
    engine = said.get("engine")
    by = engine.get("name", "") if isinstance(engine, dict) else ""
    ours = {RECEIPT: "receipt", RELEASE: "release", CALIBRATION: "calibration"}
    parts = (
        ours.get(statement.predicate_type, statement.predicate_type),
        said.get("variant", ""),
        f"by {by}" if by else "",
    )
    text = " ".join(str(part)[:64] for part in parts if part)
    return "".join(character if character.isprintable() else "?" for character in text)
