"""`edgewise.load(ref, upstream=...)`: the stages of a node by their own calibrations, the way upstream, and the watch over both."""

import random
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.strict_json import dump_json, parse_json
from edgewise.clock import SystemClock
from edgewise.digests import digest_of, hex_of
from edgewise.errors import EdgewiseError, InputError
from edgewise.records import dataclass
from edgewise.routing.calibration import Calibration
from edgewise.routing.egress import NamedAlone
from edgewise.routing.guard import Guard, Report
from edgewise.routing.link import Link
from edgewise.routing.losses import judge_for
from edgewise.routing.node import Node
from edgewise.routing.rules import read_rule
from edgewise.routing.stage import Stage
from edgewise.routing.upstream import Upstream
from edgewise.routing.watch.stored import read_watch, watch_to_json
from edgewise.routing.watch.widen import Terms, Watch, begin_watch
from edgewise.runtime.session import Session
from edgewise.store.files import read_bounded, write_bytes
from edgewise.store.home import Home

__all__ = ["Passing", "open_node"]

_STATE = 1 << 26  # bytes of a kept watch


@dataclass(frozen=True, slots=True)
class Passing:
    """How a node passes on. deadline: seconds of a call. tier: what it is. audit: share of what is kept that is compared with
    upstream; 0: the promise is not watched. learn: points that may be lost, where the threshold is to be learnt here; None: by the
    bundle's calibration. report: told of a promise that broke, and of a threshold that was learnt.
    """

    deadline: float = 1.0
    tier: str = "device"
    audit: float = 0.02
    learn: float | None = None
    report: Callable[[Report], None] = lambda what: None


def open_node(
    bundle: Bundle,
    calibrations: "list[Calibration]",
    open_variant: Callable[[str], Session],
    upstream: Upstream,
    passing: Passing,
    home: Home,
) -> Node:
    """calibrations: of the stages in the order in which they are asked, each of its own variant; none where the threshold is to be
    learnt here. open_variant: the session of a variant by its name; "" for the one that is fastest here.

    Raises InputError where neither a calibration nor ``learn`` says what may be kept.
    """
    document, clock = bundle.document, SystemClock()
    if not calibrations and passing.learn is None:
        raise InputError(
            f"{bundle.ref} has no calibration, so nothing says what the device may keep",
            remedy="Calibrate it (`edgewise calibrate`), or let it learn from upstream's answers: learn=1.0 for one point.",
        )
    stages = [
        Stage(
            open_variant(item.variant),
            read_rule(item.rule, document.outputs),
            float("inf") if item.threshold is None else item.threshold,
            item.by_group,
        )
        for item in calibrations
    ] or [_learning(open_variant(""))]
    ident = f"{passing.tier}-{secrets.token_hex(8)}"
    labels = calibrations[-1].against.labels if calibrations else ()
    link = Link(upstream, NamedAlone(upstream.name), clock, node=ident, labels=labels or document.labels)
    guard = _guard(bundle, calibrations, stages, upstream, passing, home)
    return Node(stages, link, ident=ident, tier=passing.tier, deadline=passing.deadline, guard=guard, clock=clock)
