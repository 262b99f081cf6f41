#!/usr/bin/env python3
"""Makes all of src/edgewise/digits and examples/digits: the split, the two models, sample images, ORIGIN.txt.

Needs the extra "dev" and torch (``pip install torch==2.13.0``). One thread and fixed seeds: two runs on one machine agree.
"""

import copy
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional

ROOT = Path(__file__).resolve().parent.parent
FOLDER, EXAMPLES = ROOT / "src" / "edgewise" / "digits", ROOT / "examples" / "digits"
SEED = 20260131
TRAIN, CALIBRATION = 1000, 300  # images; the remaining 497 are the evaluation split
FULL_SCALE = 16.0  # the set's pixels are counts of ink in blocks of 4x4: 0..16
CHANNELS = (32, 48, 64, 32)  # of the four convolutions; 61,658 parameters with batch normalisation folded
EPOCHS, PATIENCE, BATCH = 150, 30, 50
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SAMPLES = ("zero", "two", "four", "seven", "nine")

Arrays = dict[str, NDArray[np.generic]]


# ----------------------------------------------------------------------------- data


def write_splits() -> Arrays:
    """The split, stratified by digit, as uint8 of 0..16."""
    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8).astype(np.uint8)
    train_x, rest_x, train_y, rest_y = train_test_split(x, y, train_size=TRAIN, stratify=y, random_state=SEED)
    calibration_x, eval_x, calibration_y, eval_y = train_test_split(
        rest_x, rest_y, train_size=CALIBRATION, stratify=rest_y, random_state=SEED
    )
    arrays = {
        "train_x": train_x, "train_y": train_y, "calibration_x": calibration_x, "calibration_y": calibration_y,
        "eval_x": eval_x, "eval_y": eval_y,
    }  # fmt: skip
    arrays = {name: values.astype(np.uint8) for name, values in arrays.items()}
    np.savez_compressed(FOLDER / "digits.npz", **arrays)
    return arrays


def pixels(images: NDArray[np.generic]) -> NDArray[np.float32]:
    """(N, 8, 8) of 0..16 to (N, 1, 8, 8) of 0..1, as the models take it."""
    return (images[:, None].astype(np.float32) / np.float32(FULL_SCALE)).astype(np.float32)


def write_samples(arrays: Arrays) -> None:
    """Dark ink on white paper, 120x120: the first evaluation image of each digit in SAMPLES."""
    EXAMPLES.mkdir(parents=True, exist_ok=True)
    for word in SAMPLES:
        image = arrays["eval_x"][arrays["eval_y"] == WORDS.index(word)][0]
        ink = Image.fromarray(np.round(image * (255 / FULL_SCALE)).astype(np.uint8)).resize(
            (120, 120), Image.Resampling.BICUBIC
        )
        Image.fromarray(255 - np.asarray(ink)).save(EXAMPLES / f"{word}.png", optimize=True)


# ------------------------------------------------------------------------- training


def make_network() -> nn.Sequential:
    layers: list[nn.Module] = []
    before = 1
    for index, channels in enumerate(CHANNELS):
        layers += [nn.Conv2d(before, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if index >= 2 else []
        before = channels
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(before * 2 * 2, 10))


def augment(x: Tensor, chance: torch.Generator) -> Tensor:
    """Shift up to one pixel, turn up to 14 degrees, scale and shear a little, then blur, contrast and noise."""
    count = len(x)

    def spread(width: float) -> Tensor:
        return (torch.rand(count, generator=chance) * 2 - 1) * width

    angle, shear = spread(0.25), spread(0.15)
    scale_x, scale_y = 1 + spread(0.15), 1 + spread(0.15)
    rows = [
        torch.stack([angle.cos() * scale_x, (shear - angle.sin()) * scale_x, spread(0.25)], 1),  # 0.25 is one pixel
        torch.stack([angle.sin() * scale_y, angle.cos() * scale_y, spread(0.25)], 1),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    x = functional.grid_sample(x, grid, align_corners=False)
    soft = functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1)), 3, stride=1)
    share = torch.rand(count, 1, 1, 1, generator=chance) * 0.5 * (torch.rand(count, 1, 1, 1, generator=chance) < 0.5)
    x = (x * (1 - share) + soft * share) * (1 + spread(0.2)[:, None, None, None])
    return (x + torch.randn(x.shape, generator=chance) * 0.05).clamp(0, 1)


def train(arrays: Arrays) -> nn.Sequential:
    """The network with the lowest loss on the calibration split; the evaluation split is not looked at."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    chance = torch.Generator().manual_seed(SEED)
    x, y = torch.from_numpy(pixels(arrays["train_x"])), torch.from_numpy(arrays["train_y"].astype(np.int64))
    held_x = torch.from_numpy(pixels(arrays["calibration_x"]))
    held_y = torch.from_numpy(arrays["calibration_y"].astype(np.int64))
    network = make_network()
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    best, best_loss, best_epoch = copy.deepcopy(network), float("inf"), 0
    for epoch in range(EPOCHS):
        network.train()
        for batch in torch.randperm(len(x), generator=chance).split(BATCH):
            loss = functional.cross_entropy(network(augment(x[batch], chance)), y[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
        network.eval()
        with torch.no_grad():
            held = functional.cross_entropy(network(held_x), held_y).item()
        if held < best_loss:
            best, best_loss, best_epoch = copy.deepcopy(network), held, epoch
        if epoch % 10 == 0:
            print(f"epoch {epoch:3d}  calibration loss {held:.4f}  (best {best_loss:.4f}, epoch {best_epoch})")
        if epoch - best_epoch >= PATIENCE:
            break
    print(f"kept epoch {best_epoch}, calibration loss {best_loss:.4f}")
    return best.eval()


# --------------------------------------------------------------------------- export


def build_onnx(network: nn.Sequential) -> onnx.ModelProto:
    """The network by hand in ONNX: batch normalisation folded into the convolution before it, dropout gone."""
    nodes, weights, value = [], [], "pixels"

    def weight(name: str, tensor: Tensor) -> str:
        weights.append(numpy_helper.from_array(tensor.detach().numpy().astype(np.float32), name))
        return name

    def add(operator: str, name: str, *inputs: str, **attributes: object) -> str:
        nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    layers = list(network)
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.Conv2d):
            norm = layers[index + 1]
            gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            kernel = weight(f"conv{index}.weight", layer.weight * gain[:, None, None, None])
            bias = weight(f"conv{index}.bias", norm.bias - norm.running_mean * gain)
            value = add("Conv", f"conv{index}", value, kernel, bias, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        elif isinstance(layer, nn.ReLU):
            value = add("Relu", f"relu{index}", value)
        elif isinstance(layer, nn.MaxPool2d):
            value = add("MaxPool", f"pool{index}", value, kernel_shape=[2, 2], strides=[2, 2])
        elif isinstance(layer, nn.Flatten):
            value = add("Flatten", "flat", value, axis=1)
        elif isinstance(layer, nn.Linear):
            last = (weight("dense.weight", layer.weight), weight("dense.bias", layer.bias))
            value = add("Gemm", "logits", value, *last, transB=1)
    graph = helper.make_graph(
        nodes, "digits", [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])], weights,
    )  # fmt: skip
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9, producer_name="edgewise"
    )
    onnx.checker.check_model(model, full_check=True)
    return model


class _Images(CalibrationDataReader):
    def __init__(self, x: NDArray[np.float32]) -> None:
        self._left: Iterator[dict[str, NDArray[np.float32]]] = ({"pixels": x[i : i + 1]} for i in range(len(x)))

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._left, None)


def write_models(network: nn.Sequential, arrays: Arrays) -> None:
    """fp32, and static QDQ int8 with unsigned activations and signed weights per channel."""
    precise, small = FOLDER / "digits-fp32.onnx", FOLDER / "digits-int8.onnx"
    onnx.save(build_onnx(network), precise)
    quantize_static(
        precise, small, _Images(pixels(arrays["calibration_x"])), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    model = onnx.load(small)
    model.ir_version = 9
    del model.graph.value_info[:]  # made again by whoever reads it
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, small)


# --------------------------------------------------------------------------- report


def write_origin(arrays: Arrays) -> None:
    names = ("digits.npz", "digits-fp32.onnx", "digits-int8.onnx")
    files = [(hashlib.sha256(data := (FOLDER / name).read_bytes()).hexdigest(), len(data), name) for name in names]
    counts = " / ".join(f"{split} {len(arrays[split + '_y']):,}" for split in ("train", "calibration", "eval"))
    (FOLDER / "ORIGIN.txt").write_text(
        "ORIGIN\n"
        "  data:     Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak (1998), UCI Machine Learning\n"
        "            Repository, https://doi.org/10.24432/C50P49; the 1,797 images that scikit-learn bundles (load_digits)\n"
        "  licence:  data CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/); models Apache-2.0\n"
        "WHAT\n"
        f"  digits.npz: 8x8 images, uint8 of 0..16 (ink), split at random within each digit: {counts}.\n"
        "  digits-fp32.onnx, digits-int8.onnx: a convolutional network, pixels float32 (batch, 1, 8, 8) of 0..1 to logits\n"
        "  (batch, 10). Trained on the train split, stopped on the calibration split; int8 ranges from the calibration split.\n"
        "  The images were not changed beyond the split and the type. The source names 13 writers for them but not who wrote\n"
        "  what, so the splits share writers: expect less on a hand that is none of theirs.\n"
        "HOW MADE\n"
        "  scripts/train_digits.py\n"
        "\n"
        "FILES (sha256, bytes, path)\n" + "".join(f"  {sha} {size:10d}  {name}\n" for sha, size, name in files)
    )


def report(arrays: Arrays) -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = {
        name: ort.InferenceSession(FOLDER / f"digits-{name}.onnx", options, providers=["CPUExecutionProvider"])
        for name in ("fp32", "int8")
    }
    times: dict[str, list[float]] = {name: [] for name in sessions}
    one = pixels(arrays["eval_x"][:1])
    for _ in range(3000):
        for name, session in sessions.items():
            start = time.perf_counter()
            session.run(None, {"pixels": one})
            times[name].append(time.perf_counter() - start)
    for name, session in sessions.items():
        right = {
            split: int(
                (session.run(None, {"pixels": pixels(arrays[f"{split}_x"])})[0].argmax(1) == arrays[f"{split}_y"]).sum()
            )
            for split in ("train", "calibration", "eval")
        }
        shown = ", ".join(f"{split} {n}/{len(arrays[split + '_y'])}" for split, n in right.items())
        size = (FOLDER / f"digits-{name}.onnx").stat().st_size
        print(f"{name}: {shown}; {size:,} bytes; median {np.median(times[name]) * 1e6:.1f} us at batch 1, one thread")


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    arrays = write_splits()
    write_samples(arrays)
    network = train(arrays)
    write_models(network, arrays)
    write_origin(arrays)
    report(arrays)
    return 0


if __name__ == "__main__":
    sys.exit(main())
