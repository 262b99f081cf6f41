"""`edgewise run`: answers for files."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.cli.options import add_requirements, add_trust, read_requirements
from edgewise.cli.output import add_json, print_json, table, unit_ms
from edgewise.clock import SystemClock
from edgewise.compose.decoding import decode_file
from edgewise.compose.loading import load
from edgewise.runtime.answer import Answer

__all__ = ["register", "run"]

_SHOWN_VALUES = 8


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
    clock = SystemClock()
    results: list[tuple[Path, Answer, float]] = []
    with load(
        options.bundle,
        trust=options.trust,
        require=read_requirements(options),
        unsafe_no_verification=options.unsafe_no_verification,
    ) as session:
        for path in options.inputs:
            inputs = decode_file(path, session.document)
            start = clock.seconds()
            answer = session.predict(inputs)
            results.append((path, answer, (clock.seconds() - start) * 1000))
        if options.json:
            print_json([{"input": str(path), **answer.to_json(), "ms": taken} for path, answer, taken in results])
            return 0
        if session.origin.classifies:
            answers = [
                (path.name, answer.label, _score(answer), answer.variant, unit_ms(taken))
                for path, answer, taken in results
            ]
            table(answers, ("input", "answer", "score", "variant", "took"))
        else:
            rows = [(path.name, _values(answer), answer.variant, unit_ms(taken)) for path, answer, taken in results]
            table(rows, ("input", session.origin.decision, "variant", "took"))
        origin = session.origin
        print(f"answered on this {origin.tier} by {origin.engine} ({origin.provider}): {origin.reason}")
    return 0


def _score(answer: Answer) -> str:
    return (
        f"{answer.score:.3f}"
        if isinstance(answer.score, float)
        else ", ".join(f"{score:.3f}" for score in answer.score)
    )


def _values(answer: Answer) -> str:
    flat = np.asarray(answer.output).ravel()
    shown = ", ".join(
        f"{value:.4g}" if isinstance(value, float) else str(value) for value in flat[:_SHOWN_VALUES].tolist()
    )
    return shown + (f", ... ({flat.size} values)" if flat.size > _SHOWN_VALUES else "")
