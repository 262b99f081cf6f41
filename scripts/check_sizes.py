#!/usr/bin/env python3
"""Files and functions that have grown too long. Prints those past the aim, fails for those past the hard limit."""

import ast
import subprocess
import sys
from pathlib import Path

FILE_AIM, FILE_LIMIT = 400, 600  # lines
FUNCTION_LIMIT = 60  # lines
SWALLOWING = ("Exception", "BaseException")


def main() -> int:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.py"], capture_output=True, text=True, check=True
    )
    faults: list[str] = []
    for path in map(Path, listed.stdout.split()):
        if not path.exists():
            continue
        text = path.read_text()
        lines = text.count("\n")
        if lines > FILE_AIM:
            print(f"note: {path} has {lines} lines; files are split before {FILE_AIM}")
        if lines > FILE_LIMIT:
            faults.append(f"{path} has {lines} lines; the limit is {FILE_LIMIT}")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LIMIT:
                    faults.append(f"{path}:{node.lineno} {node.name} has {length} lines; the limit is {FUNCTION_LIMIT}")
            if isinstance(node, ast.ExceptHandler) and _swallows(node):
                faults.append(f"{path}:{node.lineno} swallows every error without a word")
    for fault in faults:
        print(f"error: {fault}")
    return 1 if faults else 0


def _swallows(node: ast.ExceptHandler) -> bool:
    broad = node.type is None or (isinstance(node.type, ast.Name) and node.type.id in SWALLOWING)
    return broad and all(isinstance(item, ast.Pass) for item in node.body)


if __name__ == "__main__":
    sys.exit(main())
