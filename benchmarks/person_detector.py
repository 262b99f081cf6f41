"""A public MobileNet (MLPerf Tiny's person detector) in integers: bytes, and how often it decides as the floats do."""

import numpy as np
import onnx
from PIL import Image

from edgewise.compose.data_sets import data_set_folder
from edgewise.compress.graph.compact import Compact
from edgewise.compress.prune.lowrank import LowRank
from edgewise.compress.quantize.aware import Aware
from edgewise.compress.quantize.half import Half
from edgewise.compress.quantize.mixed import Mixed
from edgewise.compress.quantize.static import Static
from edgewise.compress.samples import Samples
from edgewise.compress.tuning import Tuning, answers
from edgewise.measure.dataset import Dataset
from edgewise.training.rewrites.heads import free_batch
from edgewise.training.step.assembly import in_floats

_CROPS = 1800  # to learn from, and as many others to judge by
_AWARE = Aware(
    static=Static(bias="float32"), rounding=0,
    tuning=Tuning(epochs=4, batch=32, learning_rate=1e-4, weight_decay=0.0, mix=1.0, temperature=1.0),
)  # fmt: skip
CHAIN = (LowRank(share=0.8, divide=True, tuning=None), Mixed(inner=_AWARE, extra=28_000), Half(), Compact())


def run() -> str:
    """A sentence for the page."""
    folder = data_set_folder("model_vision_mobilenet", lambda what, done, total: None)
    data = (folder / "vww_96_fp32.onnx").read_bytes()
    model = free_batch(in_floats(onnx.load_model_from_string(data)))
    x, held = _crops(folder)
    samples = Samples(
        Dataset(x, np.zeros(len(x), np.int64)), "classification", model.graph.input[0].name, model.graph.output[0].name
    )
    wanted = answers(model, samples, held).argmax(axis=1)
    small = model
    for step in CHAIN:
        small = step.apply(small, samples)
    agreed = float(np.mean(answers(small, samples, held).argmax(axis=1) == wanted))
    size = small.ByteSize()
    how = "; ".join(step.describe() for step in CHAIN)
    return (
        f"The person detector of MLPerf Tiny (MobileNet, {len(data):,} bytes) in integers ({how}): {size:,} bytes, "
        f"1/{len(data) / size:.2f}; it decides as the floats do on {agreed:.2%} of {_CROPS} crops of nine public pictures, others "
        "than it learnt from but of the same pictures."
    )


def _crops(folder: object) -> tuple[np.ndarray, np.ndarray]:
    pictures = [Image.open(path).convert("RGB") for path in sorted((folder / "images").iterdir())]
    chance = np.random.default_rng(0)

    def crop(at: int) -> np.ndarray:
        picture = pictures[at % len(pictures)]
        side = int(min(picture.size) * chance.uniform(0.4, 1))
        left, top = (int(chance.integers(0, length - side + 1)) for length in picture.size)
        small = picture.crop((left, top, left + side, top + side)).resize((96, 96), Image.Resampling.BILINEAR)
        return np.asarray(small, np.float32) / 255

    return np.stack([crop(at) for at in range(_CROPS)]), np.stack([crop(at) for at in range(_CROPS)])
