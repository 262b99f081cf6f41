"""What torch computes for the six networks, kept in a file, so that it can be compared with where torch is not installed.

``python -m tests.training.torch_record`` writes the file anew.
"""

import json
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("torch_record.json")
STEPS, SAMPLES, CLASSES = 20, 16, 2
RATES = {"adam": 1e-3, "sgd": 1e-2}
# Twenty-seven normalised layers on noise multiply rounding: at the rates above, torch in float32 leaves torch in float64 within
# three steps. At these both agree.
GENTLE = {"mobilenet": {"adam": 1e-5, "sgd": 1e-5}}
# A batch for which no ReLU sees a value within rounding of 0: there, which side it falls on is chance (with seed 0 one of
# MobileNet's last values is 1.5e-6 in torch's float64 and 1.0e-5 in its float32).
SEEDS = {"mobilenet": 4}


def rate_of(name: str, optimizer: str) -> float:
    return GENTLE.get(name, RATES)[optimizer]


def labels() -> np.ndarray:
    """Of the one batch that every step sees."""
    return np.random.default_rng(9).integers(0, CLASSES, SAMPLES)


def main() -> None:
    import torch
    from tests.networks import torch_twins

    torch.set_num_threads(1)
    found = {"torch": torch.__version__}
    for name, case in torch_twins.TWINS.items():
        for optimizer in RATES:
            _, twin = torch_twins.pair(case)
            twin.train()
            for module in twin.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0
                if isinstance(module, torch.nn.MultiheadAttention):
                    module.dropout = 0.0
            made = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer]
            extra = {"momentum": 0.9} if optimizer == "sgd" else {}
            update = made(twin.parameters(), lr=rate_of(name, optimizer), **extra)
            inputs = [torch.tensor(array) for array in torch_twins.inputs(case, SAMPLES, SEEDS.get(name, 0)).values()]
            target = torch.tensor(labels())
            losses, norms = [], {}
            for at in range(STEPS):
                update.zero_grad()
                loss = torch.nn.functional.cross_entropy(twin(*inputs), target)
                loss.backward()
                if not at:
                    norms = {key: float(np.linalg.norm(g)) for key, g in sorted(torch_twins.gradients(twin).items())}
                update.step()
                losses.append(loss.item())
            found[f"{name}/{optimizer}"] = {"losses": losses, "norms": norms}
    PATH.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
