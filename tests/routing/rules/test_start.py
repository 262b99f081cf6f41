"""What a node needs of its rules loads nothing that measures, trains or reads graphs."""

import subprocess
import sys

import pytest

from edgewise.routing.rules import KINDS

SCRIPT = """
import sys
from edgewise.routing import losses
from edgewise.routing.rules import kinds, read_rule
before = set(sys.modules)
kinds.load(sys.argv[1])
wrong = [name for name in sys.modules if name.split(".")[:2] in (["edgewise", "measure"], ["edgewise", "training"])
         or name.split(".")[0] in ("onnx", "urllib3", "onnxruntime")]
print(wrong)
print(sorted(name for name in set(sys.modules) - before if name.startswith("edgewise.routing.rules.")))
"""


@pytest.mark.parametrize("name", ["max-probability", "box-confidence", "with-scope"])
def test_a_node_loads_its_own_rule_and_nothing_that_measures(name: str) -> None:
    ran = subprocess.run([sys.executable, "-c", SCRIPT, name], capture_output=True, text=True, check=True)
    wrong, loaded = ran.stdout.splitlines()
    assert wrong == "[]"
    others = {kind.module for kind in KINDS.values()} - {KINDS[name].module}
    assert f"edgewise.routing.rules.{KINDS[name].module}" in loaded
    assert not [module for module in others if f"edgewise.routing.rules.{module}'" in loaded]
