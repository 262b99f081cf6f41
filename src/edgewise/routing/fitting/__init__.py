"""Which variant, which rule and which threshold cost least under a promise: one choice, made on recorded answers. Pure."""

from edgewise.routing.fitting.choosing import calibrate
from edgewise.routing.fitting.recording import calibration_of
from edgewise.routing.fitting.types import Calibrated, Cost, Curve, Fit, Point, Recorded, Stage, Wanted
from edgewise.routing.fitting.watching import watching

__all__ = [
    "Calibrated",
    "Cost",
    "Curve",
    "Fit",
    "Point",
    "Recorded",
    "Stage",
    "Wanted",
    "calibrate",
    "calibration_of",
    "watching",
]
