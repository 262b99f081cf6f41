"""`edgewise run`: answers for files."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.cli.options import add_requirements, add_trust, read_requirements
from edgewise.cli.output import Progress, add_json, print_error, print_json, table, unit_ms
from edgewise.clock import SystemClock
from edgewise.compose.decoding import decode_file
from edgewise.compose.loading import load
from edgewise.errors import EdgewiseError
from edgewise.runtime.answer import Answer
from edgewise.runtime.session import Origin, Session

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
    add_requirements(parser)
    add_trust(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    progress = Progress()
    try:
        session = load(
            options.bundle,
            trust=options.trust,
            require=read_requirements(options),
            unsafe_no_verification=options.unsafe_no_verification,
            progress=progress,
        )
    finally:
        progress.close()
    with session:
        results, code = _answers(session, options.inputs, options.json)
        if results and not options.json:
            _print(session.origin, results)
    return code


def _answers(session: Session, paths: list[Path], as_json: bool) -> tuple[list[Result], int]:
    """Answers for the files that can be answered; the others are told on stderr, and the first of them sets the exit code."""
    clock, code = SystemClock(), 0
    results: list[Result] = []
    shown: list[dict[str, Any]] = []
    for path in paths:
        try:
            inputs = decode_file(path, session.document)
            start = clock.seconds()
            answer = session.predict(inputs)
            taken = (clock.seconds() - start) * 1000
        except EdgewiseError as error:
            print_error(error)
            code = code or error.exit_code
            shown.append({"input": str(path), "error": {"code": error.code, "what": error.what, "fix": error.remedy}})
            continue
        results.append((path, answer, taken))
        shown.append({"input": str(path), **answer.to_json(), "reason": session.origin.reason, "ms": taken})
    if as_json:
        print_json(shown)
    return results, code


def _print(origin: Origin, results: list[Result]) -> None:
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


def _listed(value: Any) -> str:
    """One value, or one for each of a batch."""
    if isinstance(value, list):
        rest = f", ... ({len(value)} in all)" if len(value) > _SHOWN_VALUES else ""
        return ", ".join(map(_listed, value[:_SHOWN_VALUES])) + rest
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


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
