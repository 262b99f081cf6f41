#!/usr/bin/env python3
"""Writes the pages that follow from the code (command line, errors) and puts benchmark tables into the README; --check compares."""

import inspect
import os
import re
import sys
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path

os.environ["COLUMNS"] = "100"
os.environ["NO_COLOR"] = "1"

from edgewise import errors
from edgewise.cli.main import COMMANDS, build_parser

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Written by scripts/write_docs.py; change the code, then run `make docs`. -->\n"
TABLE = re.compile(r"(<!-- table: (?P<file>[\w./-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> int:
    pages = {ROOT / "docs" / "cli.md": cli_page(), ROOT / "docs" / "errors.md": errors_page()}
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        if path not in pages:
            pages[path] = with_tables(path.read_text())
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"error: {path.relative_to(ROOT)} is not what the code says; run `make docs`")
        return 1 if stale else 0
    for path in stale:
        path.write_text(pages[path])
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


def cli_page() -> str:
    parser = build_parser()
    parts = [NOTE, "# Command line\n", _block(parser.format_help())]
    for name, command in _subcommands(parser):
        if name in COMMANDS:
            parts += [f"## edgewise {name}\n", _block(command.format_help())]
            parts += [
                f"### edgewise {name} {action}\n\n{_block(nested.format_help())}"
                for action, nested in _subcommands(command)
            ]
    return "\n".join(parts)


def errors_page() -> str:
    parts = [NOTE, "# Errors\n", inspect.cleandoc(errors.__doc__ or "").split("\n\n")[0] + "\n"]
    parts.append(
        "The command line prints `error[CODE]: what` and `fix: what to do`. Exit codes: 0 done, 1 your input, 2 usage, "
        "3 the other side or the way there, 4 refused by policy or by verification.\n"
    )
    for error in sorted(walk(errors.EdgewiseError), key=lambda item: item.code):
        words = inspect.cleandoc(error.__doc__ or "")
        parts.append(
            f"## {error.code} {error.__name__}\n\n{words}\n\nExit code {error.exit_code}. Fix: {error.default_remedy}\n"
        )
    return "\n".join(parts)


def walk(error: type[errors.EdgewiseError]) -> Iterator[type[errors.EdgewiseError]]:
    yield error
    for child in error.__subclasses__():
        yield from walk(child)


def with_tables(text: str) -> str:
    def fill(match: re.Match[str]) -> str:
        path = ROOT / match["file"]
        return match[1] + path.read_text().strip() + "\n" + match[3] if path.exists() else match[0]

    return TABLE.sub(fill, text)


def _subcommands(parser: ArgumentParser) -> Iterator[tuple[str, ArgumentParser]]:
    for action in parser._actions:  # noqa: SLF001  (argparse offers no other way to walk its commands)
        if isinstance(action, _SubParsersAction):
            yield from action.choices.items()


def _block(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```\n"


if __name__ == "__main__":
    sys.exit(main())
