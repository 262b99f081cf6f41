"""Making a choice: what ``measure`` needs, handed to it, and the result kept."""

import sys
from collections.abc import Callable
from pathlib import Path

from edgewise.bundle.bundle import Bundle
from edgewise.clock import SystemClock
from edgewise.compose.choices import write_choice
from edgewise.compose.receipts import believed_receipts
from edgewise.measure.choice import Choice, choose
from edgewise.measure.demands import too_inaccurate
from edgewise.measure.memory import peak_memory
from edgewise.runtime.device import DeviceFacts
from edgewise.runtime.requirements import Requirements
from edgewise.store.home import Home
from edgewise.trust.verification import Verification

__all__ = ["choose_and_keep"]


def choose_and_keep(
    bundle: Bundle,
    path: Path,
    require: Requirements,
    home: Home,
    device: DeviceFacts,
    verification: Verification | None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Choice:
    """Measure every candidate, choose, keep the choice. ``path`` is where the bundle lies, for measuring processes."""
    receipts = believed_receipts(bundle, verification)
    variants = [variant.name for variant in bundle.document.variants]
    choice = choose(
        bundle,
        require,
        home=home,
        device=device,
        clock=SystemClock(),
        peak_memory=lambda candidate: peak_memory(path, candidate, home, sys.executable).peak,
        too_inaccurate=too_inaccurate(receipts, variants, require.max_metric_drop),
        progress=progress,
    )
    write_choice(
        bundle,
        require,
        home,
        device,
        verification,
        choice.candidate,
        choice.reason,
        [trial.to_json() for trial in choice.trials],
    )
    return choice
