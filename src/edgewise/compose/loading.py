"""`edgewise.load`: from a reference to a session, by way of verification and the measured choice.

The path is short the second time: open the bundle, check the release signature, read the choice that was made on this device,
open that variant from its compiled copy. Only when the bundle, an engine or the device has changed is anything measured.
"""

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from edgewise.bundle.bundle import Bundle
from edgewise.compose.choices import read_choice
from edgewise.compose.keys import read_root
from edgewise.errors import EdgewiseError, InputError, SignatureError
from edgewise.records import dataclass
from edgewise.runtime.device import DeviceFacts, read_device
from edgewise.runtime.opening import Candidate, open_candidate
from edgewise.runtime.requirements import Requirements
from edgewise.runtime.session import Session, Teach
from edgewise.store.bundles import find_bundle, open_path
from edgewise.store.home import Home
from edgewise.trust.root import TrustRoot
from edgewise.trust.verification import Verification, verify_bundle

if TYPE_CHECKING:
    from edgewise.routing.guard import Report
    from edgewise.routing.node import Node
    from edgewise.routing.upstream import Upstream
    from edgewise.training.personal.learner import PersonalTrainer

__all__ = ["load", "open_verified", "read_trust"]


@overload
def load(
    ref: str | PathLike[str],
    *,
    trust: str | PathLike[str] | TrustRoot | None = None,
    require: Mapping[str, Any] | Requirements | None = None,
    home: str | PathLike[str] | Home | None = None,
    unsafe_no_verification: bool = False,
    personal: str | PathLike[str] | None = None,
    progress: Callable[[str, int, int], None] = ...,
) -> Session: ...


@overload
def load(
    ref: str | PathLike[str],
    *,
    upstream: "Upstream | Node | Session | Callable[..., Any] | str | PathLike[str]",
    deadline: float = 1.0,
    audit: float = 0.02,
    learn: float | None = None,
    report: "Callable[[Report], None]" = ...,
    tier: str = "device",
    unsafe_plain_http: bool = False,
    trust: str | PathLike[str] | TrustRoot | None = None,
    require: Mapping[str, Any] | Requirements | None = None,
    home: str | PathLike[str] | Home | None = None,
    unsafe_no_verification: bool = False,
    progress: Callable[[str, int, int], None] = ...,
) -> "Node": ...


def load(
    ref: str | PathLike[str],
    *,
    upstream: Any = None,
    trust: str | PathLike[str] | TrustRoot | None = None,
    require: Mapping[str, Any] | Requirements | None = None,
    home: str | PathLike[str] | Home | None = None,
    unsafe_no_verification: bool = False,
    personal: str | PathLike[str] | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    **passing: Any,
) -> "Session | Node":
    """A session that answers, from a bundle file, a folder, or the name of an installed bundle; with ``upstream``, a node.

    trust: a trust root, or the path of one; by default the user's own (``EDGEWISE_HOME/root.json``).
    require: clauses that must hold on this device (see ``Requirements``), for instance ``{"max_p95_ms": 5}``.
    unsafe_no_verification: load a bundle that nobody we trust has signed. Its model then runs with your rights.
    personal: a file that ``Session.trainer().save`` wrote: answer with those weights, by onnxruntime on the CPU.

    upstream: who is asked where the device is not sure: an address (https://HOST/v2/models/NAME, grpcs://HOST:PORT/NAME,
    https://HOST/v1#MODEL, https://HOST/ai/run/MODEL), another bundle, a node, a session, or a function of the inputs. What is kept
    is said by the bundle's calibration (`edgewise calibrate`), and inputs leave this machine only for it. With it:
    deadline: seconds that a call may take. audit: share of what is kept that is compared with upstream, by the way; 0: none.
    learn: points that may be lost, for a bundle without calibration: everything is passed on until upstream's answers say what
    may be kept. report: called where a promise broke or a threshold was learnt. tier: what this node is ("gateway").
    unsafe_plain_http: an address of another machine may be plain http.

    progress: called with (what, done, in all) while a first load measures.

    The first load on a device measures every variant and provider and replays the golden set; the choice is kept and
    made again when the bundle, an engine's version or the device changes.

    Raises NotFoundError; HostileBundleError for a malformed bundle; SignatureError for one that is not signed by a trusted
    key; RequirementError, with the reason for each candidate, where no variant is right and meets the requirements;
    MismatchError where the personal weights were learnt with another training step than this bundle's; CalibrationError where
    an upstream is named and no calibration of the bundle's own says what may be kept.
    """
    place = home if isinstance(home, Home) else Home(Path(home)) if home is not None else Home.default()
    demanded = require if isinstance(require, Requirements) else Requirements.parse(require or {})
    path = find_bundle(str(ref), place)
    bundle, verification = open_verified(path, trust, place, unsafe_no_verification=unsafe_no_verification)
    opening = _Opening(bundle, path, verification, place, progress)
    if upstream is not None:
        if personal is not None:
            raise InputError(
                "a calibration is of the variants as they were published, and personal weights are none of them",
                remedy="Load with either upstream or personal.",
            )
        # Deferred: a device that asks nobody never imports what asks.
        from edgewise.compose.nodes import load_node  # noqa: PLC0415

        options = {"trust": trust, "home": place, "unsafe_no_verification": unsafe_no_verification}
        return load_node(bundle, verification, place, demanded, opening.open, upstream, passing, options)
    if passing:
        raise InputError(
            f"{', '.join(passing)}: nobody is asked, so this says nothing", remedy="Name an upstream, or leave it out."
        )
    if personal is not None:
        return _open_personal(bundle, Path(personal), demanded)
    return opening.open(demanded)


@dataclass(frozen=True, slots=True)
class _Opening:
    """What is needed to open variants of one verified bundle."""

    bundle: Bundle
    path: Path
    verification: Verification | None
    home: Home
    progress: Callable[[str, int, int], None]

    def open(self, require: Requirements, also: tuple[str, ...] = ()) -> Session:
        """By the choice that was kept for these requirements, or is made now. also: outputs beyond the interface."""
        bundle, home, device = self.bundle, self.home, read_device()
        known = read_choice(bundle, require, home, device, self.verification)
        if known is not None:
            try:
                return open_chosen(bundle, known, require, home, device, also)
            except EdgewiseError:
                pass  # what was chosen no longer opens here: choose again, which says why if nothing does
        # Deferred: everything that measures. A device that has made its choice never imports it.
        from edgewise.compose.choosing import choose_and_keep  # noqa: PLC0415

        chosen = choose_and_keep(bundle, self.path, require, home, device, self.verification, self.progress)
        return open_chosen(bundle, (chosen.candidate, chosen.reason), require, home, device, also)


def _open_personal(bundle: Bundle, path: Path, require: Requirements) -> Session:
    if require != Requirements():
        raise InputError(
            "requirements choose among the variants as they were published, and personal weights are none of them",
            remedy="Load with either require or personal.",
        )
    # Deferred: a device that only answers never imports what learns.
    from edgewise.compose.learning import open_personal  # noqa: PLC0415

    return open_personal(bundle, path)


def _teach(bundle: Bundle) -> Teach:
    def teach(variant: str, *, budget: int | None, threads: int | None, frugal: bool | None) -> "PersonalTrainer":
        from edgewise.compose.learning import open_trainer  # noqa: PLC0415  (as above)

        return open_trainer(bundle, variant, budget=budget, threads=threads, frugal=frugal)

    return teach


def open_verified(
    path: Path, trust: str | PathLike[str] | TrustRoot | None, home: Home, *, unsafe_no_verification: bool = False
) -> tuple[Bundle, Verification | None]:
    """The bundle at ``path`` and what was proven about it; None where verification was switched off."""
    bundle = open_path(path)
    if unsafe_no_verification:
        return bundle, None
    return bundle, verify_bundle(bundle, read_trust(trust, home))


def read_trust(trust: str | PathLike[str] | TrustRoot | None, home: Home) -> TrustRoot:
    """The trust root that ``trust`` means; by default the user's own. Raises SignatureError where there is none yet."""
    if isinstance(trust, TrustRoot):
        return trust
    if trust is None and not home.trust_root.exists():
        raise SignatureError(
            f"there is no trust root at {home.trust_root}, so no signature can be checked",
            remedy="Make a key with `edgewise key new`, or trust a publisher's with `edgewise key trust FILE.pub`.",
        )
    return read_root(Path(trust) if trust is not None else home.trust_root)


def open_chosen(
    bundle: Bundle,
    chosen: tuple[Candidate, str],
    require: Requirements,
    home: Home,
    device: DeviceFacts,
    also: tuple[str, ...] = (),
) -> Session:
    """A session for a choice that was made; where a provider is required, its placement is proven for this very session."""
    candidate, reason = chosen
    proven = bool(require.provider)
    session = open_candidate(
        bundle,
        candidate,
        home=home,
        device=device,
        record_placement=proven,
        reason=reason,
        teach=_teach(bundle),
        also=also,
    )
    if proven:
        try:
            require.check_placement(session.placement(), candidate.variant)
        except EdgewiseError:
            session.close()
            raise
    return session
