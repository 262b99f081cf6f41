"""`edgewise demo`: a big network made small, with nothing lost that counts, and all of it said."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgewise.cli.demo import print_forms
from edgewise.clock import SystemClock
from edgewise.compose.demo import digits_data, digits_model
from edgewise.compose.demo_compress import made_small
from edgewise.graph.inspect import read_model
from edgewise.store.bundles import open_path

# As where only the extras "pack" and "image" are installed.
WITHOUT = """
import sys
for name in ("matplotlib", "torch", "sklearn", "pyarrow", "onnxscript"):
    sys.modules[name] = None
from edgewise.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_the_small_network_loses_nothing_significant_and_needs_no_training_framework(tmp_path: Path) -> None:
    path = tmp_path / "digits.bundle"
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, "demo", "-o", str(path), "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert all(line.startswith("- ") for line in done.stderr.splitlines()), "no bar where nobody watches"
    big, *others = result["forms"]
    small = others[-1]
    assert [form["form"] for form in result["forms"]] == ["big", "distilled", "pruned", "int8"]
    assert small["verdict"]["passes"], small
    assert small["bytes"] <= big["bytes"] / 10
    variants = {variant.name: variant for variant in open_path(path).document.variants}
    assert {name: variant.precision for name, variant in variants.items()} == {"big": "fp32", "small": "int8"}
    assert (variants["big"].digest, variants["small"].digest) == (big["digest"], small["digest"])
    assert all(form["did"] in open_path(path).document.description for form in others)
    # What the receipts and the device's own choice say, image by image through `predict`, is what the table says.
    assert result["verified"]["passed"]
    measured = {item["variant"]: item["metrics"][0]["value"] for item in result["evaluations"]}
    assert measured["big"] == pytest.approx(big["accuracy"]["value"], abs=0.005)
    assert measured["small"] == pytest.approx(small["accuracy"]["value"], abs=0.005)
    assert result["accuracy"]["value"] == pytest.approx(measured[result["chosen"]], abs=0.005)
    assert result["accuracy"]["samples"] == 497


def test_the_table_has_a_row_for_each_form_and_a_sentence_below(capsys: pytest.CaptureFixture[str]) -> None:
    data = digits_data("train").take(np.arange(96))
    forms = made_small(read_model(digits_model("fp32").model), data, digits_data("calibration"), clock=SystemClock())
    print_forms(forms)
    *_, big, distilled, pruned, int8, sentence = capsys.readouterr().out.splitlines()
    for form, line in zip(forms, (big, distilled, pruned, int8), strict=True):
        assert line.split()[0] == form.name
        assert str(form.metric) in line
        if form.verdict is not None:
            assert f"{form.verdict.drop:+.2f}" in line
    assert f"1/{forms[0].size / forms[-1].size:.0f} of the bytes" in sentence
    assert "McNemar" in sentence
