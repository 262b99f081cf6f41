"""A single-shot detector: classes and boxes from two or more sizes of feature map."""

from dataclasses import dataclass, field

from onnx import ModelProto

from edgewise.graph.writer import Dims
from edgewise.networks.anchors import Anchors, anchor_grid
from edgewise.networks.builder import BATCH, Builder
from edgewise.networks.convolution import conv, conv_block, separable_block
from edgewise.networks.inputs import ImageInput, problems_refused

__all__ = ["SsdConfig", "build_ssd", "ssd_anchors"]


@dataclass(frozen=True, slots=True)
class SsdConfig:
    """SSD (Liu et al. 2016, arXiv 1512.02325) over stages of separable blocks, each half the size of the one before.

    sizes: for each map that is looked at, the last ones of the stages, the sides of its anchors in pixels; ``ratios``: the
    width over the height of the anchors, at every size. scores: a further output ``scores`` (N, A, classes), the softmax
    without the background, ready for ``graph.boxes.detection_table``.
    """

    input: ImageInput = field(default_factory=lambda: ImageInput(96, 96))
    classes: int = 1
    widths: tuple[int, ...] = (16, 32, 64, 64)
    sizes: tuple[tuple[float, ...], ...] = ((16.0, 24.0), (40.0, 64.0))
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    scores: bool = False

    def __post_init__(self) -> None:
        sides = [side for level in self.sizes for side in level]
        problems_refused("ssd", (
            (len(self.widths) > 0 and min(self.widths) > 0, "widths must be positive, and at least one"),
            (self.classes > 0, "classes must be positive"),
            (0 < len(self.sizes) <= len(self.widths), f"sizes for {len(self.sizes)} maps, but {len(self.widths)} stages"),
            (all(self.sizes) and all(side > 0 for side in sides), "every map needs sizes, in positive pixels"),
            (len(self.ratios) > 0 and all(ratio > 0 for ratio in self.ratios), "ratios must be positive, and at least one"),
        ))  # fmt: skip


def ssd_anchors(config: SsdConfig) -> Anchors:
    """Anchors (A, 4) in the order of the network's outputs: centre x, centre y, width, height in pixels of the input."""
    height, width, grids = config.input.height, config.input.width, []
    for _ in config.widths:
        height, width = -(-height // 2), -(-width // 2)
        grids.append((height, width))
    whole = (config.input.height, config.input.width)
    return anchor_grid(whole, grids[-len(config.sizes) :], config.sizes, config.ratios)


def build_ssd(config: SsdConfig, seed: int) -> ModelProto:
    """Images to ``logits`` (N, A, classes + 1), 0 the background, and ``boxes`` (N, A, 4), offsets from ``ssd_anchors``."""
    net = Builder("ssd", seed)
    x = config.input.write(net)
    first = len(config.widths) - len(config.sizes)
    logits, boxes = [], []
    for at, width in enumerate(config.widths):
        name = f"stage{at + 1}"
        if at == 0:
            x = conv_block(net, x, width, name, kernel=(3, 3), stride=2)
        else:
            x = separable_block(net, x, width, f"{name}.reduce", kernel=(3, 3), stride=2)
            x = separable_block(net, x, width, f"{name}.refine", kernel=(3, 3))
        if at >= first:
            anchors = len(config.sizes[at - first]) * len(config.ratios)
            logits.append(_head(net, x, anchors, config.classes + 1, f"{name}.classes"))
            boxes.append(_head(net, x, anchors, 4, f"{name}.boxes"))
    outputs = {"logits": _joined(net, logits, "classes"), "boxes": _joined(net, boxes, "boxes.all")}
    if config.scores:
        outputs["scores"] = _scores(net, outputs["logits"])
    return net.finish(outputs)


def _head(net: Builder, x: str, anchors: int, width: int, name: str) -> str:
    y = conv(net, x, anchors * width, name, kernel=(3, 3), bias=True)
    batch, channels, height, across = net.shape(y)
    assert isinstance(height, int)
    assert isinstance(across, int)
    last = net.node(f"{name}.last", "Transpose", y, shape=(batch, height, across, channels), perm=[0, 2, 3, 1])
    count = height * across * anchors
    return net.node(f"{name}.rows", "Reshape", last, net.writer.ints(0, count, width), shape=(batch, count, width))


def _joined(net: Builder, parts: list[str], name: str) -> str:
    if len(parts) == 1:
        return parts[0]
    shape: Dims = (BATCH, sum(net.known(part, 1) for part in parts), net.known(parts[0], 2))
    return net.node(name, "Concat", *parts, shape=shape, axis=1)


def _scores(net: Builder, logits: str) -> str:
    batch, anchors, classes = net.shape(logits)
    assert isinstance(classes, int)
    softmax = net.node("softmax", "Softmax", logits, shape=(batch, anchors, classes), axis=-1)
    bounds = net.writer.ints(1), net.writer.ints(classes), net.writer.ints(2)
    return net.node("objects", "Slice", softmax, *bounds, shape=(batch, anchors, classes - 1))
