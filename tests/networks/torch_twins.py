"""The same networks as an ordinary torch program writes them, and their weights out of the ONNX file.

For tests of gradients and for benchmarks: nothing here is tuned in either direction.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from onnx import ModelProto, numpy_helper
from torch import Tensor, nn

from edgewise.networks.inputs import ImageInput, SequenceInput, TokenInput
from edgewise.networks.recommender import TwoTowerConfig
from edgewise.networks.recurrent import GruConfig
from edgewise.networks.registry import Config, build
from edgewise.networks.residual import ResNetConfig
from edgewise.networks.separable import DsCnnConfig, MobileNetConfig
from edgewise.networks.transformer import EncoderConfig

__all__ = ["TWINS", "Case", "copy_weights", "gradients", "inputs", "pair", "places", "weights"]

Arrays = Mapping[str, np.ndarray]


Sides = int | tuple[int, int]


def block(entering: int, leaving: int, kernel: Sides, stride: Sides, padding: Sides, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(entering, leaving, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(leaving),
        nn.ReLU(),
    )


def separable(entering: int, leaving: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(block(entering, entering, 3, stride, 1, entering), block(entering, leaving, 1, 1, 0))


class DsCnn(nn.Module):
    def __init__(self, config: DsCnnConfig) -> None:
        super().__init__()
        width = config.width
        self.stem = block(config.input.channels, width, (10, 4), (2, 2), (5, 1))
        self.drop1 = nn.Dropout(config.dropout[0])
        self.blocks = nn.Sequential(*(separable(width, width) for _ in range(config.blocks)))
        self.drop2 = nn.Dropout(config.dropout[1])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(width, config.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop2(self.blocks(self.drop1(self.stem(x))))
        return self.head(torch.flatten(self.pool(x), 1))

    def paths(self) -> dict[str, nn.Module]:
        return {"stem": self.stem, **_separables(self.blocks), "head": self.head}


class MobileNet(nn.Module):
    LAYERS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))

    def __init__(self, config: MobileNetConfig) -> None:
        super().__init__()
        entering = int(32 * config.width)
        self.stem = block(config.input.channels, entering, 3, 2, 1)
        blocks = []
        for leaving, stride in self.LAYERS:
            width = int(leaving * config.width)
            blocks.append(separable(entering, width, stride))
            entering = width
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(config.dropout)
        self.head = nn.Linear(entering, config.classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(torch.flatten(self.pool(self.blocks(self.stem(x))), 1)))

    def paths(self) -> dict[str, nn.Module]:
        return {"stem": self.stem, **_separables(self.blocks), "head": self.head}


class Residual(nn.Module):
    def __init__(self, entering: int, leaving: int, stride: int) -> None:
        super().__init__()
        self.first = block(entering, leaving, 3, stride, 1)
        self.conv = nn.Conv2d(leaving, leaving, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(leaving)
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(entering, leaving, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.bn(self.conv(self.first(x))))


class ResNet8(nn.Module):
    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        entering = config.widths[0]
        self.stem = block(config.input.channels, entering, 3, 1, 1)
        self.stages = nn.ModuleList()
        for at, width in enumerate(config.widths):
            self.stages.append(Residual(entering, width, 1 if at == 0 else 2))
            entering = width
        self.drop = nn.Dropout(config.dropout)
        self.head = nn.Linear(entering, config.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.head(self.drop(x.mean((2, 3))))

    def paths(self) -> dict[str, nn.Module]:
        found: dict[str, nn.Module] = {"stem": self.stem, "head": self.head}
        for at, stage in enumerate(self.stages, 1):
            found |= {
                f"stage{at}.first": stage.first, f"stage{at}.second.conv": stage.conv, f"stage{at}.second.bn": stage.bn
            }  # fmt: skip
            if isinstance(stage.shortcut, nn.Conv2d):
                found[f"stage{at}.shortcut"] = stage.shortcut
        return found


class Gru(nn.Module):
    def __init__(self, config: GruConfig) -> None:
        super().__init__()
        assert isinstance(config.input, SequenceInput)
        assert not config.dense
        self.last = config.pooling == "last"
        assert config.pooling in {"last", "mean"}
        self.gru = nn.GRU(
            config.input.channels, config.hidden, config.layers, batch_first=True,
            dropout=config.dropout if config.layers > 1 else 0.0, bidirectional=config.both_ways,
        )  # fmt: skip
        self.ways = 2 if config.both_ways else 1
        self.drop = nn.Dropout(config.dropout)
        self.head = nn.Linear(self.ways * config.hidden, config.classes)

    def forward(self, x: Tensor) -> Tensor:
        steps, state = self.gru(x)
        # state: (layers * ways, N, hidden), the last layer at the end
        pooled = torch.cat(tuple(state[-self.ways :]), 1) if self.last else steps.mean(1)
        return self.head(self.drop(pooled))

    def paths(self) -> dict[str, nn.Module]:
        return {"gru": self.gru, "head": self.head}


class Encoder(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        assert config.pooling == "mean"
        assert config.input.steps is not None
        self.tokens = isinstance(config.input, TokenInput)
        if isinstance(config.input, TokenInput):
            self.embedding: nn.Module = nn.Embedding(config.input.vocabulary, config.width, padding_idx=0)
        else:
            self.embedding = nn.Linear(config.input.channels, config.width)
        self.positions = nn.Parameter(torch.zeros(config.input.steps, config.width))
        self.drop = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.width,
                config.heads,
                config.feed_forward,
                config.dropout,
                "gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.classes)

    def forward(self, x: Tensor) -> Tensor:
        padded = x == 0 if self.tokens else None
        y = self.drop(self.embedding(x) + self.positions)
        for layer in self.layers:
            y = layer(y, src_key_padding_mask=padded)
        y = self.norm(y)
        if padded is None:
            return self.head(y.mean(1))
        there = (~padded).to(y.dtype)[..., None]
        return self.head((y * there).sum(1) / there.sum(1).clamp(min=1))

    def paths(self) -> dict[str, nn.Module]:
        found: dict[str, nn.Module] = {"embedding": self.embedding, "norm": self.norm, "head": self.head}
        for at, layer in enumerate(self.layers, 1):
            found |= {
                f"layer{at}.norm1": layer.norm1, f"layer{at}.norm2": layer.norm2, f"layer{at}.attention": layer.self_attn,
                f"layer{at}.up": layer.linear1, f"layer{at}.down": layer.linear2,
            }  # fmt: skip
        return found


class TwoTower(nn.Module):
    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__()
        assert config.pooling == "sqrtn"
        assert config.activation == "relu"
        assert not config.weighted
        self.items = nn.Embedding(config.items + 1, config.width)
        self.history_items = self.items if config.shared else nn.Embedding(config.items + 1, config.width)
        self.bias = nn.Parameter(torch.zeros(config.items + 1))
        self.drop = nn.Dropout(config.dropout)
        sides = (config.width, *config.hidden)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sides))
        self.user = nn.Linear(sides[-1], config.width) if config.hidden else None

    def forward(self, history: Tensor) -> Tensor:
        there = (history != 0).to(self.items.weight.dtype)
        summed = (self.history_items(history) * there[..., None]).sum(1)
        user = self.drop(summed / there.sum(1, keepdim=True).sqrt().clamp(min=1e-6))
        for layer in self.hidden:
            user = self.drop(F.relu(layer(user)))
        if self.user is not None:
            user = self.user(user)
        return user @ self.items.weight.T + self.bias

    def paths(self) -> dict[str, nn.Module]:
        found: dict[str, nn.Module] = {f"user.hidden{at}": layer for at, layer in enumerate(self.hidden, 1)}
        if self.user is not None:
            found["user"] = self.user
        return found


@dataclass(frozen=True)
class Case:
    """A network of the registry, the config it is compared at, and its twin."""

    network: str
    config: Config
    twin: Callable[..., nn.Module]


#: The six that the project measures itself by.
TWINS: dict[str, Case] = {
    "ds-cnn": Case("ds-cnn", DsCnnConfig(), DsCnn),
    "mobilenet": Case("mobilenet", MobileNetConfig(ImageInput(96, 96, 3)), MobileNet),
    "resnet8": Case("resnet8", ResNetConfig(ImageInput(32, 32, 3)), ResNet8),
    "gru": Case("gru", GruConfig(SequenceInput(49, 10), classes=12, hidden=64), Gru),
    "encoder": Case("encoder", EncoderConfig(SequenceInput(49, 10), classes=12), Encoder),
    "two-tower": Case("two-tower", TwoTowerConfig(items=2000, length=20, hidden=(64,)), TwoTower),
}


def pair(case: Case, seed: int = 0) -> tuple[ModelProto, nn.Module]:
    """The ONNX model and its twin with the same weights, in training mode as torch makes it."""
    model = build(case.network, case.config, seed)
    twin = case.twin(case.config)
    copy_weights(model, twin)
    return model, twin


def inputs(case: Case, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random data for the model; every history and sentence has at least one entry and some padding."""
    random = np.random.default_rng(seed)
    config = case.config
    if isinstance(config, TwoTowerConfig):
        assert config.length is not None
        return {"history": _ids(random, batch, config.length, config.items + 1)}
    front = config.input
    if isinstance(front, TokenInput):
        return {front.name: _ids(random, batch, front.steps, front.vocabulary)}
    if isinstance(front, ImageInput):
        shape: tuple[int, ...] = (batch, front.channels, front.height, front.width)
    else:
        assert front.steps is not None
        shape = (batch, front.steps, front.channels)
    return {front.name: random.standard_normal(shape, dtype=np.float32)}


def copy_weights(source: ModelProto | Arrays, twin: nn.Module) -> None:
    """Initializers of the model, or arrays under their names, into the twin, in place. Every one of the twin's is set."""
    arrays = source if isinstance(source, Mapping) else _arrays(source)
    done = set()
    with torch.no_grad():
        for name, place in places(twin).items():
            for tensor, value in zip(place.tensors, place.split(arrays[name]), strict=True):
                assert tensor.shape == value.shape, (name, tensor.shape, value.shape)
                tensor.copy_(torch.from_numpy(np.array(value)))
                done.add(tensor.data_ptr())
    missed = [name for name, value in twin.named_parameters() if value.data_ptr() not in done]
    assert not missed, missed


def weights(twin: nn.Module) -> dict[str, np.ndarray]:
    """The twin's parameters and running averages, under the names and in the layout of the model's initializers."""
    return {
        name: place.join([tensor.detach().numpy() for tensor in place.tensors]) for name, place in places(twin).items()
    }


def gradients(twin: nn.Module) -> dict[str, np.ndarray]:
    """The twin's gradients, under the names and in the layout of the model's initializers."""
    return {
        name: place.join([tensor.grad.numpy() for tensor in place.tensors])
        for name, place in places(twin).items()
        if all(tensor.grad is not None for tensor in place.tensors)
    }


def _arrays(model: ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _ids(random: np.random.Generator, batch: int, length: int, below: int) -> np.ndarray:
    ids = random.integers(1, below, (batch, length))
    kept = random.integers(1, length + 1, (batch, 1))
    return np.where(np.arange(length) < kept, ids, 0).astype(np.int64)


def _separables(blocks: nn.Sequential) -> dict[str, nn.Module]:
    return {
        f"block{at}.{part}": half
        for at, pair_ in enumerate(blocks, 1)
        for part, half in zip(("depthwise", "pointwise"), pair_, strict=True)
    }


@dataclass(frozen=True)
class Place:
    """Where an initializer lives in a twin: its tensors, and the way there and back."""

    tensors: tuple[Tensor, ...]
    split: Callable[[np.ndarray], list[np.ndarray]] = lambda array: [array]
    join: Callable[[list[np.ndarray]], np.ndarray] = lambda arrays: arrays[0]


def places(twin: nn.Module) -> dict[str, Place]:
    """Name of the initializer -> place in the twin."""
    found: dict[str, Place] = {}
    for path, module in twin.paths().items():
        found |= _module_places(path, module)
    if isinstance(twin, Encoder):
        found["positions.weight"] = Place((twin.positions,))
    if isinstance(twin, TwoTower):
        found["items.weight"] = Place((twin.items.weight,))
        found["items.bias"] = Place((twin.bias,))
        if twin.history_items is not twin.items:
            found["history_items.weight"] = Place((twin.history_items.weight,))
    return found


def _module_places(path: str, module: nn.Module) -> dict[str, Place]:
    if isinstance(module, nn.Sequential):  # convolution, normalisation, ReLU
        return _module_places(f"{path}.conv", module[0]) | _module_places(f"{path}.bn", module[1])
    if isinstance(module, nn.BatchNorm2d):
        assert module.running_mean is not None
        assert module.running_var is not None
        parts = {"scale": module.weight, "bias": module.bias, "mean": module.running_mean, "var": module.running_var}
        return {f"{path}.{part}": Place((tensor,)) for part, tensor in parts.items()}
    if isinstance(module, nn.LayerNorm):
        return {f"{path}.scale": Place((module.weight,)), f"{path}.bias": Place((module.bias,))}
    if isinstance(module, nn.MultiheadAttention):
        return {
            f"{path}.qkv.weight": _turned(module.in_proj_weight),
            f"{path}.qkv.bias": Place((module.in_proj_bias,)),
            **_module_places(f"{path}.out", module.out_proj),
        }
    if isinstance(module, nn.GRU):
        return _gru_places(path, module)
    # Over (N, T, C) the model has a MatMul with (in, out); Gemm has, like torch, (out, in).
    matmul = isinstance(module, nn.Linear) and (path.startswith("layer") or path == "embedding")
    found = {f"{path}.weight": _turned(module.weight) if matmul else Place((module.weight,))}
    if getattr(module, "bias", None) is not None:
        found[f"{path}.bias"] = Place((module.bias,))
    return found


def _turned(weight: Tensor) -> Place:
    return Place((weight,), lambda array: [array.T], lambda arrays: np.ascontiguousarray(arrays[0].T))


def _gru_places(path: str, module: nn.GRU) -> dict[str, Place]:
    ends = ("", "_reverse") if module.bidirectional else ("",)
    found = {}
    for at in range(module.num_layers):
        for name, stem in (("weight", "weight_ih"), ("recurrent", "weight_hh")):
            tensors = tuple(getattr(module, f"{stem}_l{at}{end}") for end in ends)
            found[f"{path}{at + 1}.{name}"] = Place(
                tensors,
                lambda array: [_swapped(way) for way in array],
                lambda arrays: np.stack([_swapped(a) for a in arrays]),
            )
        biases = tuple(getattr(module, f"bias_{kind}_l{at}{end}") for end in ends for kind in ("ih", "hh"))
        found[f"{path}{at + 1}.bias"] = Place(biases, _split_biases, _join_biases)
    return found


def _swapped(gates: np.ndarray) -> np.ndarray:
    """ONNX has update, reset, new; torch reset, update, new."""
    update, reset, new = np.split(gates, 3)
    return np.concatenate([reset, update, new])


def _split_biases(array: np.ndarray) -> list[np.ndarray]:
    return [_swapped(half) for way in array for half in np.split(way, 2)]


def _join_biases(arrays: list[np.ndarray]) -> np.ndarray:
    halves = [_swapped(array) for array in arrays]
    return np.stack([np.concatenate(halves[at : at + 2]) for at in range(0, len(halves), 2)])
