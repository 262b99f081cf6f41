"""Tables as files: Parquet, CSV (and TSV), JSON lines."""

import csv
import json
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from edgewise.bundle.limits import DEFAULT_LIMITS, Limits
from edgewise.digests import digest_of_stream
from edgewise.errors import DataError, MissingExtraError, NotFoundError
from edgewise.measure.dataset import Dataset
from edgewise.training.data.checks import refuse
from edgewise.training.data.columns import USUAL, Columns, dataset_of_columns

__all__ = ["TABLES", "read_table"]

#: Endings of the files that ``read_table`` reads.
TABLES = (".parquet", ".csv", ".tsv", ".jsonl")
_REMEDY = "Correct the lines that are named; lines count from 1."


def read_table(path: Path, columns: Columns = USUAL, limits: Limits = DEFAULT_LIMITS) -> Dataset:
    """The samples of a table; ``columns`` says which column is what.

    Raises NotFoundError, DataError naming lines or rows, and MissingExtraError for Parquet without pyarrow.
    """
    if not path.is_file():
        raise NotFoundError(f"there is no table at {path}", path=str(path))
    if (size := path.stat().st_size) > limits.array_bytes:
        raise DataError(f"{path.name} has {size} bytes; at most {limits.array_bytes} are read", rule="dataset-size")
    form = path.suffix.lower()
    if form == ".parquet":
        table = _parquet(path, limits)
    elif form == ".jsonl":
        table = _json_lines(path)
    elif form in (".csv", ".tsv"):
        table = _csv(path, "\t" if form == ".tsv" else ",")
    else:
        raise DataError(f"{path.name} is no table; {', '.join(TABLES)} are read", rule="dataset-form")
    if not table or not len(next(iter(table.values()))):
        raise DataError(f"{path.name} has no rows", rule="dataset-empty")
    with path.open("rb") as file:
        digest, _ = digest_of_stream(file)
    return dataset_of_columns(table, path.name, columns, digest)


def _parquet(path: Path, limits: Limits) -> Mapping[str, Any]:
    try:
        # Deferred: pyarrow is the optional extra "parquet", and large.
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError:
        raise MissingExtraError(
            f"reading {path.name} needs pyarrow", remedy="pip install 'edgewise[parquet]', or save the data as .npz."
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            groups = range(file.metadata.num_row_groups)
            unpacked = sum(file.metadata.row_group(at).total_byte_size for at in groups)
            if unpacked > limits.array_bytes:
                raise DataError(
                    f"{path.name} unpacks to {unpacked} bytes; at most {limits.array_bytes} are read",
                    rule="dataset-size",
                )
            table = file.read()
            return {name: table.column(name).to_pylist() for name in table.column_names}
    except (OSError, ValueError, KeyError, NotImplementedError) as error:  # pyarrow's own are among these
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path.name} cannot be read as Parquet: {reason:.200}", rule="dataset-file") from None


def _csv(path: Path, comma: str) -> Mapping[str, list[str]]:
    rows: list[list[str]] = []
    problems: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=comma, strict=True)
            heading = [name.strip() for name in next(reader, [])]
            for row in reader:
                if len(row) == len(heading):
                    rows.append(row)
                elif row:
                    problems.append(f"line {reader.line_num} has {len(row)} values, the heading {len(heading)}")
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DataError(f"{path.name} cannot be read as CSV in UTF-8: {error}", rule="dataset-file") from None
    if len(set(heading)) != len(heading) or "" in heading:
        raise DataError(f"{path.name} needs a heading of column names, each one once", rule="table-columns")
    refuse(problems, f"{path.name} cannot be used", _REMEDY)
    return {name: [row[at] for row in rows] for at, name in enumerate(heading)}


def _json_lines(path: Path) -> Mapping[str, list[Any]]:
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    try:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if line.strip():
                _json_line(line, number, rows, problems)
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path.name} cannot be read as JSON lines in UTF-8: {error}", rule="dataset-file") from None
    refuse(problems, f"{path.name} cannot be used", _REMEDY)
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def _json_line(line: str, number: int, rows: list[dict[str, Any]], problems: list[str]) -> None:
    try:
        value = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        problems.append(f"line {number} is no JSON: {error}")
        return
    if not isinstance(value, dict):
        problems.append(f"line {number} is no object")
    elif rows and value.keys() != rows[0].keys():
        problems.append(f"line {number} has the fields {_named(value)}, the first {_named(rows[0])}")
    else:
        rows.append(value)


def _named(fields: Iterable[str]) -> str:
    return ", ".join(sorted(fields)) or "none"


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
