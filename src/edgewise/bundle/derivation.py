"""How a variant was made from another model: what was done, on which data, and what it lost. Written by whoever made it.

It is part of the document, so the release covers it; it is a statement of the publisher and no measurement of a device: those are
receipts. A reader that knows nothing of it runs the variant all the same.
"""

import re
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any

from edgewise.bundle.fields import Form
from edgewise.records import dataclass

__all__ = ["DataUse", "Derivation", "Judgement", "read_data_use", "read_derivation"]

_WORDS = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,256}")  # no control characters: they are printed
_SENTENCE = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,1024}")
_STEPS = 64
_DATA = 16


@dataclass(frozen=True, slots=True)
class DataUse:
    """use: what the samples were for, in words. digest: of the samples, "" where it is not said. samples: how many."""

    use: str
    digest: str
    samples: int
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        value = {**self.extra, "use": self.use, "samples": self.samples}
        return value | ({"digest": self.digest} if self.digest else {})


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was lost against the source, and whether that was accepted, on samples held out.

    value: of ``metric``, of the variant. drop: points (hundredths) lost, of an error percent that it grew; ``allowed`` may be lost.
    test: its name. p_value: of a drop as large by chance, None where the test gives none. significant: it lost for sure.
    """

    metric: str
    value: float
    drop: float
    allowed: float
    test: str
    significant: bool
    passes: bool
    p_value: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        value = {
            **self.extra, "metric": self.metric, "value": self.value, "dropPoints": self.drop, "allowedPoints": self.allowed,
            "test": self.test, "significant": self.significant, "passes": self.passes,
        }  # fmt: skip
        return value | ({} if self.p_value is None else {"pValue": self.p_value})


@dataclass(frozen=True, slots=True)
class Derivation:
    """source: digest of the model file that it was made from. steps: what was done, in order, a sentence each.

    tool: what did it, with its version. seed, epochs: None where they are not said.
    """

    source: str
    steps: tuple[str, ...]
    tool: str = ""
    seed: int | None = None
    epochs: int | None = None
    data: tuple[DataUse, ...] = ()
    judged: Judgement | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def then(self, *steps: str) -> "Derivation":
        """The same with more steps."""
        return replace(self, steps=(*self.steps, *steps))

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {**self.extra, "source": self.source, "steps": list(self.steps)}
        optional = {
            "tool": self.tool or None, "seed": self.seed, "epochs": self.epochs,
            "data": [use.to_json() for use in self.data] or None, "judged": self.judged and self.judged.to_json(),
        }  # fmt: skip
        return value | {key: item for key, item in optional.items() if item is not None}


def read_derivation(form: Form) -> Derivation:
    """The derivation in the JSON object of ``form``; what is at fault is noted there."""
    steps = form.values(
        "steps",
        lambda step: isinstance(step, str) and _SENTENCE.fullmatch(step) is not None,
        "a text of 1 to 1,024 characters, none of them a control character,",
        limit=_STEPS,
    )
    if not steps:
        form.problem("steps", "at least one is needed")
    return Derivation(
        source=form.digest("source"),
        steps=tuple(steps),
        tool=form.text("tool", pattern=_WORDS, default=""),
        seed=_whole(form, "seed"),
        epochs=_whole(form, "epochs"),
        data=tuple(form.items("data", read_data_use, limit=_DATA, optional=True)),
        judged=form.child("judged", _read_judgement),
        extra=form.rest(),
    )


def _whole(form: Form, name: str) -> int | None:
    return None if form.anything(name) is None else form.integer(name)


def read_data_use(form: Form) -> DataUse:
    """One entry of ``data``; what is at fault is noted in ``form``."""
    digest = "" if form.anything("digest") is None else form.digest("digest")
    return DataUse(form.text("use", pattern=_WORDS), digest, form.integer("samples"), form.rest())


def _read_judgement(form: Form) -> Judgement:
    return Judgement(
        metric=form.text("metric", pattern=_WORDS),
        value=form.number("value"),
        drop=form.number("dropPoints"),
        allowed=form.number("allowedPoints", low=0),
        test=form.text("test", pattern=_WORDS),
        significant=_truth(form, "significant"),
        passes=_truth(form, "passes"),
        p_value=None if form.anything("pValue") is None else form.number("pValue", low=0, high=1),
        extra=form.rest(),
    )


def _truth(form: Form, name: str) -> bool:
    value = form.anything(name)
    if not isinstance(value, bool):
        form.problem(name, "true or false is needed")
    return value is True
