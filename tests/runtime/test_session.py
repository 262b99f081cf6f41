"""Sessions: inputs are checked against the interface, outputs belong to the caller, states travel in a stream."""

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgewise.bundle.document import Document, File, Variant
from edgewise.bundle.tensors import StateSpec, TensorSpec
from edgewise.errors import ModelError, TensorError
from edgewise.runtime.engine import OpenOptions
from edgewise.runtime.onnxruntime_engine import OnnxRuntimeEngine
from edgewise.runtime.session import Origin, Session

FLOAT = TensorProto.FLOAT
VARIANT = Variant("fp32", "onnx", "fp32", (File("model.onnx", "application/octet-stream", "sha256:" + "0" * 64, 1),))


def open_graph(
    nodes: list[Any],
    inputs: dict[str, list[Any]],
    outputs: dict[str, list[Any]],
    document: Document | None = None,
    variant: Variant = VARIANT,
    **specs: Any,
) -> Session:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    made = document or Document(
        "test", "1", "classification",
        tuple(specs.get(name, TensorSpec(name, "float32", tuple(shape))) for name, shape in inputs.items()),
        tuple(TensorSpec(name, "float32", tuple(shape)) for name, shape in outputs.items()),
        (VARIANT,), labels=("a", "b", "c"),
    )  # fmt: skip
    opened = OnnxRuntimeEngine().open({"model.onnx": model.SerializeToString()}, OpenOptions())
    return Session(
        made, variant, opened, Origin("fp32", "onnxruntime", "CPU", made.outputs[0].name, made.task, made.labels)
    )


@pytest.fixture
def doubler() -> Session:
    spec = TensorSpec("x", "float32", ("batch", 3), (0.0, 1.0))
    return open_graph([helper.make_node("Add", ["x", "x"], ["y"])], {"x": ["batch", 3]}, {"y": ["batch", 3]}, x=spec)


def array(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_one_example_and_a_batch(doubler: Session) -> None:
    one = doubler.predict(array(0.1, 0.9, 0.2))
    assert one.output == pytest.approx([0.2, 1.8, 0.4])
    assert (one.index, one.label, one.score) == (1, "b", pytest.approx(1.8))
    many = doubler.predict(np.stack([array(0.1, 0.9, 0.2), array(1, 0, 0)]))
    assert many.label == ["b", "a"]
    assert many.output.shape == (2, 3)


def test_by_name_and_by_keyword(doubler: Session) -> None:
    assert doubler.predict({"x": array(0, 0, 1)}).label == "c"
    assert doubler.predict(x=array(0, 0, 1)).label == "c"
    assert doubler.predict([0.0, 0.0, 1.0]).label == "c"


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (array(0, 0, 1).astype(np.float64), "got dtype float64"),
        (array(0, 0), r"got shape \(2,\)"),
        (np.zeros((2, 2, 3), np.float32), r"got shape \(2, 2, 3\)"),
        (array(0, 0, 1.5), r"got values 0..1.5"),
        (array(0, 0, -0.1), r"got values -0.1..0"),
        (array(0, np.nan, 0), "got values nan"),
        ("text", "got a str"),
        (None, "missing x"),
    ],
    ids=["dtype", "short", "rank", "above", "below", "nan", "text", "nothing"],
)
def test_what_does_not_fit_is_refused_with_expected_and_got(doubler: Session, given: Any, fault: str) -> None:
    for attempt in (lambda: doubler.predict(given), lambda: doubler.predict({"x": given} if given is not None else {})):
        with pytest.raises(TensorError, match=fault) as caught:
            attempt()
        assert "x" in caught.value.what
    assert caught.value.remedy


def test_unknown_and_missing_names_are_both_told(doubler: Session) -> None:
    with pytest.raises(TensorError, match=r"missing x: float32.*unknown z"):
        doubler.predict({"z": array(0, 0, 1)})


def test_an_answer_does_not_change_when_the_next_question_is_asked(doubler: Session) -> None:
    first = [doubler.predict(array(0.5, 0, 0)) for _ in range(3)][-1]
    kept = first.output.copy()
    doubler.predict(array(1, 1, 1))
    assert np.array_equal(first.output, kept)


def test_many_threads_get_their_own_answers(doubler: Session) -> None:
    wrong: list[float] = []

    def ask(value: float) -> None:
        for _ in range(300):
            got = doubler.predict(array(value, value, value)).output
            if not np.allclose(got, 2 * value):
                wrong.append(value)

    threads = [threading.Thread(target=ask, args=(number / 8,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_batches_of_changing_size_after_one_another(doubler: Session) -> None:
    for size in (1, 4, 1, 7, 2, 9, 1, 11, 4):
        x = np.full((size, 3), size / 16, np.float32)
        assert np.allclose(doubler.predict(x).outputs["y"], x * 2)


def test_a_stream_carries_its_state_and_predict_never_does() -> None:
    document = Document(
        "sum", "1", "tensor",
        (TensorSpec("x", "float32", ("batch", 1)), TensorSpec("state", "float32", (1, 1))),
        (TensorSpec("total", "float32", (1, 1)), TensorSpec("next", "float32", (1, 1))),
        (VARIANT,), states=(StateSpec("state", "next"),),
    )  # fmt: skip
    nodes = [helper.make_node("Add", ["x", "state"], ["total"]), helper.make_node("Identity", ["total"], ["next"])]
    session = open_graph(nodes, {"x": ["batch", 1], "state": [1, 1]}, {"total": [1, 1], "next": [1, 1]}, document)
    stream, other = session.stream(), session.stream()
    assert [float(stream.predict(array(v)[None]).outputs["total"].item()) for v in (1, 2, 3)] == [1, 3, 6]
    assert float(other.predict(array(5)[None]).outputs["total"].item()) == 5
    assert float(session.predict(array(4)[None]).outputs["total"].item()) == 4
    stream.reset()
    assert float(stream.predict(array(4)[None]).outputs["total"].item()) == 4


def test_a_model_that_does_not_fit_its_interface_is_refused_before_the_first_answer() -> None:
    wrong = Document(
        "test", "1", "tensor", (TensorSpec("image", "uint8", ("batch", 3)),), (TensorSpec("y", "float32", ("batch", 3)),),
        (VARIANT,),
    )  # fmt: skip
    with pytest.raises(ModelError, match="no input 'image'"):
        open_graph([helper.make_node("Add", ["x", "x"], ["y"])], {"x": ["batch", 3]}, {"y": ["batch", 3]}, wrong)


def test_an_answer_is_json(doubler: Session) -> None:
    value = doubler.predict(array(0, 1, 0)).to_json()
    assert value["label"] == "b"
    assert value["outputs"] == {"y": [[0.0, 2.0, 0.0]]}
    assert value["deferred"] is False


def test_free_sizes_are_free_and_fixed_ones_are_checked() -> None:
    spec = TensorSpec("x", "float32", ("batch", "height", 2))
    model = open_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        {"x": ["batch", "height", 2]},
        {"y": ["batch", "height", 2]},
        x=spec,
    )
    for height in (1, 5):
        assert model.predict(np.zeros((1, height, 2), np.float32)).outputs["y"].shape == (1, height, 2)
    with pytest.raises(TensorError, match=r"got shape \(1, 5, 3\)"):
        model.predict(np.zeros((1, 5, 3), np.float32))


def test_inputs_of_one_call_are_all_single_or_all_batches(doubler: Session) -> None:
    nodes = [helper.make_node("Add", ["a", "b"], ["y"])]
    two = open_graph(nodes, {"a": ["batch", 3], "b": ["batch", 3]}, {"y": ["batch", 3]})
    one, many = array(1, 2, 3), np.ones((2, 3), np.float32)
    assert two.predict(a=one, b=one).output.tolist() == [2, 4, 6]
    assert two.predict(a=one, b=one[None]).output.tolist() == [2, 4, 6]
    with pytest.raises(TensorError, match="a came as one example, b as a batch"):
        two.predict(a=one, b=many)
    with pytest.raises(TensorError, match=r"both by position and by name \(foo\)"):
        doubler.predict(one, foo=one)


def test_answers_bear_the_interfaces_names_whatever_the_file_calls_its_tensors() -> None:
    document = Document(
        "test", "1", "tensor", (TensorSpec("x", "float32", ("batch", 3)),), (TensorSpec("y", "float32", ("batch", 3)),), (VARIANT,)
    )  # fmt: skip
    renamed = replace(VARIANT, inputs={"x": "in:0"}, outputs={"y": "Identity:0"})
    nodes = [helper.make_node("Add", ["in:0", "in:0"], ["Identity:0"])]
    session = open_graph(nodes, {"in:0": ["batch", 3]}, {"Identity:0": ["batch", 3]}, document, renamed)
    x = array(1, 2, 3)
    for said in (session.predict(x), session.predict({"x": x}), session.predict(x=x), session.stream().predict(x)):
        assert list(said.outputs) == ["y"]
        assert said.output.tolist() == [2, 4, 6]


def test_a_state_travels_under_the_files_names_and_a_free_dimension_of_it_starts_as_one() -> None:
    document = Document(
        "sum", "1", "tensor",
        (TensorSpec("x", "float32", ("batch", 1)), TensorSpec("state", "float32", ("batch", 1))),
        (TensorSpec("total", "float32", ("batch", 1)), TensorSpec("next", "float32", ("batch", 1))),
        (VARIANT,), states=(StateSpec("state", "next"),),
    )  # fmt: skip
    renamed = replace(VARIANT, inputs={"state": "h"}, outputs={"next": "h_out", "total": "sum"})
    nodes = [helper.make_node("Add", ["x", "h"], ["sum"]), helper.make_node("Add", ["sum", "x"], ["h_out"])]
    shape: list[Any] = ["batch", 1]
    session = open_graph(nodes, {"x": shape, "h": shape}, {"sum": shape, "h_out": shape}, document, renamed)
    stream = session.stream()
    said = [stream.predict(array(value)[None]).outputs["total"].tolist() for value in (1, 2, 3)]
    assert said == [[[1]], [[4]], [[9]]]
    assert session.predict(array(5)[None]).outputs["total"].tolist() == [[5]]


@pytest.mark.parametrize(
    ("inputs", "output", "words"),
    [
        ((TensorSpec("x", "uint8", ("batch", 3)),), "y", "input 'x' of dtype float32, not uint8"),
        ((TensorSpec("x", "float32", ("batch", 3, 1)),), "y", r"input 'x' of shape \('batch', 3\), not \('batch', 3, 1\)"),
        ((TensorSpec("x", "float32", ("batch", 3)),), "z", "no output 'z'"),
        ((), "y", "an input 'x' that the interface lacks"),
    ],
    ids=["dtype", "rank", "output", "input"],
)  # fmt: skip
def test_each_way_not_to_fit_the_interface_is_told(inputs: tuple[TensorSpec, ...], output: str, words: str) -> None:
    """Everything else fits, so it is this one fault that is found."""
    given = (*inputs, TensorSpec("w", "float32", ("batch", 3)))
    document = Document("test", "1", "tensor", given, (TensorSpec(output, "float32", ("batch", 3)),), (VARIANT,))
    with pytest.raises(ModelError, match=f"it has {words}$") as caught:
        open_graph(
            [helper.make_node("Add", ["x", "w"], ["y"])], {"x": ["batch", 3], "w": ["batch", 3]}, {"y": ["batch", 3]}, document
        )  # fmt: skip
    assert "Pack the model again" in caught.value.remedy


def test_outputs_beyond_the_interface_are_handed_out_only_where_they_are_asked_for() -> None:
    nodes = [helper.make_node("Add", ["x", "x"], ["y"]), helper.make_node("Neg", ["x"], ["sure"])]
    session = open_graph(nodes, {"x": ["batch", 3]}, {"y": ["batch", 3], "sure": ["batch", 3]})
    document = replace(session.document, outputs=session.document.outputs[:1])
    given = (document, VARIANT, session._opened, session.origin)
    x = array(1, 2, 3)
    assert list(Session(*given).predict(x).outputs) == ["y"]
    asked = Session(*given, also=("sure",)).predict(x)
    assert list(asked.outputs) == ["y", "sure"]
    assert asked.outputs["sure"].tolist() == [[-1, -2, -3]]
    assert asked.origin.also == ("sure",)
    renamed = replace(document, outputs=(TensorSpec("answer", "float32", ("batch", 3)),), decision="answer")
    variant = replace(VARIANT, outputs={"answer": "y"})
    both = Session(renamed, variant, session._opened, replace(session.origin, decision="answer"), also=("sure",))
    assert {name: value.tolist() for name, value in both.predict(np.stack([x, x])).outputs.items()} == {
        "answer": [[2, 4, 6]] * 2, "sure": [[-1, -2, -3]] * 2,
    }  # fmt: skip
    assert both.stream().predict(x).outputs.keys() == {"answer", "sure"}


@pytest.mark.parametrize(
    ("also", "said"), [(("other",), "no output 'other'"), (("y",), "the interface calls so as well")]
)
def test_an_output_that_is_not_there_or_has_a_name_of_the_interface_is_refused(
    also: tuple[str, ...], said: str
) -> None:
    session = open_graph([helper.make_node("Add", ["x", "x"], ["y"])], {"x": ["batch", 3]}, {"y": ["batch", 3]})
    with pytest.raises(ModelError, match=said):
        Session(session.document, VARIANT, session._opened, session.origin, also=also)


def test_a_score_beside_class_indices_is_not_taken_for_theirs() -> None:
    nodes = [helper.make_node("TopK", ["x", "k"], ["top", "index"], axis=1), helper.make_node("Neg", ["top"], ["sure"])]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("index", TensorProto.INT64, ["batch", 1])]
        + [helper.make_tensor_value_info(name, FLOAT, ["batch", 1]) for name in ("top", "sure")],
        [helper.make_tensor("k", TensorProto.INT64, [1], [1])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    opened = OnnxRuntimeEngine().open({"model.onnx": model.SerializeToString()}, OpenOptions())
    outputs = (TensorSpec("index", "int64", ("batch", 1)), TensorSpec("top", "float32", ("batch", 1)))
    document = Document(
        "test",
        "1",
        "classification",
        (TensorSpec("x", "float32", ("batch", 3)),),
        outputs,
        (VARIANT,),
        decision="index",
    )
    origin = Origin("fp32", "onnxruntime", "CPU", "index", "classification")
    answer = Session(document, VARIANT, opened, origin, also=("sure",)).predict(array(0, 7, 1))
    assert (answer.index, answer.score) == (1, 7.0)
