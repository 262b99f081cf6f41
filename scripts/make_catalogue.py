#!/usr/bin/env python3
"""Makes src/edgewise/net/catalogue.json from a folder of data sets, each with an ORIGIN.txt; every digest is checked on the way.

    python scripts/make_catalogue.py FOLDER

A file has a URL where it is, byte for byte, a file of its origin at the stated commit; UNCHANGED says which those are.
What was made from its origin has none, and says how it was made.
"""

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "src" / "edgewise" / "net" / "catalogue.json"
DIGITS = ROOT / "src" / "edgewise" / "digits"

# Set -> (title, what for, licence in short, how its files without a URL were made).
ABOUT = {
    "activity_st_har": (
        "Wearable activity (STMicroelectronics)", "activity recognition from acceleration", "BSD-3-Clause",
        "st_har_26hz_int16.npz: the csv files as int16, one after the other, with offsets",
    ),
    "assistant_clinc150": ("CLINC150 assistant intents", "text intents, and when not to answer", "CC BY 3.0", ""),
    "behaviour_movietweetings": (
        "MovieTweetings", "recommendation from behaviour", "MIT",
        "ratings_first80k.dat: the earliest 80,000 lines of snapshots/100K/ratings.dat, in the order of time",
    ),
    "defects_pcb": (
        "DeepPCB", "defects on printed circuit boards", "MIT",
        (
            "deeppcb_boards_1bit.npz: all boards, thresholded at 127, packed to bits; deeppcb_patches64.npz: crops of 64x64 "
            "pixels on defects and beside them"
        ),
    ),
    "digits": (
        "UCI handwritten digits", "image classification; built in", "CC BY 4.0; models Apache-2.0",
        "digits.npz: a split of scikit-learn's load_digits; models: scripts/train_digits.py",
    ),
    "model_kws_dscnn": (
        "MLPerf Tiny keyword spotting", "pretrained: keywords from MFCC", "Apache-2.0; features: none stated",
        (
            "kws_ds_cnn_fp32.onnx: original_saved_model through tf2onnx; kws01_accuracy_set_1000.npz: datasets/kws01 of the "
            "second origin"
        ),
    ),
    "model_lm_stories260k": (
        "stories260K", "pretrained: a tiny language model", "none stated for the weights; code MIT",
        "golden_greedy.txt: the greedy continuation that doc/stories260K.md of the second origin prints",
    ),
    "model_vad_silero": (
        "Silero VAD", "pretrained: streaming voice activity", "MIT",
        "golden_probabilities.npy: silero_vad.onnx on every frame of test.wav, by onnxruntime",
    ),
    "model_vision_mobilenet": (
        "MobileNet v2 and Visual Wake Words", "pretrained: image classification, person detection",
        "Apache-2.0; images CC BY 2.0, CC BY 3.0, public domain",
        (
            "images/*.png: the origin's bmp files, encoded without loss; vww_96_fp32.onnx: vww_96.h5 of the second origin "
            "through tf2onnx; golden_predictions.json: what the models answer; LICENSE: the text of Apache-2.0"
        ),
    ),
    "speech_digits": (
        "Free Spoken Digit Dataset", "spoken digits", "CC BY-SA 4.0",
        (
            "fsdd_8khz_int16.npz: the 3,000 wav files decoded to int16, one after the other, with offsets; speakers.json: from "
            "metadata.py"
        ),
    ),
}  # fmt: skip

_HAR = "AI_resources/HAR"
_TINY = "benchmark/training"
_KWS = f"{_TINY}/keyword_spotting/trained_models"

# Set -> [(pattern of the path here, index of the ORIGIN, path there)].
UNCHANGED: dict[str, list[tuple[str, int, str]]] = {
    "activity_st_har": [
        (r"originals/(.+\.csv)", 0, rf"{_HAR}/dataset/\1"),
        (r"model_st_reference\.h5", 0, f"{_HAR}/model.h5"),
        (r"LICENSE", 0, f"{_HAR}/dataset/LICENSE"),
        (r"LICENSE\.components\.md", 0, f"{_HAR}/LICENSE.md"),
    ],
    "assistant_clinc150": [(r"(data_full|data_small|domains)\.json", 0, r"data/\1.json"), (r"LICENSE", 0, "LICENSE")],
    "behaviour_movietweetings": [(r"movies\.dat", 0, "snapshots/100K/movies.dat"), (r"LICENSE", 0, "LICENSE")],
    "defects_pcb": [
        (r"originals/(\d{5})(\d{3}_(?:test|temp)\.jpg)", 0, r"PCBData/group\1/\1/\1\2"),
        (r"originals/(\d{5})(\d{3}\.txt)", 0, r"PCBData/group\1/\1_not/\1\2"),
        (r"LICENSE", 0, "LICENSE"),
    ],
    "digits": [],
    "model_kws_dscnn": [
        (r"kws_ref_model_int8\.tflite", 0, f"{_KWS}/kws_ref_model.tflite"),
        (r"original_saved_model/(.+)", 0, rf"{_KWS}/kws_ref_model/\1"),
        (r"LICENSE\.md", 0, "LICENSE.md"),
    ],
    "model_lm_stories260k": [
        (r"(stories260K|tok512)\.bin", 0, r"data/\1.bin"),
        (r"LICENSE\.llama2\.c", 1, "LICENSE"),
    ],
    "model_vad_silero": [
        (r"(silero_vad\w*\.onnx)", 0, r"src/silero_vad/data/\1"),
        (r"test\.wav", 0, "tests/data/test.wav"),
        (r"LICENSE", 0, "LICENSE"),
    ],
    "model_vision_mobilenet": [
        (r"images/(.+\.jpg)", 0, r"\1"),
        (r"(mobilenet_v2_1\.0_224_quant\.tflite|imagenet_labels\.txt)", 0, r"\1"),
        (r"COPYRIGHT\.images", 0, "COPYRIGHT"),
        (r"vww_96_int8\.tflite", 1, f"{_TINY}/visual_wake_words/trained_models/vww_96_int8.tflite"),
    ],
    "speech_digits": [(r"originals/(.+\.wav)", 0, r"recordings/\1")],
}

_FILE = re.compile(r"^ +([0-9a-f]{64}) +(\d+) +(\S+)$", re.MULTILINE)
_SUM = re.compile(r"^([0-9a-f]{64})  (\S+)$", re.MULTILINE)
_ORIGIN = re.compile(r"repository: https://github\.com/(\S+)\n +commit: +([0-9a-f]{40})")


def read_set(folder: Path, name: str) -> dict[str, Any]:
    text = (folder / "ORIGIN.txt").read_text(encoding="utf-8")
    origins = _ORIGIN.findall(text)
    stated = {path: sha for sha, _, path in _FILE.findall(text)}
    sums = folder / "SHA256SUMS"
    if sums.exists():
        stated |= {path: sha for sha, path in _SUM.findall(sums.read_text(encoding="utf-8"))}
    stated.pop("ORIGIN.txt", None)
    title, use, licence, made = ABOUT[name]
    return {
        "name": name,
        "title": title,
        "use": use,
        "licence": licence,
        "built_in": folder == DIGITS,
        "made": made,
        "origins": [{"repository": f"https://github.com/{repo}", "commit": commit} for repo, commit in origins],
        "files": [_entry(folder, name, path, sha, origins) for path, sha in sorted(stated.items())],
    }


def _entry(folder: Path, name: str, path: str, sha: str, origins: list[tuple[str, str]]) -> dict[str, Any]:
    data = (folder / path).read_bytes()
    if hashlib.sha256(data).hexdigest() != sha:
        sys.exit(f"error: {folder / path} is not what ORIGIN.txt says")
    entry = {"path": path, "bytes": len(data), "sha256": sha}
    for pattern, index, there in UNCHANGED[name]:
        if found := re.fullmatch(pattern, path):
            repository, commit = origins[index]
            entry["url"] = f"https://raw.githubusercontent.com/{repository}/{commit}/{quote(found.expand(there))}"
    return entry


def write(sets: list[dict[str, Any]]) -> None:
    """JSON with one line for each file, so that a change shows as one line."""
    blocks = []
    for item in sets:
        files = ",\n".join(f"   {json.dumps(file)}" for file in item["files"])
        head = json.dumps({key: value for key, value in item.items() if key != "files"}, ensure_ascii=False)
        blocks.append(f'  {head[:-1]}, "files": [\n{files}\n  ]}}')
    TARGET.write_text('{"sets": [\n' + ",\n".join(blocks) + "\n]}\n", encoding="utf-8")


def main() -> int:
    if len(sys.argv) != 2:
        sys.exit("usage: make_catalogue.py FOLDER")
    folders = [path.parent for path in sorted(Path(sys.argv[1]).glob("*/ORIGIN.txt"))]
    sets = [read_set(folder, folder.name) for folder in folders] + [read_set(DIGITS, "digits")]
    write(sorted(sets, key=lambda item: item["name"]))
    for item in sorted(sets, key=lambda item: item["name"]):
        with_url = sum("url" in file for file in item["files"])
        print(f"{item['name']}: {len(item['files'])} files, {with_url} of them at their origin")
    return 0


if __name__ == "__main__":
    sys.exit(main())
