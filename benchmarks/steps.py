"""Six networks as training steps, ours and as ordinary torch modules with the same weights: what both benchmarks compare."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tests.networks import torch_twins

from edgewise.networks.parameters import parameters
from edgewise.training.losses.registry import CrossEntropy
from edgewise.training.rewrites.batch_norm import train_batch_norm
from edgewise.training.rewrites.dropout import train_dropout
from edgewise.training.run.step_file import TrainingStep
from edgewise.training.step.build import build_step
from edgewise.training.step.optimizers import Adam
from edgewise.training.step.processor import block_size

RATE = 1e-3
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """One network, and a batch for it."""

    name: str
    batch: int

    def step(self) -> tuple[TrainingStep, Arrays]:
        """Our training step with Adam, in the layout that is fastest on this machine; and its batch."""
        case = torch_twins.TWINS[self.name]
        model, _ = torch_twins.pair(case)
        ready = train_batch_norm(train_dropout(model))
        block = block_size()
        step = build_step(
            ready.model, CrossEntropy(), Adam(RATE), list(parameters(model)), buffers=ready.buffers, inference=model,
            batch=self.batch if block else None, block=block,
        )  # fmt: skip
        return step, {**torch_twins.inputs(case, self.batch), **self._labels()}

    def torch_step(self, threads: int) -> Callable[[], float]:
        """The same in torch: eager, CPU, torch.optim.Adam as it comes."""
        import torch

        torch.set_num_threads(threads)
        case = torch_twins.TWINS[self.name]
        _, twin = torch_twins.pair(case)
        twin.train()
        optimizer = torch.optim.Adam(twin.parameters(), lr=RATE)
        inputs = [torch.tensor(array) for array in torch_twins.inputs(case, self.batch).values()]
        labels = torch.tensor(self._labels()["target"])

        def run() -> float:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(twin(*inputs), labels)
            loss.backward()
            optimizer.step()
            return loss.item()

        return run

    def _labels(self) -> Arrays:
        return {"target": np.random.default_rng(1).integers(0, 2, self.batch)}


CASES = tuple(Case(name, 32) for name in torch_twins.TWINS)
