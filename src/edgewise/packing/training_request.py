"""What is asked for where a bundle is to carry a training step. Needs nothing that building one needs."""

from dataclasses import dataclass

from edgewise.errors import InputError

__all__ = ["LOSSES", "OPTIMIZERS", "TrainingRequest"]

#: Losses that a step in a bundle can have; what the task says where none is named.
LOSSES = ("cross-entropy", "binary-cross-entropy", "mse", "huber", "cosine")
OPTIMIZERS = ("adam", "adamw", "sgd")


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """trainable, freeze: shell patterns over the names of weights; what both mean is frozen.

    loss: by the task where it is empty. learning_rate: the optimiser's own where it is None. lora: rank of adapters beside
    the layers (``trainable`` then names nodes), 0 for none. batch_statistics: BatchNormalization trains with the statistics of
    the batch and moves its averages; without it they stay, which suits few examples. recompute: parts of the forward pass
    between which values are kept, 1 for keeping all.
    Raises InputError with every fault.
    """

    trainable: tuple[str, ...] = ("*",)
    freeze: tuple[str, ...] = ()
    loss: str = ""
    optimizer: str = "adam"
    learning_rate: float | None = None
    lora: int = 0
    batch_statistics: bool = False
    recompute: int = 1

    def __post_init__(self) -> None:
        rules = (
            (bool(self.trainable), "name what to train; * means all weights"),
            (self.loss in ("", *LOSSES), f"the loss is one of {', '.join(LOSSES)}, not {self.loss!r}"),
            (self.optimizer in OPTIMIZERS, f"the optimiser is one of {', '.join(OPTIMIZERS)}, not {self.optimizer!r}"),
            (self.learning_rate is None or self.learning_rate > 0, "the learning rate is above 0"),
            (self.lora >= 0, "the rank of adapters is at least 1, or 0 for none"),
            (self.recompute >= 1, "the parts between which values are kept are at least 1"),
            (not (self.lora and self.freeze), "adapters freeze all weights: --freeze is not for them"),
        )
        if faults := [text for holds, text in rules if not holds]:
            raise InputError(f"no training step can be made so: {'; '.join(faults)}", problems=faults)
