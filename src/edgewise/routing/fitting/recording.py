"""From what was fitted to what is stored of it."""

from collections.abc import Mapping
from typing import Any

from edgewise.routing.calibration import Against, Calibration, Then
from edgewise.routing.fitting.types import Fit

__all__ = ["calibration_of"]


def calibration_of(
    fit: Fit, *, data: Mapping[str, Any], against: Against, measured_at: str, chosen: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> Calibration:  # fmt: skip
    """The record of a fit, of a cascade as well: one for all its variants, since its promise is one.

    data: name and digest of the samples; how many chose and how many the promise rests on is added. against: the upstream whose
    answers they were. measured_at: UTC, as ``Clock.timestamp`` gives it. chosen: whether a device that may choose starts here.
    """
    first, *rest = fit.stages
    counted = {"samples": fit.samples, "choosing": fit.selected} | ({"blocks": fit.blocks} if fit.blocks else {})
    return Calibration(
        variant=first.variant, rule=first.rule, threshold=first.threshold, epsilon=fit.promise.epsilon, delta=fit.promise.delta,
        loss=fit.loss, test=fit.test, offload=fit.chosen.offload, lost=fit.chosen.lost, oracle=fit.oracle.offload,
        data={**data, **counted}, against=against, measured_at=measured_at, by_group=first.by_group,
        then=tuple(Then(stage.variant, stage.rule, stage.threshold, stage.by_group) for stage in rest), chosen=chosen,
        cost={"expected": fit.cost, **fit.parts}, extra=extra or {},
    )  # fmt: skip
