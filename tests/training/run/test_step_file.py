"""A training step is read as strictly as it is written, and every fault is named."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgewise.bundle.safetensors import dump_arrays, parse_arrays
from edgewise.errors import DocumentError, EdgewiseError, HostileBundleError, NotFoundError
from edgewise.training.run.step_file import (
    OPTIMIZER,
    MemoryEstimate,
    ScalarSpec,
    StateSpec,
    StepSpec,
    TrainingStep,
    ValueSpec,
)

pytestmark = pytest.mark.bare

SPEC = StepSpec(
    inputs=(ValueSpec("x", "float32", ("batch", 3)),), targets=(ValueSpec("target", "int64", ("batch",), below=4),),
    scalars=(ScalarSpec("learning_rate", "float32", 0.1),),
    states=(StateSpec("param/w", "next/param/w", "float32", (3, 4), "parameter", "w"),),
    loss="loss", grad_norm="grad_norm", outputs=(ValueSpec("y", "float32", ("batch", 4)),),
    forward_outputs=(ValueSpec("y", "float32", ("batch", 4)),), memory=MemoryEstimate(1000, 10),
)  # fmt: skip
STEP = TrainingStep(SPEC, b"step", b"forward", None, {"param/w": np.ones((3, 4), np.float32)})


def test_a_description_is_itself_after_writing_and_reading() -> None:
    assert StepSpec.from_json(SPEC.to_json()) == SPEC
    assert StepSpec.from_json(replace(SPEC, memory=None).to_json()) == replace(SPEC, memory=None)


def test_every_fault_of_a_description_is_named_at_once() -> None:
    with pytest.raises(DocumentError) as caught:
        replace(
            SPEC,
            inputs=(ValueSpec("x", "float33", ("batch", -1), below=3),),
            states=(StateSpec("x", "loss", "float32", (3, 4), "weight"),),
            scalars=(ScalarSpec("\n", "bool", float("nan")),),
            accumulates=0,
        )
    text = "\n".join(caught.value.problems)
    for part in (
        "float33", "(batch, -1)".replace("batch", "'batch'"), "below", "'weight' is not one of", "at least one parameter",
        "inputs: 'x' is there twice", "outputs: 'loss' is there twice", "a finite default", "accumulates: 0", "'\\n' is not a name",
    ):  # fmt: skip
        assert part in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "2 is not known here"), ({"loss": None}, "text is needed"), ({"inputs": 3}, "a list is needed"),
        ({"accumulates": True}, "an integer is needed"), ({"more": 1}, "not a field"), ({"memory": {"fixed": 1}}, "is missing"),
        ({"states": [{"input": "a"}]}, "states[0].output: is missing"), ({"gradNorm": 4}, "gradNorm: text is needed"),
        ({"scalars": [{"name": "a", "dtype": "float32", "default": "0"}]}, "a number is needed"),
    ],
)  # fmt: skip
def test_another_form_is_refused_with_the_place(change: dict[str, object], words: str) -> None:
    value = json.loads(SPEC.to_json()) | change
    with pytest.raises(DocumentError, match=words.replace("[", r"\[")):
        StepSpec.from_json(json.dumps(value).encode())


def test_what_is_not_plain_json_is_refused() -> None:
    for data in (b"", b"[]", b'{"version":1,"version":1}', b'{"version":NaN}', b" " * (5 << 20)):
        with pytest.raises(HostileBundleError):
            StepSpec.from_json(data)


def test_truncated_descriptions_never_crash() -> None:
    data = SPEC.to_json()
    for end in range(0, len(data), 7):
        with pytest.raises(EdgewiseError):
            StepSpec.from_json(data[:end])


def test_a_step_is_itself_in_blobs_and_in_a_folder(tmp_path: Path) -> None:
    STEP.write(tmp_path / "step")
    for again in (TrainingStep.from_blobs(STEP.to_blobs()), TrainingStep.read(tmp_path / "step")):
        assert again.to_blobs() == STEP.to_blobs()
        assert again.digest() == STEP.digest()
    assert sorted(path.name for path in (tmp_path / "step").iterdir()) == sorted(STEP.to_blobs())


def test_what_the_optimizer_starts_from_is_stored_only_where_it_is_not_zero() -> None:
    slots = tuple(StateSpec(f"slot/{at}", f"next/slot/{at}", "float32", (3, 4), OPTIMIZER, "w") for at in range(2))
    spec = replace(SPEC, states=(*SPEC.states, *slots))
    first = {"slot/0": np.zeros((3, 4), np.float32), "slot/1": np.eye(3, 4, dtype=np.float32)}
    step = replace(STEP, spec=spec, initial={**STEP.initial, **first})
    blobs = step.to_blobs()
    assert "slot/0" not in parse_arrays(blobs["initial.safetensors"], "here")
    again = TrainingStep.from_blobs(blobs)
    assert again.digest() == step.digest()
    assert all(np.array_equal(again.initial[name], array) for name, array in step.initial.items())
    with pytest.raises(DocumentError, match="slot/0 is zero and must be left out"):
        TrainingStep.from_blobs({**blobs, "initial.safetensors": dump_arrays(step.initial)})


def test_few_bytes_do_not_ask_for_many() -> None:
    slot = StateSpec("slot", "next/slot", "float32", (1 << 20,), OPTIMIZER, "w")
    step = replace(
        STEP, spec=replace(SPEC, states=(*SPEC.states, slot)),
        initial={**STEP.initial, "slot": np.zeros(1 << 20, np.float32)},
    )  # fmt: skip
    with pytest.raises(DocumentError, match="bytes of zeros are left out"):
        TrainingStep.from_blobs(step.to_blobs())


def test_the_digest_covers_every_part() -> None:
    other = {"param/w": np.zeros((3, 4), np.float32)}
    changed = [
        replace(STEP, step=b"other"), replace(STEP, forward=b"other"), replace(STEP, initial=other),
        replace(STEP, spec=replace(SPEC, memory=None)), replace(STEP, spec=replace(SPEC, accumulates=2), accumulate=b"a"),
        replace(STEP, spec=replace(SPEC, accumulates=2), accumulate=b"b"),
    ]  # fmt: skip
    assert len({step.digest() for step in (STEP, *changed)}) == len(changed) + 1


def test_parts_that_do_not_fit_together_are_refused() -> None:
    for initial in (
        {},
        {"param/w": np.ones((3, 4))},
        {"param/w": np.ones((4, 3), np.float32)},
        {**STEP.initial, "v": np.ones(1)},
    ):
        with pytest.raises(DocumentError, match=r"param/w|v: is not"):
            replace(STEP, initial=initial)
    with pytest.raises(DocumentError, match="accumulate"):
        replace(STEP, accumulate=b"graph")
    with pytest.raises(DocumentError, match=r"step: is empty; forward: is empty"):
        replace(STEP, step=b"", forward=b"")
    blobs = STEP.to_blobs()
    with pytest.raises(DocumentError, match=r"spec.json: is missing; extra: does not belong"):
        TrainingStep.from_blobs({name: data for name, data in blobs.items() if name != "spec.json"} | {"extra": b""})


def test_a_folder_without_a_part_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        TrainingStep.read(tmp_path / "none")
    STEP.write(tmp_path)
    (tmp_path / "forward.onnx").unlink()
    with pytest.raises(NotFoundError, match=r"forward.onnx"):
        TrainingStep.read(tmp_path)
