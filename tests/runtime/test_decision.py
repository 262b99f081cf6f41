"""What a model decides is read from each form that deciders come in; a form that says nothing is never guessed at."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewise.errors import DataError, InputError
from edgewise.runtime.answer import Answer
from edgewise.runtime.decision import are_indices, read_detections, top_scores, winners
from edgewise.runtime.rows import join_rows, row_at
from edgewise.runtime.session import Origin

pytestmark = pytest.mark.bare

LABELS = ("a", "b", "c")


def answer(task: str, single: bool = False, batched: bool = True, **outputs: Any) -> Answer:
    arrays = {name: np.asarray(value) for name, value in outputs.items()}
    decision = next(iter(arrays))
    return Answer(arrays, Origin("fp32", "onnxruntime", "CPU", decision, task, LABELS, batched), single)


def test_the_vectors_of_the_format_hold(spec: Path) -> None:
    for case in json.loads((spec / "vectors" / "bundle" / "decisions.json").read_text()):
        output, *beside = (
            np.array(part["values"], part["dtype"]) for part in (case["output"], case["beside"]) if part is not None
        )
        assert winners(output).tolist() == case["classes"]
        scores = [None if np.isnan(score) else score for score in top_scores(output, beside).tolist()]
        assert scores == case["scores"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]], np.float32), [1, 0]),
        (np.array([[3, 250, 7]], np.uint8), [1]),
        (np.array([[-128, -5, -7]], np.int8), [1]),
        (np.array([[0.49], [0.5], [0.9]], np.float32), [0, 1, 1]),
        (np.array([0.2, 0.8], np.float32), [0, 1]),
        (np.array([2, 0, 1], np.int64), [2, 0, 1]),
        (np.array([[2, 0], [1, 2]], np.int32), [2, 1]),
    ],
    ids=["scores", "uint8", "int8", "one-score", "flat-score", "labels", "ranked"],
)
def test_the_winner_is_found_in_every_form(values: np.ndarray, expected: list[int]) -> None:
    assert winners(values).tolist() == expected


def test_only_wide_whole_numbers_are_indices() -> None:
    assert [are_indices(np.zeros(1, kind)) for kind in ("int64", "int32", "uint8", "int8", "float32")] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_the_score_of_one_score_is_that_of_the_class_that_wins() -> None:
    assert top_scores(np.array([[0.2], [0.7]])) == pytest.approx([0.8, 0.7])


def test_indices_take_their_score_from_beside_and_from_nowhere_else() -> None:
    ranked = np.array([[2, 0], [1, 2]])
    assert top_scores(ranked, [np.array([[0.9, 0.1], [0.6, 0.3]])]).tolist() == [0.9, 0.6]
    assert top_scores(np.array([2, 0]), [np.array([[0.1, 0.2, 0.7], [0.8, 0.1, 0.1]])]).tolist() == [0.7, 0.8]
    assert np.isnan(top_scores(ranked)).all()
    assert np.isnan(top_scores(ranked, [np.zeros((2, 2)), np.ones((2, 2))])).all(), "two fit: neither is believed"
    assert np.isnan(top_scores(np.array([5, 0]), [np.zeros((2, 3))])).all(), "a class that the scores lack"


def test_an_answer_names_its_class_whatever_the_form() -> None:
    assert answer("classification", p=[[0.1, 0.2, 0.7]]).label == ["c"]
    assert answer("classification", True, p=[[0.1, 0.2, 0.7]]).label == "c"
    ranked = answer("classification", True, indices=np.array([[1, 2]]), values=np.array([[0.6, 0.3]], np.float32))
    assert (ranked.label, ranked.index, ranked.score) == ("b", 1, pytest.approx(0.6))
    assert answer("classification", True, label=np.array(["b"], object)).label == "b"
    alone = answer("classification", False, False, p=[0.1, 0.2, 0.7])
    assert (alone.label, alone.index) == ("c", 2)
    assert answer("classification", True, indices=np.array([1])).to_json()["score"] is None


@pytest.mark.parametrize("task", ["classification", "anomaly", "multilabel"])
def test_the_output_that_decides_need_not_be_the_first(task: str) -> None:
    outputs = {"features": np.array([[9.0, 0.0, 0.0]], np.float32), "p": np.array([[0.1, 0.2, 0.7]], np.float32)}
    said = Answer(outputs, Origin("fp32", "onnxruntime", "CPU", "p", task, LABELS), True)
    assert said.output.tolist() == pytest.approx([0.1, 0.2, 0.7])
    if task == "classification":
        assert (said.label, said.index, said.score) == ("c", 2, pytest.approx(0.7))
    elif task == "anomaly":
        assert said.score == pytest.approx(0.1)
    else:
        assert said.labels == ["c"]


def test_a_label_beyond_the_list_is_its_number() -> None:
    assert answer("classification", True, indices=np.array([7])).label == "7"
    assert answer("classification", True, indices=np.array([-1])).label == "-1"


def test_several_labels_can_be_set_at_once_or_none() -> None:
    said = answer("multilabel", p=np.array([[0.9, 0.1, 0.5], [0.1, 0.2, 0.3]]))
    assert said.labels == [["a", "c"], []]
    assert said.to_json()["labels"] == [["a", "c"], []]


def test_detections_leave_padding_out() -> None:
    rows = np.array([[1, 2, 3, 4, 0.9, 1], [0, 0, 0, 0, 0, -1]], np.float32)
    (found,) = read_detections(rows, LABELS)
    assert (found.label, found.box) == ("b", (1, 2, 3, 4))
    said = answer("detection", True, found=rows[None])
    assert said.to_json()["detections"] == [found.to_json()]
    assert len(answer("detection", found=np.stack([rows, rows])).to_json()["detections"]) == 2


def test_json_has_no_nan() -> None:
    value = answer("tensor", y=np.array([[1.0, np.nan, np.inf]], np.float32)).to_json()
    assert value["outputs"] == {"y": [[1.0, None, None]]}


def test_samples_go_in_and_answers_come_out_with_and_without_the_batch_axis() -> None:
    x = np.arange(12).reshape(3, 4)
    assert row_at(x, 1, 2).tolist() == [[4, 5, 6, 7]]
    assert row_at(x, 1, 1).tolist() == [4, 5, 6, 7]
    assert join_rows([np.zeros((1, 4)), np.ones((1, 4))], batched=True).shape == (2, 4)
    assert join_rows([np.zeros(4), np.ones(4)], batched=False).shape == (2, 4)
    assert join_rows([np.zeros(()), np.ones(())], batched=True).tolist() == [0, 1]


@pytest.mark.parametrize("what", ["label", "index", "score", "labels", "detections"])
def test_an_answer_of_another_task_has_no_class_and_says_what_to_read(what: str) -> None:
    with pytest.raises(InputError, match=f"regression: it has no {what}") as caught:
        getattr(answer("regression", True, y=np.array([[1.5]], np.float32)), what)
    assert "output" in caught.value.remedy


def test_a_quantized_score_is_told_in_real_numbers() -> None:
    origin = Origin("int8", "litert", "CPU", "p", "classification", LABELS, True, (1 / 256, -128))
    said = Answer({"p": np.array([[-128, 127, 0]], np.int8)}, origin, True)
    assert (said.label, said.score) == ("b", pytest.approx(255 / 256))
    assert said.outputs["p"].dtype == np.int8, "the output itself stays as the model gave it"


def test_an_anomaly_has_a_score() -> None:
    assert answer("anomaly", True, s=np.array([[2.5]], np.float32)).score == 2.5
    assert answer("anomaly", s=np.array([1.0, 2.0], np.float32)).to_json()["score"] == [1.0, 2.0]


def test_answers_that_do_not_fit_together_say_so() -> None:
    with pytest.raises(DataError, match=r"different shapes.*\(1, 2\), \(1, 3\)"):
        join_rows([np.zeros((1, 2)), np.zeros((1, 3))], batched=True)
