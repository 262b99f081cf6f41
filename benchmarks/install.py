"""What the core install puts on a device beside numpy and onnxruntime, in bytes on disk."""

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.page import write_page

ROOT = Path(__file__).resolve().parent.parent
_SCRIPT = """
import json, re
from importlib.metadata import distribution, PackageNotFoundError
def closure(name, seen):
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in seen: return
    try: found = distribution(name)
    except PackageNotFoundError: return
    seen[key] = sum(found.locate_file(f).stat().st_size for f in found.files or [] if found.locate_file(f).is_file())
    for need in found.requires or []:
        if "extra ==" not in need: closure(re.match(r"[A-Za-z0-9._-]+", need)[0], seen)
given = {}
for name in ("numpy", "onnxruntime"): closure(name, given)
ours = {}; closure("edgewise", ours)
print(json.dumps({"given": given, "more": {k: v for k, v in ours.items() if k not in given}}))
"""


def run() -> str:
    import json
    import sys

    with TemporaryDirectory() as name:
        venv = Path(name) / "venv"
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        pip = [
            str(venv / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            str(ROOT),
        ]
        subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
        sizes = json.loads(subprocess.check_output([str(venv / "bin" / "python"), "-c", _SCRIPT]))
    rows = [(name, f"{size / 1e6:.2f}") for name, size in sorted(sizes["more"].items(), key=lambda item: -item[1])]
    rows.append(("**together, beside numpy and onnxruntime**", f"**{sum(sizes['more'].values()) / 1e6:.2f}**"))
    rows.append(("numpy, onnxruntime and what they need", f"{sum(sizes['given'].values()) / 1e6:.1f}"))
    return write_page(
        "install",
        ("package", "MB on disk"),
        rows,
        "A fresh environment with `pip install .`, compiled caches included.",
    )
