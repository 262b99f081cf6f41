"""`edgewise train`: one command from data to a model that was trained, checked and measured."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np

from edgewise.compose.training_data import Material, read_material
from edgewise.compose.training_model import make_front, make_plan, read_source, wanted_by
from edgewise.compose.training_options import check_options, read_recipe
from edgewise.compose.training_run import Report, Run, run_seed
from edgewise.store.files import write_bytes
from edgewise.training.recipes.plan import Plan
from edgewise.training.run.curve import curve_png
from edgewise.training.run.history import INTERRUPTED
from edgewise.training.step.assembly import choose

__all__ = ["Trained", "train"]


@dataclass(frozen=True, slots=True)
class Trained:
    """runs: every seed. chosen: the one whose model was written: that of the median figure. files: what was written."""

    runs: tuple[Run, ...]
    chosen: Run
    task: str
    samples: tuple[int, int]
    files: tuple[Path, ...]
    warnings: tuple[str, ...]
    parameters: int

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return any(run.result.stopped == INTERRUPTED for run in self.runs)

    def to_json(self) -> dict[str, Any]:
        return {
            "files": [str(path) for path in self.files], "task": self.task, "trainSamples": self.samples[0],
            "evaluationSamples": self.samples[1], "trainedParameters": self.parameters, "seed": self.chosen.seed,
            "metric": self.chosen.metric.to_json(), "interrupted": self.interrupted, "warnings": list(self.warnings),
            "runs": [run.to_json() for run in self.runs],
        }  # fmt: skip


def train(options: Namespace, report: Report) -> Trained:
    """Train as the options say and write the model. Nothing is written where anything before fails.

    Several seeds are trained one after another; the model of the median figure is kept, so that the file is what its figure says.
    """
    check_options(options)
    recipe = read_recipe(options)
    source = read_source(options.network)
    material = read_material(options, wanted_by(source), report.fetched)
    for warning in material.warnings:
        report.note(warning)
    front = make_front(options, recipe, source, material)
    runs: list[Run] = []
    plan = None
    for seed in range(options.seed, options.seed + options.seeds):
        plan = make_plan(options, recipe, source, material, front, seed)
        runs.append(run_seed(options, recipe, plan, material, seed, report))
        if runs[-1].result.stopped == INTERRUPTED:
            break
    assert plan is not None
    complete = [run for run in runs if run.result.stopped != INTERRUPTED] or runs
    middle = median_low([run.metric.value for run in complete])
    chosen = next(run for run in complete if run.metric.value == middle)
    files = _write(options, chosen, plan, material)
    sizes = (len(material.split.train), len(material.split.evaluation))
    return Trained(tuple(runs), chosen, plan.task, sizes, files, material.warnings, _parameters(plan, options))


def _write(options: Namespace, chosen: Run, plan: Plan, material: Material) -> tuple[Path, ...]:
    output: Path = options.output
    # Drawn before anything is written: matplotlib may be missing.
    picture = None
    if options.plot:
        picture = curve_png(
            chosen.result.history, f"{options.network}, seed {chosen.seed}", chosen.result.best_epoch, chosen.before
        )
    files = [output]
    write_bytes(output, chosen.model)
    if material.labels:
        files.append(output.with_suffix(".labels.txt"))
        write_bytes(files[-1], "".join(f"{name}\n" for name in material.labels).encode())
    if plan.front.encoder is not None:
        files.append(output.with_suffix(".text.json"))
        write_bytes(files[-1], plan.front.encoder.hashing.to_json())
    if picture is not None:
        files.append(options.plot)
        write_bytes(options.plot, picture)
    return tuple(files)


def _parameters(plan: Plan, options: Namespace) -> int:
    choice = choose(plan.model, options.only, options.freeze, head=plan.head, lora=options.lora)
    sizes: Mapping[str, int] = {t.name: int(np.prod(t.dims)) for t in choice.model.graph.initializer}
    return sum(sizes.get(name, 0) for name in choice.parameters)
