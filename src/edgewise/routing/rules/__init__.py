"""Deferral rules, for every task: from what a model said to how sure it is, what a calibration stores of one, how to read it."""

from edgewise.routing.rules.kinds import KINDS, Kind, default_rule, rules_for
from edgewise.routing.rules.reading import read_rule
from edgewise.routing.rules.source import NOT_SURE, Source

__all__ = ["KINDS", "NOT_SURE", "Kind", "Source", "default_rule", "read_rule", "rules_for"]
