"""How a variant was made, told in a form that nobody asked for: it is printed, and must be bounded."""

import json
from collections.abc import Iterator
from typing import Any

from attacks.attack import Attack, hostile
from edgewise.testing.raw_layout import RawLayout
from edgewise.testing.sample_bundles import derived_bundle

__all__ = ["derivation_attacks"]


def derivation_attacks() -> Iterator[Attack]:
    yield _altered("object", "a derivation that is a text", None, "by hand")
    yield _altered("source", "a source that is no digest", "source", "original.onnx")
    yield _altered("no-steps", "nothing was done", "steps", [])
    yield _altered("many-steps", "more steps than 64", "steps", ["done"] * 65)
    yield _altered("step-escape", "a step that clears the terminal", "steps", ["\x1b[2J"])
    yield _altered("step-long", "a step of more than 1,024 characters", "steps", ["x" * 1025])
    yield _altered("step-number", "a step that is no text", "steps", [1])
    yield _altered("tool-escape", "a tool that clears the terminal", "tool", "\x9b2J")
    yield _altered("seed", "a seed that is no number", "seed", "0")
    yield _altered("epochs", "fewer epochs than none", "epochs", -1)
    yield _altered("many-data", "more data than 16 entries", "data", [{"use": "x", "samples": 1}] * 17)
    yield _altered(
        "data-digest", "data with a digest that is a path", "data", [{"use": "x", "samples": 1, "digest": "../x"}]
    )
    yield _altered("judged-list", "a judgement that is a list", "judged", [True])
    yield _altered("judged-half", "a judgement that does not say whether it passed", "judged", {"metric": "accuracy"})


def _altered(name: str, why: str, field: str | None, value: Any) -> Attack:
    document = RawLayout.of(derived_bundle()).document
    place, key = (document["variants"][1]["derivation"], field) if field else (document["variants"][1], "derivation")
    place[key] = value
    data = json.dumps(document, ensure_ascii=False).encode()
    return hostile(f"document-derivation-{name}", "document-malformed", why, data, "document")
