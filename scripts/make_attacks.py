"""Writes spec/attacks: hostile inputs, and verdicts.json with the error that each of them must get.

    python scripts/make_attacks.py [FOLDER]

Archives are mostly zeros, so they are stored gzipped: a reader of the attacks unpacks NAME.bundle.gz before it tries NAME.bundle.
The output depends on nothing but these scripts, the format and zlib, so a test runs it again and compares.
"""

import gzip
import json
import sys
from dataclasses import replace
from pathlib import Path

from attacks.archives import archive_attacks
from attacks.arrays import array_attacks
from attacks.calibrations import calibration_attacks
from attacks.derivations import derivation_attacks
from attacks.documents import document_attacks
from attacks.evidence import evidence_attacks
from attacks.training import training_attacks
from edgewise.testing.sample_bundles import sample_root

DEFAULT = Path(__file__).resolve().parent.parent / "spec" / "attacks"
_PACKED = ("bundle", "calibrated")
_SUFFIX = {"bundle": ".bundle.gz", "calibrated": ".bundle.gz", "dataset": ".npz", "arrays": ".safetensors"}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "root.json").write_bytes(sample_root().to_bytes())
    of_two = replace(sample_root(), threshold={"release": 2, "receipt": 1})
    (folder / "root-of-two.json").write_bytes(of_two.to_bytes())
    verdicts: dict[str, dict[str, str | None]] = {}
    made = (archive_attacks, document_attacks, derivation_attacks, evidence_attacks, array_attacks, training_attacks,
            calibration_attacks)  # fmt: skip
    for attack in (attack for make in made for attack in make()):
        if attack.name in verdicts:
            raise ValueError(f"two attacks are called {attack.name}")
        path = folder / attack.kind / (attack.name + _SUFFIX.get(attack.kind, ".json"))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(attack.data, mtime=0) if attack.kind in _PACKED else attack.data)
        verdict = {"file": f"{attack.kind}/{path.name}", "kind": attack.kind, "code": attack.code, "rule": attack.rule}
        verdicts[attack.name] = (
            verdict | {"why": attack.why} | ({"root": attack.root} if attack.kind in _PACKED else {})
        )
    text = json.dumps(verdicts, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / "verdicts.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT)
