"""python place_litert.py FOLDER < names: one line of JSON for each, name -> operators with whether XNNPACK took them, or null."""

import json
import sys
from pathlib import Path

from edgewise.errors import EdgewiseError
from edgewise.runtime.engine import OpenOptions
from edgewise.runtime.litert_engine import XNNPACK, LiteRtEngine

for name in sys.stdin.read().splitlines():
    try:
        files = {name: (Path(sys.argv[1]) / f"{name}.tflite").read_bytes()}
        session = LiteRtEngine().open(files, OpenOptions(threads=1, record_placement=True))
        found = [(node.operator, node.provider == XNNPACK) for node in session.placement().nodes]
        session.close()
    except EdgewiseError:
        found = None
    print(json.dumps({name: found}), flush=True)
