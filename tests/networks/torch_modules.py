"""The six networks as an ordinary torch program writes them; nothing here is tuned in either direction."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgewise.networks.inputs import SequenceInput, TokenInput
from edgewise.networks.recommender import TwoTowerConfig
from edgewise.networks.recurrent import GruConfig
from edgewise.networks.residual import ResNetConfig
from edgewise.networks.separable import DsCnnConfig, MobileNetConfig
from edgewise.networks.transformer import EncoderConfig

__all__ = ["DsCnn", "Encoder", "Gru", "MobileNet", "ResNet8", "TwoTower"]

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


def _separables(blocks: nn.Sequential) -> dict[str, nn.Module]:
    return {
        f"block{at}.{part}": half
        for at, pair_ in enumerate(blocks, 1)
        for part, half in zip(("depthwise", "pointwise"), pair_, strict=True)
    }
