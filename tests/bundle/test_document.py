"""A document reads back as it was written, and says every problem at once."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.bundle.derivation import DataUse, Derivation, Judgement
from edgewise.bundle.document import FORMATS, PRECISIONS, TASKS, Document, File, Golden, Variant, parse_document
from edgewise.bundle.tensors import CONTENT, DTYPES, StateSpec, TensorSpec
from edgewise.bundle.training_parts import PARTS, TrainingEntry
from edgewise.errors import DocumentError
from edgewise.testing.raw_layout import RawLayout
from edgewise.testing.sample_bundles import full_bundle, learning_bundle, sample_document

NAMES = st.from_regex(r"\A[a-z0-9]+(?:[._-][a-z0-9]+){0,2}\Z").filter(lambda name: len(name) <= 60)
PLAIN = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20)
IDENTIFIERS = PLAIN.filter(bool)
SEGMENTS = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_+-]{0,10}\Z")
PATHS = st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join)
NUMBERS = st.floats(0, 1e6, allow_nan=False)
EXTRA = st.dictionaries(PLAIN.map("x-".__add__), st.integers(0, 5) | PLAIN | st.lists(PLAIN, max_size=2), max_size=2)
MEDIA_TYPES = st.sampled_from(["application/octet-stream", "text/plain", "application/vnd.x+json"])
DIGESTS = st.from_regex(r"\Asha256:[0-9a-f]{64}\Z")
FILES = st.builds(File, PATHS, MEDIA_TYPES, DIGESTS, st.integers(0, 2**53 - 1), EXTRA)
DIMENSIONS = st.integers(1, 2**31 - 1) | IDENTIFIERS
RANGES = st.none() | st.tuples(NUMBERS, NUMBERS).map(sorted).map(tuple)
SHAPES = st.lists(DIMENSIONS, max_size=4).map(tuple)
TENSORS = st.builds(TensorSpec, IDENTIFIERS, st.sampled_from(DTYPES), SHAPES, RANGES, st.sampled_from(CONTENT), EXTRA)
GOLDENS = st.builds(
    Golden, FILES, NUMBERS, NUMBERS, st.floats(0, 1), st.dictionaries(NAMES, NUMBERS, max_size=2), EXTRA
)
WORDS = PLAIN.filter(bool)
USES = st.builds(DataUse, WORDS, st.just("") | DIGESTS, st.integers(0, 2**53 - 1), EXTRA)
JUDGEMENTS = st.builds(
    Judgement, WORDS, NUMBERS, st.floats(-99, 99), NUMBERS, WORDS, st.booleans(), st.booleans(), st.none() | st.floats(0, 1), EXTRA
)  # fmt: skip
DERIVATIONS = st.builds(
    Derivation, DIGESTS, st.lists(WORDS, min_size=1, max_size=3).map(tuple), PLAIN, st.none() | st.integers(0, 2**53 - 1),
    st.none() | st.integers(0, 99), st.lists(USES, max_size=2).map(tuple), st.none() | JUDGEMENTS, EXTRA,
)  # fmt: skip


def unique(items: st.SearchStrategy[Any], key: Any, least: int = 0) -> st.SearchStrategy[Any]:
    return st.lists(items, min_size=least, max_size=3, unique_by=key).map(tuple)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    inputs = draw(unique(TENSORS, lambda spec: spec.name, 1))
    outputs = draw(unique(TENSORS, lambda spec: spec.name, 1))
    renamed_in = st.dictionaries(st.sampled_from([spec.name for spec in inputs]), PLAIN, max_size=2)
    renamed_out = st.dictionaries(st.sampled_from([spec.name for spec in outputs]), PLAIN, max_size=2)
    files = unique(FILES, lambda file: file.path, 1)
    requires = st.dictionaries(PLAIN, st.integers(0, 9), max_size=2)
    variant = st.builds(
        Variant,
        NAMES,
        st.sampled_from(FORMATS),
        st.sampled_from(PRECISIONS),
        files,
        renamed_in,
        renamed_out,
        requires,
        EXTRA,
        st.none() | DERIVATIONS,
    )
    state = st.builds(
        StateSpec,
        st.sampled_from([spec.name for spec in inputs]),
        st.sampled_from([spec.name for spec in outputs]),
        EXTRA,
    )
    variants = draw(unique(variant, lambda item: item.name, 1))
    files, training = draw(unique(FILES, lambda file: file.path)), ()
    if draw(st.booleans()):
        names = [name for name in PARTS if PARTS[name].needed or draw(st.booleans())]
        parts = tuple(File(f"training/{name}", PARTS[name].media_type, draw(DIGESTS), draw(st.integers(1, 4 << 20)))
                      for name in names)  # fmt: skip
        files = (*(file for file in files if not file.path.startswith("training/")), *parts)
        paths = {name: part.path for name, part in zip(names, parts, strict=True)}
        chosen = draw(st.sampled_from(variants))
        training = (TrainingEntry(chosen.name, chosen.digest, paths, draw(PLAIN), draw(PLAIN), draw(EXTRA)),)
    return Document(
        name=draw(NAMES),
        version=draw(st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,20}\Z")),
        task=draw(st.sampled_from(TASKS)),
        inputs=inputs,
        outputs=outputs,
        variants=variants,
        decision=draw(st.sampled_from(["", *(spec.name for spec in outputs)])),
        labels=tuple(draw(st.lists(PLAIN, max_size=4))),
        states=tuple(draw(st.lists(state, max_size=2))),
        golden=draw(st.none() | GOLDENS),
        files=files,
        description=draw(PLAIN),
        licence=draw(PLAIN),
        training=training,
        extra=draw(EXTRA),
    )


@given(documents())
def test_parse_after_write_is_the_identity(document: Document) -> None:
    assert parse_document(document.to_bytes()) == document


@given(documents())
def test_canonical_bytes_are_a_fixed_point(document: Document) -> None:
    assert parse_document(document.to_bytes()).to_bytes() == document.to_bytes()


def test_every_valid_document_fits_the_schema(spec: Path) -> None:
    schema = json.loads((spec / "schemas" / "bundle.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)

    @given(documents())
    def check(document: Document) -> None:
        validator.validate(document.to_json())

    check()


def test_what_the_reader_refuses_the_schema_refuses_where_it_can(spec: Path) -> None:
    """The exceptions are references between fields, which JSON Schema has no words for."""
    schema = json.loads((spec / "schemas" / "bundle.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    verdicts = json.loads((spec / "attacks" / "verdicts.json").read_text(encoding="utf-8"))
    accepted = {
        name
        for name, verdict in verdicts.items()
        if verdict["rule"] == "document-malformed"
        and validator.is_valid(json.loads((spec / "attacks" / verdict["file"]).read_text(encoding="utf-8")))
    }
    assert accepted == {
        "document-decision", "document-state", "document-variant-twice", "document-files-same-path", "document-range",
        *(f"document-training-{name}" for name in (
            "variant", "model", "twice", "part-unlisted", "part-of-variant", "media-type", "spec-as-graph", "graph-as-spec",
            "graph-empty", "graph-huge", "spec-huge",
        )),
    }  # fmt: skip


def test_every_problem_is_said_at_once_with_its_path() -> None:
    value = sample_document().to_json()
    value["task"] = "guessing"
    value["inputs"][0]["shape"] = [0]
    value["variants"][0]["files"][0]["path"] = "../x"
    del value["version"]
    with pytest.raises(DocumentError) as raised:
        parse_document(json.dumps(value).encode())
    assert len(raised.value.problems) == 4
    assert {problem.split(":")[0] for problem in raised.value.problems} == {
        "version", "task", "inputs[0].shape[0]", "variants[0].files[0].path",
    }  # fmt: skip


def test_keys_from_outside_are_shown_harmlessly() -> None:
    value = sample_document().to_json()
    value["variants"][0]["inputs"] = {"\x1b[2J" + "x" * 10_000: 1}
    with pytest.raises(DocumentError) as raised:
        parse_document(json.dumps(value).encode())
    assert "\x1b" not in str(raised.value)
    assert len(str(raised.value)) < 1000


def test_all_fields_are_in_the_full_sample() -> None:
    """What the vectors are made from leaves no field at its default; training steps are in a sample of their own."""
    document = full_bundle().document
    empty = [name for name in document.__slots__ if not getattr(document, name) and name != "extra"]
    assert empty == ["training"]
    assert set(learning_bundle().document.training[0].parts) == set(PARTS)
    assert set(RawLayout.of(full_bundle()).document) >= {"golden", "states", "labels", "files"}


def problems(value: Any) -> list[str]:
    with pytest.raises(DocumentError) as raised:
        parse_document(json.dumps(value).encode())
    return [problem.split(":")[0] for problem in raised.value.problems]


@pytest.mark.parametrize("path", ["a..b", "..", "a/..", "a/../b", "a//b", "/a", "a/", ".a", "a\\b", "", "x" * 129])
def test_a_path_has_plain_segments_and_no_two_dots_anywhere(path: str) -> None:
    value = sample_document().to_json()
    value["variants"][0]["files"][0]["path"] = path
    assert problems(value) == ["variants[0].files[0].path"]


@pytest.mark.parametrize("dimension", [True, False, 0, -1, 2**31, 1.5, None, ""])
def test_a_dimension_is_a_positive_number_or_a_name(dimension: Any) -> None:
    value = sample_document().to_json()
    value["inputs"][0]["shape"] = ["batch", dimension]
    assert problems(value) == ["inputs[0].shape[1]"]


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_a_variant_renames_only_what_is_in_the_interface(side: str) -> None:
    value = sample_document().to_json()
    value["variants"][0][side] = {"z": "z:0"}
    assert problems(value) == [f"variants[0].{side}"]


@pytest.mark.parametrize("tolerance", [-0.001, True, "0.1", None])
def test_a_tolerance_is_a_number_from_zero_on(tolerance: Any) -> None:
    value = full_bundle().document.to_json()
    value["golden"]["absoluteByVariant"]["int8"] = tolerance
    assert problems(value) == ["golden.absoluteByVariant"]


def test_where_nothing_is_said_every_decision_has_to_be_the_same() -> None:
    value = full_bundle().document.to_json()
    del value["golden"]["agreement"], value["golden"]["absoluteByVariant"]
    golden = parse_document(json.dumps(value).encode()).golden
    assert golden is not None
    assert golden.agreement == 1.0
    assert [golden.tolerance(name) for name in ("fp32", "int8")] == [0.001, 0.001]


def test_a_training_step_is_files_of_the_bundle_like_any_others() -> None:
    """So that a reader that knows nothing of training carries it, and the release covers it."""
    bundle = learning_bundle()
    (entry,) = bundle.document.training
    paths = set(entry.parts.values())
    assert paths <= {file.path for file in bundle.document.files}
    assert paths <= set(bundle.content().values())
    assert bundle.training_parts(entry)["step.onnx"] == b"not really step.onnx"
    value = bundle.document.to_json()
    del value["training"]
    assert parse_document(json.dumps(value).encode()).files == bundle.document.files
