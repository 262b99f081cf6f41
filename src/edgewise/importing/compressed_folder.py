"""What `edgewise compress -o DIR` wrote, as models to pack: the original and what was chosen, each with how it was made.

The report is outside input like any other file. A model is taken only where its bytes are those that the report speaks of: else
what it says of accuracy would be said of another model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgewise.bundle.derivation import DataUse, Derivation, Judgement, read_data_use
from edgewise.bundle.document import TASKS
from edgewise.bundle.fields import Form
from edgewise.bundle.strict_json import parse_object
from edgewise.bundle.tensors import IDENTIFIER
from edgewise.digests import digest_of, is_digest
from edgewise.errors import DocumentError, HostileBundleError, InputError
from edgewise.importing.imported import ImportedModel
from edgewise.importing.onnx_file import ONNX_LIMIT, onnx_from_bytes
from edgewise.store.files import read_bounded

__all__ = ["CompressedFolder", "import_compressed", "is_compressed"]

_REPORT, _ORIGINAL, _LABELS = "report.json", "original.onnx", "labels.txt"
_ROLES = ("best", "smallest", "fastest")
_ROWS = 4096
_REPORT_BYTES, _LABEL_BYTES = 4 << 20, 1 << 20
_ANEW = "The same edgewise compress with --resume writes the folder anew, from what was measured already."


@dataclass(frozen=True, slots=True)
class CompressedFolder:
    """models: variant name -> model, "original" first. task, decision, labels: of all of them."""

    models: Mapping[str, ImportedModel]
    task: str
    decision: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    model: str
    did: tuple[str, ...]
    judged: Judgement | None


@dataclass(frozen=True, slots=True)
class _Report:
    task: str
    output: str
    tool: str
    seed: int
    epochs: int
    data: tuple[DataUse, ...]
    chosen: Mapping[str, str]
    files: Mapping[str, str]
    nearest: str
    rows: tuple[_Row, ...]

    def row(self, role: str) -> _Row:
        return next(row for row in self.rows if row.name == self.chosen[role])


def is_compressed(folder: Path) -> bool:
    """Whether ``folder`` looks like what `edgewise compress` writes."""
    return (folder / _REPORT).is_file() and (folder / _ORIGINAL).is_file()


def import_compressed(folder: Path) -> CompressedFolder:
    """The original and the chosen models in ``folder``, those that are one file once.

    Raises DocumentError for a report of another form, InputError where nothing was chosen or a file is not the one that the report
    speaks of, and what importing an ONNX file raises.
    """
    report = _read_report(folder / _REPORT)
    if not report.chosen:
        raise InputError(
            f"the search in {folder} chose nothing: no candidate did all that was asked for; nearest is {report.nearest}",
            remedy="Search again with other limits and --resume, or name the ONNX file that you want packed.",
        )
    original = report.rows[0]
    models = {"original": _model(folder, _ORIGINAL, original)}
    taken = {original.model}
    for role in _ROLES:
        if role not in report.chosen or (row := report.row(role)).model in taken:
            continue
        taken.add(row.model)
        made = Derivation(
            original.model, row.did, report.tool, report.seed, report.epochs, report.data, row.judged
        )  # fmt: skip
        models[role] = replace(_model(folder, report.files[role], row), derivation=made)
    return CompressedFolder(models, report.task, report.output, _labels(folder / _LABELS))


def _model(folder: Path, name: str, row: _Row) -> ImportedModel:
    data = read_bounded(folder / name, ONNX_LIMIT, "the model")
    if digest_of(data) != row.model:
        raise InputError(
            f"{folder / name} is not the model that report.json speaks of as {row.name}: it has {digest_of(data)[:19]}..., "
            f"not {row.model[:19]}...",
            remedy=f"{_ANEW} To pack another file, name it instead of the folder.",
        )
    return onnx_from_bytes(name, data)


def _labels(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    try:
        return tuple(read_bounded(path, _LABEL_BYTES, "the label file").decode("utf-8").removesuffix("\n").split("\n"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: byte {error.start}", remedy=_ANEW) from None


def _read_report(path: Path) -> _Report:
    kind = "report of edgewise compress"
    try:
        form = Form(parse_object(read_bounded(path, _REPORT_BYTES, "the report"), kind), kind)
    except HostileBundleError as error:
        raise DocumentError(kind, [f"(top): {error.what}"], remedy=_ANEW) from None
    form.integer("format", low=1, high=1)
    report = _Report(
        task=form.text("task", one_of=TASKS),
        output=form.text("output", pattern=IDENTIFIER),
        tool=form.text("tool", limit=64),
        seed=form.integer("seed"),
        epochs=form.integer("epochs"),
        data=tuple(form.items("data", read_data_use, limit=16)),
        chosen=form.mapping("chosen", limit=16),
        files=form.mapping("files", limit=16),
        nearest=form.text("nearest", limit=256),
        rows=tuple(form.items("rows", _read_row, limit=_ROWS)),
    )
    _check(report, form)
    try:
        form.finish()
    except DocumentError as error:
        raise DocumentError(kind, error.problems, remedy=_ANEW) from None
    return report


def _check(report: _Report, form: Form) -> None:
    if not report.rows or not is_digest(report.rows[0].model):
        form.problem("rows", "the model as it came is needed first")
    by_name = {row.name: row for row in report.rows}
    for role, name in report.chosen.items():
        row = by_name.get(name)
        if role not in _ROLES or row is None:
            form.problem("chosen", f"{role[:60]!r} is no role, or {name[:60]!r} none of the rows")
        elif not is_digest(row.model) or row.judged is None:
            form.problem("chosen", f"{name[:60]!r} has no model, or no verdict on the samples held out")
        elif report.files.get(role) not in {f"{other}.onnx" for other in _ROLES}:
            form.problem("files", f"the file of {role} is none that is written there")
        elif not row.did and row is not report.rows[0]:
            form.problem("chosen", f"{name[:60]!r} does not say what was done")


def _read_row(form: Form) -> _Row:
    did = form.values("did", lambda item: isinstance(item, str), "a text", limit=64)
    return _Row(
        form.text("name", limit=256), form.text("model", limit=80), tuple(did), form.child("heldOut", _read_judged)
    )  # fmt: skip


def _read_judged(form: Form) -> Judgement:
    metric: tuple[str, float] = form.child("metric", _read_metric) or ("", 0.0)
    significant, passes = (_truth(form, name) for name in ("significant", "passes"))
    return Judgement(
        metric[0], metric[1], form.number("dropPoints"), form.number("allowedPoints", low=0), form.text("test", limit=256),
        significant, passes, None if form.anything("pValue") is None else form.number("pValue", low=0, high=1),
    )  # fmt: skip


def _read_metric(form: Form) -> tuple[str, float]:
    return form.text("name", limit=64), form.number("value")


def _truth(form: Form, name: str) -> bool:
    value: Any = form.anything(name)
    if not isinstance(value, bool):
        form.problem(name, "true or false is needed")
    return value is True
