"""The torch twins of six networks with the weights of the ONNX file, and gradients under the names of the file.

For tests of gradients and for benchmarks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from onnx import ModelProto, numpy_helper
from tests.networks.torch_modules import DsCnn, Encoder, Gru, MobileNet, ResNet8, TwoTower
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
