"""How much memory a training step takes: an estimate to refuse by, and a measurement to make the estimate from."""

from pathlib import Path

from edgewise.errors import InputError, MemoryBudgetError
from edgewise.measure.probe import PeakMemory, probe_memory
from edgewise.training.run.step_file import MemoryEstimate, StepSpec

__all__ = ["estimate_memory", "fitting_batch", "measure_memory", "refuse_over_budget"]

_SECONDS = 300.0
_MIB = 1 << 20


def fitting_batch(spec: StepSpec, budget: int) -> int:
    """The largest batch whose step stays within ``budget`` bytes; 0 where not even one sample does.

    Raises MemoryBudgetError where the step came without an estimate: a promise cannot be kept by guessing.
    """
    if spec.memory is None:
        raise MemoryBudgetError(
            "this training step says nothing about the memory that it needs, so no budget can be kept",
            remedy="Build the step with an estimate, or train without a budget.", budget=budget,
        )  # fmt: skip
    room = budget - spec.memory.fixed
    return max(0, room // spec.memory.per_sample) if spec.memory.per_sample else (2**31 if room >= 0 else 0)


def refuse_over_budget(spec: StepSpec, samples: int, budget: int) -> None:
    """Raise MemoryBudgetError, saying which batch would fit, unless a step over ``samples`` samples fits into ``budget`` bytes.

    Bytes count what training adds to a process that has onnxruntime loaded.
    """
    fits = fitting_batch(spec, budget)
    if samples <= fits or spec.memory is None:
        return
    needed = spec.memory.peak(samples)
    what = f"a step over {samples} samples needs {needed / _MIB:.1f} MiB, and {budget / _MIB:.1f} MiB are allowed"
    if fits:
        raise MemoryBudgetError(
            f"{what}; a batch of {fits} fits", remedy=f"Train with batch={fits}, and add up gradients where that is too few.",
            needed=needed, budget=budget, fits=fits,
        )  # fmt: skip
    raise MemoryBudgetError(
        f"{what}; not even one sample fits: that takes {spec.memory.peak(1) / _MIB:.1f} MiB",
        remedy="Build the step with recomputation, with fewer trainable parameters, or for a smaller model.",
        needed=needed, budget=budget, fits=0,
    )  # fmt: skip


def measure_memory(
    folder: Path, samples: int, python: str, sizes: dict[str, int] | None = None, *, frugal: bool = False
) -> PeakMemory:
    """Measure the step that ``TrainingStep.write`` kept in ``folder``, in a process of its own, over batches of ``samples``.

    sizes: of dimensions that vary and are not the batch ("time"), 1 where not given. frugal: as a trainer with a budget works.
    Raises ProbeError where the process ends without a result.
    """
    request = {"folder": str(folder), "samples": samples, "sizes": sizes or {}, "frugal": frugal}
    return probe_memory("edgewise.training.run.memory_process", request, "a training step", python, _SECONDS)


def estimate_memory(small: tuple[int, int], large: tuple[int, int]) -> MemoryEstimate:
    """The line through two measurements, each (samples, bytes); never below either. Raises InputError for equal batches."""
    (few, low), (many, high) = sorted((small, large))
    if few == many:
        raise InputError("an estimate needs measurements with two batch sizes")
    per_sample = max(0, -(-(high - low) // (many - few)))
    fixed = max(0, low - few * per_sample, high - many * per_sample)
    return MemoryEstimate(fixed, per_sample)
