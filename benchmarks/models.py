"""Public models, packed, evaluated and run: does each reproduce the figure that it was published with?

Needs the data sets that `edgewise data get` lists in the folder that EDGEWISE_DATA names.
"""

import json
import wave
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import edgewise
from benchmarks.bundles import SHARED
from benchmarks.page import write_page
from edgewise.bundle.tensors import StateSpec
from edgewise.clock import SystemClock
from edgewise.graph.answer import dequantize
from edgewise.graph.edit import freeze_input
from edgewise.graph.inspect import read_model
from edgewise.graph.join import prepend
from edgewise.importing.imported import ImportedModel
from edgewise.importing.onnx_file import import_onnx, onnx_from_bytes
from edgewise.importing.tflite_file import import_tflite
from edgewise.measure.dataset import Dataset
from edgewise.measure.latency import time_calls
from edgewise.measure.media import read_image
from edgewise.measure.metric import Metric
from edgewise.packing.pack import PackRequest, pack
from edgewise.runtime.engine import Array
from edgewise.runtime.session import Session
from edgewise.store.bundles import write_file
from edgewise.store.home import Home
from edgewise.trust.keys import PrivateKey
from edgewise.trust.root import TrustRoot

Row = tuple[str, str, str, str, str, str]
KWS, VISION, VAD = SHARED / "model_kws_dscnn", SHARED / "model_vision_mobilenet", SHARED / "model_vad_silero"


def run() -> str:
    if not KWS.is_dir():
        return f"skipped: the public models are not in {SHARED}; set EDGEWISE_DATA"
    rows: list[Row] = [*keyword_spotting(), *person_detection(), mobilenet(), voice_activity()]
    how = "Each packed, signed, verified, loaded and run through `edgewise.load`; latency of one answer, one thread."
    return write_page("models", ("model", "figure", "published", "here", "p50", "by"), rows, how)


def keyword_data() -> Dataset:
    """The official 1,000 samples of MLPerf Tiny, as int8 features."""
    arrays = np.load(KWS / "kws01_accuracy_set_1000.npz", allow_pickle=False)
    labels = tuple(map(str, arrays["class_names"]))
    return Dataset(arrays["x_int8"], arrays["y"].astype(np.int64), None, labels, "kws01-accuracy-1000")


def keyword_fp32() -> ImportedModel:
    """The fp32 network behind the dequantization of its int8 features: one graph from the raw features on."""
    arrays = np.load(KWS / "kws01_accuracy_set_1000.npz", allow_pickle=False)
    front = dequantize(float(arrays["scale"]), int(arrays["zero_point"]), "int8", ("batch", 49, 10, 1))
    model = prepend(front, read_model((KWS / "kws_ds_cnn_fp32.onnx").read_bytes()))
    return onnx_from_bytes("kws.onnx", model.SerializeToString())


def keyword_spotting() -> list[Row]:
    data = keyword_data()
    rows: list[Row] = []
    for name, model, published in (
        ("keyword spotting, fp32 ONNX", keyword_fp32(), 0.913),
        ("keyword spotting, int8 TFLite", import_tflite(KWS / "kws_ref_model_int8.tflite"), 0.902),
    ):
        with TemporaryDirectory() as folder:
            request = PackRequest(
                "kws", "1.0.0", {model.precision: model}, "classification", data.labels, evaluation=data
            )
            session, accuracy = packed(request, Path(folder))
            rows.append((name, "accuracy", f"{published:.3f}", str(accuracy), *speed(session, data.x[:1])))
    return rows


def person_detection() -> list[Row]:
    golden = json.loads((VISION / "golden_predictions.json").read_text())
    images = {name: image(name, 96) for name in golden}
    worst, model = 0.0, import_onnx(VISION / "vww_96_fp32.onnx")
    with TemporaryDirectory() as folder:
        session, _ = packed(PackRequest("vww", "1.0.0", {"fp32": model}, "classification"), Path(folder))
        for name, pixels in images.items():
            got = float(session.predict(pixels.astype(np.float32) / 255).output[1])
            worst = max(worst, abs(got - golden[name]["vww_person_probability"]))
        sample = np.zeros((1, 96, 96, 3), np.float32)
        return [
            (
                "person detection, fp32 ONNX",
                "worst difference on 9 photographs",
                "0",
                f"{worst:.4f}",
                *speed(session, sample),
            )
        ]


def mobilenet() -> Row:
    golden = json.loads((VISION / "golden_predictions.json").read_text())
    labels = tuple((VISION / "imagenet_labels.txt").read_text().splitlines())
    model = import_tflite(VISION / "mobilenet_v2_1.0_224_quant.tflite")
    with TemporaryDirectory() as folder:
        session, _ = packed(PackRequest("mobilenet", "1.0.0", {"int8": model}, "classification", labels), Path(folder))
        same = [
            label_of(session.predict(image(name, 224)).label) == entry["mobilenet_v2_top3"][0][0]
            for name, entry in golden.items()
        ]
        by = speed(session, image("cat.png", 224)[None])
        return ("MobileNet v2, int8 TFLite", "same first answer on 9 photographs", "9", str(sum(same)), *by)


def voice_activity() -> Row:
    expected = np.load(VAD / "golden_probabilities.npy")
    frozen = freeze_input(read_model((VAD / "silero_vad.onnx").read_bytes()), "sr", np.array(16000, np.int64))
    model = onnx_from_bytes("silero_vad.onnx", frozen.SerializeToString())
    shapes = {"input": (1, 576), "state": (2, 1, 128)}
    inputs = tuple(replace(spec, shape=shapes[spec.name]) for spec in model.inputs)
    request = PackRequest(
        "vad",
        "6.2.1",
        {"fp32": model},
        "tensor",
        decision="output",
        inputs=inputs,
        states=(StateSpec("state", "stateN"),),
    )
    with TemporaryDirectory() as folder:
        session, _ = packed(request, Path(folder))
        stream = session.stream()
        got = np.array([float(stream.predict(frame).outputs["output"].item()) for frame in frames(VAD / "test.wav")])
        worst = float(np.abs(got - expected.ravel()[: len(got)]).max())
        by = speed(session, next(frames(VAD / "test.wav")))
        return ("Silero VAD, streaming ONNX", f"worst difference over {len(got)} frames", "0", f"{worst:.1e}", *by)


def frames(path: Path) -> Iterator[Array]:
    """Frames of 64 samples of context and 512 new ones, (1, 576) float32, as the model wants them."""
    with wave.open(str(path)) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16).astype(np.float32) / 32768
    context = np.zeros(64, np.float32)
    for at in range(0, len(samples) - 511, 512):
        new = samples[at : at + 512]
        yield np.concatenate([context, new])[None]
        context = new[-64:]


def image(name: str, side: int) -> Array:
    """A photograph as RGB, resized as its published prediction was made."""
    from PIL import Image

    pixels = read_image(VISION / "images" / name, channels=3)
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))


def label_of(text: str) -> str:
    """ImageNet's label files count in front of each name; the published predictions do not."""
    return text.split(maxsplit=1)[1].strip() if text.split(maxsplit=1)[0].isdigit() else text


def packed(request: PackRequest, folder: Path) -> tuple[Session, Metric | None]:
    """Pack, sign, write and load; the session, and the first metric's receipt."""
    key, home = PrivateKey.new(), Home(folder / "home")
    home.root.mkdir(parents=True)
    home.trust_root.write_bytes(TrustRoot().with_key(key.public, "benchmark").to_bytes())
    result = pack(request, key)
    write_file(result.bundle, folder / "model.bundle")
    session = edgewise.load(folder / "model.bundle", home=home)
    return session, result.evaluations[0].metrics[0] if result.evaluations else None


def speed(session: Session, x: Array) -> tuple[str, str]:
    """Median latency, and what it ran on."""
    taken = time_calls(lambda: session.predict(x), clock=SystemClock())
    return f"{taken.p50_ms:.3f} ms", f"{session.origin.engine}"
