"""Compression beside onnxruntime's quantizers and NNCF: bytes, time and accuracy on five tasks, all files in turns in one run."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod, sqrt

import onnx

from benchmarks import person_detector
from benchmarks.page import write_page
from benchmarks.references import Task, edgewise, prepare
from benchmarks.rivals import nncf_forms, onnxruntime_forms
from edgewise.cli import compress as command
from edgewise.clock import SystemClock
from edgewise.compose.compress_model import Subject, read_subject
from edgewise.compress.search.gate import Verdict, decide
from edgewise.compress.search.trial import Timing, time_models
from edgewise.compress.tuning import answers

_DROP = 0.5  # points
_NOISE = 1.03  # of two medians of one file, in turns
_FIRST, _LAST = Timing(0.1, 20), Timing(2.0, 200)

_PLAIN = ("int8*", "int4-storage*", "streamline*")  # chains
_NARROW = ("prune-50 >*", "prune-25 >*", "prune-12 >*", "prune-50-x16*")
# Half of the time goes into the spectrogram, which costs few bytes: what is smallest is not what is fast.
_QUICK = ("--max-latency-ratio", "0.65")
_DEEP = ("leave-out*", "streamline > int8-timed >*", "int8-float*", "int8-mse*", "int8-corrected*", "int4-storage*")
TASKS = (
    Task("defects_pcb", "resnet8", "rot90,flip,shift=6", 12, _DEEP, 5),
    Task("speech_digits", "cnn", "slide,speed=0.1,hiss=-70:-25:yes@0.5", 12, (*_PLAIN, *_NARROW), 12, _QUICK),
    Task("activity_st_har", "cnn1d", "rotate,scale=0.2,jitter=20:no", 30, (), 30),
    Task("assistant_clinc150", "text-bag", "", 6, (*_PLAIN, "lowrank*", "divide*"), 16),
    Task("keywords", "", "none", 40, (*_PLAIN, "prune-75*"), 40, ("--max-latency-ratio", "0.97")),
)  # fmt: skip


@dataclass(frozen=True)
class Form:
    """One file: what it is called, its bytes, and what the gate says of it; parts of the reference's bytes and median time."""

    name: str
    model: bytes
    verdict: Verdict
    size: float
    time: float

    @property
    def lost(self) -> str:
        """Points, and how likely by chance."""
        p = "" if self.verdict.p_value is None else f" (p {self.verdict.p_value:.2g})"
        return f"{self.verdict.drop:+.2f}{p}"


def run() -> str:
    rows, ours, notes = [], list[Form](), list[str]()
    for task in TASKS:
        prepare(task)
        row, form, said = _row(task)
        rows.append(row)
        ours.append(form)
        notes += said
    size, time = (prod(values) ** (1 / len(ours)) for values in ([f.size for f in ours], [f.time for f in ours]))
    rows.append(("geometric mean", "", "", f"**{size:.3f}**", f"**{time:.2f}**", "", "", "", ""))
    headers = (
        "set", "fp32: bytes, µs, accuracy", "chosen", "bytes", "time", "points lost", "best of the others: bytes, time, points",
        "time over its receipt's", "half of the multiply-adds: points",
    )  # fmt: skip
    searches = "; ".join(f"{task.name}: `{' '.join((*task.search, *task.goals))}`" for task in TASKS)
    how = (
        "Bytes and median time of one sample on one thread, in parts of the fp32 network's, and points of accuracy lost on "
        "held-out data with the one-sided p-value of the paired test. `edgewise train NETWORK --train SET`, then `edgewise "
        f"compress` with {searches}. The others: onnxruntime's static quantizer (QDQ and QOperator, per tensor and channel, U8S8, "
        "S8S8 and U8U8, MinMax, Entropy and Percentile, 7 and 8 bits), its dynamic one, and NNCF's ONNX PTQ, every one on the "
        "same 200 samples; the best is that of the least bytes times time, of those that pass the same gate. Augmentation, epochs, "
        "chains and limits of time were chosen with these figures in sight, so accuracies are a little luckier than they will be "
        "elsewhere. "
        f"{' '.join([*notes, person_detector.run()])}"
    )
    return write_page("compression", headers, rows, how)


def _row(task: Task) -> tuple[tuple[str, ...], Form, list[str]]:
    found = _search(task, "found", (*task.search, *task.goals))
    options = _options(task)
    subject = read_subject(options, lambda what, done, total: None)
    original = answers(onnx.load_model_from_string(subject.model), subject.bench.samples, subject.evaluation.x)
    name = found["chosen"].get("best", found["nearest"])
    told = next(row for row in found["rows"] if row["name"] == name)
    file = task.folder / "found" / found["files"]["best"] if "best" in found["files"] else task.model
    others, notes = _others(task, subject)
    made = {name: file.read_bytes(), **others}
    verdicts = {key: _verdict(subject, original, model) for key, model in made.items()}
    passing = [key for key in others if verdicts[key].passes]
    first = _times(subject, {key: made[key] for key in [name, *passing]}, _FIRST)
    forms = [_form(key, made[key], verdicts[key], subject, first) for key in passing]
    near = sorted(forms, key=lambda form: form.size * form.time)[:6]
    # Once more and for longer, what the page shows.
    last = _times(subject, {key: made[key] for key in [name, *(form.name for form in near)]}, _LAST)
    mine = _form(name, made[name], verdicts[name], subject, last)
    near = sorted((_form(form.name, form.model, form.verdict, subject, last) for form in near), key=_both)
    better = [form for form in forms if form.size < mine.size or form.time * _NOISE < first[name]]
    beside = "none passes" if not near else f"{near[0].name}: {near[0].size:.3f}, {near[0].time:.2f}, {near[0].lost}"
    cells = (
        task.name, f"{len(subject.model):,}, {last[''] * 1e3:.0f}, {_accuracy(subject, original):.4f}", name, f"{mine.size:.3f}",
        f"{mine.time:.2f}", mine.lost, beside,
        f"{mine.time / told['latencyRatio']:.3f}", _halved(task),
    )  # fmt: skip
    if better:
        said = "; ".join(f"{form.name} ({form.size:.3f}, {form.time:.2f}, {form.lost})" for form in better)
        notes.append(f"{task.name}: of the others smaller or faster, {said}.")
    return cells, mine, notes


def _search(task: Task, folder: str, options: tuple[str, ...]) -> Mapping:
    """The report of a search; one that was made before goes on where it was, and times its finalists again."""
    journal = task.folder / folder / "search" / "journal.jsonl"
    if journal.exists():
        lines = journal.read_text().splitlines(keepends=True)
        journal.write_text("".join(line for line in lines if '"did":"timed","key":"final' not in line))
    return json.loads(edgewise([
        "compress", str(task.model), *task.data, "-o", str(task.folder / folder), "--resume", "--json", *options,
    ]))  # fmt: skip


def _halved(task: Task) -> str:
    """Half of the multiply-adds cut away and tuned, whatever that is worth: what it loses."""
    only = replace(task, epochs=task.halved_epochs, chains=("prune-50 > compact",))
    found = _search(task, "halved", (*only.search, "--max-latency-ratio", "9", "--max-drop", "100"))
    row = next(row for row in found["rows"] if row["name"] == "prune-50 > compact")
    if row["heldOut"] is None:
        return row["failed"]
    return f"{row['heldOut']['dropPoints']:+.2f} (p {row['heldOut']['pValue']:.2g})"


def _options(task: Task) -> Namespace:
    parser = ArgumentParser()
    command.register(parser.add_subparsers())
    return parser.parse_args(["compress", str(task.model), *task.data, "-o", "", *task.search])


def _others(task: Task, subject: Subject) -> tuple[dict[str, bytes], list[str]]:
    found: dict[str, bytes] = {}
    failed: list[str] = []
    for name, model in _every(subject):
        if isinstance(model, str):
            failed.append(name)
        else:
            found[name] = model
    try:
        found |= {
            name: model for name, model in nncf_forms(subject.model, subject.bench.samples) if isinstance(model, bytes)
        }
        missing = ""
    except ImportError:
        missing = f"{task.name}: NNCF is not installed here and was left out."
    note = f"{task.name}: {len(failed)} settings of onnxruntime gave no file." if failed else ""
    return found, [text for text in (note, missing) if text]


def _every(subject: Subject) -> Iterator[tuple[str, bytes | str]]:
    yield from onnxruntime_forms(subject.model, subject.bench.samples)


def _verdict(subject: Subject, original: object, model: bytes) -> Verdict:
    samples, held = subject.bench.samples, subject.evaluation
    given = answers(onnx.load_model_from_string(model), samples, held.x)
    return decide(samples.task, original, given, held.y, _DROP, held.group)


def _times(subject: Subject, models: Mapping[str, bytes], timing: Timing) -> dict[str, float]:
    """Median in parts of the reference's; under "" the reference's in milliseconds."""
    timed = time_models(subject.model, models, subject.bench.sample(), clock=SystemClock(), timing=timing)
    return {name: one.ratio for name, one in timed.items()} | {"": next(iter(timed.values())).original.p50_ms}


def _form(name: str, model: bytes, verdict: Verdict, subject: Subject, times: Mapping[str, float]) -> Form:
    return Form(name, model, verdict, len(model) / len(subject.model), times[name])


def _both(form: Form) -> float:
    return sqrt(form.size * form.time)


def _accuracy(subject: Subject, original: object) -> float:
    return decide(subject.bench.samples.task, original, original, subject.evaluation.y, _DROP).metric.value
