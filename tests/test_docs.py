"""Every snippet of README and docs is run as a user would run it; pages that follow from the code are current."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md")) + sorted((ROOT / "spec").glob("*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
RUN, SHOWN = ("bash", "python"), ("text", "json")
BANNED = re.compile(r"\b(issue \d|this session|the session's work|TODO|FIXME)\b", re.IGNORECASE)


def blocks(path: Path) -> list[tuple[str, str]]:
    return [(match[1], match[2]) for match in FENCE.finditer(path.read_text())]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_snippets_are_of_a_kind_that_is_checked(path: Path) -> None:
    for language, text in blocks(path):
        assert language in (*RUN, *SHOWN), f"{path.name} has a block of {language or 'no language'}"
        if language == "json":
            json.loads(text)
    assert not BANNED.search(path.read_text())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize(
    "path", [p for p in PAGES if any(b[0] in RUN for b in blocks(p))], ids=lambda p: str(p.relative_to(ROOT))
)
def test_snippets_run_in_order_as_written(path: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    # A page that fetches public sets runs where they are already.
    sets = str(request.getfixturevalue("shared_data")) if "edgewise data get" in path.read_text() else ""
    work = tmp_path / "work"
    work.mkdir()
    shutil.copytree(ROOT / "examples", work / "examples")
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        **os.environ, "HOME": str(home), "EDGEWISE_HOME": str(home / ".edgewise"), "COLUMNS": "100",
        **({"EDGEWISE_DATA": sets} if sets else {}),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    for number, (language, text) in enumerate(blocks(path)):
        if language not in RUN:
            continue
        if language == "bash":
            # What builds the environment is looked at without being run again: this test runs inside of it.
            script = re.sub(r"^make (\S+).*$", rf"make -n -C '{ROOT}' \1 >/dev/null", text, flags=re.MULTILINE)
            command = ["bash", "-euo", "pipefail", "-c", script]
        else:
            command = [sys.executable, "-W", "error", "-c", text]
        done = subprocess.run(
            command, cwd=work, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, (
            f"{path.name}, block {number}:\n{text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        )


def test_generated_pages_are_current() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "write_docs.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
