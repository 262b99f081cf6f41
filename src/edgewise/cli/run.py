"""`edgewise run`: answers for files."""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewise.cli.options import add_requirements, add_trust, read_requirements
from edgewise.cli.output import Progress, add_json, print_error, print_json, table, unit_ms
from edgewise.clock import SystemClock
from edgewise.compose.decoding import decode_file
from edgewise.compose.loading import load
from edgewise.errors import EdgewiseError, InputError
from edgewise.runtime.answer import Answer
from edgewise.runtime.session import Origin, Session

if TYPE_CHECKING:
    from edgewise.routing.node import Node

__all__ = ["register", "run"]

_SHOWN_VALUES = 8
Result = tuple[Path, Answer, float]  # file, answer, milliseconds


def register(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "run",
        help="answer files (png, jpg, wav, csv, json, npy, npz) with a bundle",
        description="Answer files with a bundle. The first run on a device measures which variant is fastest here.",
    )
    parser.add_argument("bundle", metavar="NAME|FILE", help="an installed bundle's name, or a bundle file or folder")
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="files to answer")
    passing = parser.add_argument_group(
        "passing on", "what the device is not sure of; which inputs those are, the bundle's calibration says"
    )
    passing.add_argument(
        "--upstream", metavar="URL|FILE",
        help="who is asked: https://HOST/v2/models/NAME, grpcs://HOST:PORT/NAME, https://HOST/v1#MODEL, "
        "https://HOST/ai/run/MODEL, or a bundle (FILE.bundle#VARIANT); EDGEWISE_UPSTREAM_TOKEN has its token",
    )  # fmt: skip
    passing.add_argument(
        "--deadline", type=float, metavar="MS", help="milliseconds that an answer may take (default: 1000)"
    )
    passing.add_argument(
        "--learn", type=float, metavar="POINTS",
        help="for a bundle without calibration: pass everything on until upstream's answers say what may be kept, so that at most "
        "this many points are lost",
    )  # fmt: skip
    passing.add_argument(
        "--audit",
        type=float,
        metavar="PERCENT",
        help="of what is kept, compared with upstream all the same (default: 2)",
    )
    passing.add_argument(
        "--unsafe-plain-http", action="store_true", help="inputs may go to another machine without encryption"
    )
    add_requirements(parser)
    add_trust(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    progress = Progress()
    try:
        model = load(
            options.bundle,
            trust=options.trust,
            require=read_requirements(options),
            unsafe_no_verification=options.unsafe_no_verification,
            progress=progress,
            **_passing(options),
        )
    finally:
        progress.close()
    with model:
        results, code = _answers(model, options.inputs, options.json)
        if results and not options.json:
            _print(model.origin, results)
    return code


def _passing(options: argparse.Namespace) -> dict[str, Any]:
    """What ``load`` is told of upstream. Raises InputError for an option that says nothing without one."""
    given = {
        "deadline": options.deadline and options.deadline / 1000, "learn": options.learn,
        "audit": None if options.audit is None else options.audit / 100,
        "unsafe_plain_http": options.unsafe_plain_http or None,
    }  # fmt: skip
    told = {name: value for name, value in given.items() if value is not None}
    if options.upstream is None:
        if told:
            raise InputError(
                f"{', '.join(sorted(told))} says how inputs are passed on, and nobody is named to pass them to",
                remedy="Name an upstream: --upstream URL.",
            )
        return {}
    return {
        "upstream": options.upstream,
        "report": lambda what: print(f"note: {what.text}", file=sys.stderr, flush=True),
        **told,
    }


def _answers(model: "Session | Node", paths: list[Path], as_json: bool) -> tuple[list[Result], int]:
    """Answers for the files that can be answered; the others are told on stderr, and the first of them sets the exit code."""
    clock, code = SystemClock(), 0
    results: list[Result] = []
    shown: list[dict[str, Any]] = []
    for path in paths:
        try:
            inputs = decode_file(path, model.document)
            start = clock.seconds()
            answer = model.predict(inputs)
            taken = (clock.seconds() - start) * 1000
        except EdgewiseError as error:
            print_error(error)
            code = code or error.exit_code
            shown.append({"input": str(path), "error": {"code": error.code, "what": error.what, "fix": error.remedy}})
            continue
        results.append((path, answer, taken))
        shown.append({"input": str(path), **answer.to_json(), "reason": model.origin.reason, "ms": taken})
    if as_json:
        print_json(shown)
    return results, code


def _print(origin: Origin, results: list[Result]) -> None:
    if any(answer.route is not None for _, answer, _ in results):
        _print_routed(origin, results)
        return
    if origin.task == "classification":
        answers = [
            (path.name, _listed(answer.label), _listed(answer.score), answer.variant, unit_ms(taken))
            for path, answer, taken in results
        ]
        table(answers, ("input", "answer", "score", "variant", "took"))
    else:
        show = {"multilabel": _labels, "detection": _objects}.get(origin.task, _values)
        rows = [(path.name, show(answer), answer.variant, unit_ms(taken)) for path, answer, taken in results]
        table(rows, ("input", origin.decision, "variant", "took"))
    print(f"answered on this {origin.tier} by {origin.engine} ({origin.provider}): {origin.reason}")


def _print_routed(origin: Origin, results: list[Result]) -> None:
    """Who answered each, and why."""
    show = {"multilabel": _labels, "detection": _objects, "classification": _label}.get(origin.task, _values)
    rows = [
        (path.name, show(answer), _counted(answer.tier), _counted(answer.variant) or "-", _ranged(answer.confidence),
         unit_ms(taken), "degraded" if np.any(answer.degraded) else "")
        for path, answer, taken in results
    ]  # fmt: skip
    table(rows, ("input", "answer", "by", "variant", "confidence", "took", ""))
    routed = [answer for _, answer, _ in results]
    whole = sum(answer.rows for answer in routed)
    passed, marked = (sum(int(np.sum(getattr(answer, what))) for answer in routed) for what in ("deferred", "degraded"))
    print(f"{whole - passed} of {whole} answered on this {origin.tier}, {passed} upstream; {marked} degraded")
    for reason in sorted({str(why) for answer in routed for why in np.ravel(answer.why) if np.any(answer.degraded)}):
        print(f"degraded: {reason}")


def _counted(value: Any) -> str:
    """A name, or how often each comes in a batch."""
    if not isinstance(value, list):
        return str(value)
    return ", ".join(f"{name} {count}" for name, count in Counter(value).most_common())


def _ranged(value: Any) -> str:
    """One number, or the least and the largest of a batch."""
    return f"{min(value):.3f}..{max(value):.3f}" if isinstance(value, list) else _listed(value)


def _listed(value: Any) -> str:
    """One value, or one for each of a batch."""
    if isinstance(value, list):
        rest = f", ... ({len(value)} in all)" if len(value) > _SHOWN_VALUES else ""
        return ", ".join(map(_listed, value[:_SHOWN_VALUES])) + rest
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _label(answer: Answer) -> str:
    return _listed(answer.label)


def _labels(answer: Answer) -> str:
    found = answer.labels
    batch = found if found and isinstance(found[0], list) else [found]
    return "; ".join(", ".join(one) or "none" for one in batch)


def _objects(answer: Answer) -> str:
    found = answer.detections
    batch = found if found and isinstance(found[0], list) else [found]
    lines = [
        f"{item.label} {item.score:.2f} at {', '.join(f'{at:.4g}' for at in item.box)}" for one in batch for item in one
    ]
    return "\n".join(lines) or "nothing found"


def _values(answer: Answer) -> str:
    flat = np.asarray(answer.output).ravel()
    shown = ", ".join(
        f"{value:.4g}" if isinstance(value, float) else str(value) for value in flat[:_SHOWN_VALUES].tolist()
    )
    return shown + (f", ... ({flat.size} values)" if flat.size > _SHOWN_VALUES else "")
