"""A packed model can bring the step it learns by: made from its own graph, proven, measured, or refused by name."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx_ad")

from onnx import ModelProto, TensorProto, helper, load_model_from_string, numpy_helper

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.document import Document
from edgewise.bundle.tensors import StateSpec
from edgewise.compose.demo import digits_data, digits_models
from edgewise.errors import InputError, UnsupportedError
from edgewise.graph.answer import labels, sigmoid, softmax, top_k
from edgewise.graph.audio import Framing, log_mel
from edgewise.graph.join import append
from edgewise.graph.mel import MelBank
from edgewise.importing.imported import ImportedModel
from edgewise.importing.joining import with_front
from edgewise.importing.onnx_file import onnx_from_bytes
from edgewise.measure.dataset import Dataset
from edgewise.networks.registry import build
from edgewise.packing.pack import PackRequest, pack
from edgewise.packing.trainable import variant_step
from edgewise.packing.training_request import TrainingRequest
from edgewise.training.run.step_file import BUFFER, PARAMETER, TrainingStep
from edgewise.training.run.stepper import Stepper

FEATURES, CLASSES, COUNT = 4, 3, 24
RNG = np.random.default_rng(0)
X = RNG.normal(size=(COUNT, FEATURES)).astype(np.float32)


def layers(*more: Any, outputs: tuple[tuple[str, int, list[Any]], ...] = (), classes: int = CLASSES) -> ModelProto:
    """Two layers to ``logits`` (batch, classes), then whatever nodes follow."""
    stored = {
        "w1": RNG.normal(size=(FEATURES, 8)), "b1": np.zeros(8), "w2": RNG.normal(size=(8, classes)), "b2": np.zeros(classes),
    }  # fmt: skip
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], "first"), helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["logits"], "second"), *more,
    ]  # fmt: skip
    given = outputs or (("logits", TensorProto.FLOAT, ["batch", classes]),)
    graph = helper.make_graph(
        nodes, "layers", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", FEATURES])],
        [helper.make_tensor_value_info(*output) for output in given],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in stored.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def packed(model: ModelProto, training: TrainingRequest | None = None, x: Any = X, **more: Any) -> Bundle:
    """The whole way: proven on golden inputs, measured."""
    request = PackRequest(
        "m", "1", {"fp32": onnx_from_bytes("m.onnx", model.SerializeToString())}, "classification",
        golden=Dataset(x, np.zeros(len(x))), golden_count=4, training=training or TrainingRequest(), **more,
    )  # fmt: skip
    return pack(request, None).bundle


def step_of(bundle: Bundle) -> TrainingStep:
    (entry,) = bundle.document.training
    assert entry.variant == bundle.document.variants[0].name
    return TrainingStep.from_blobs(bundle.training_parts(entry))


def made(
    model: ModelProto | ImportedModel,
    training: TrainingRequest | None = None,
    task: str = "classification",
    **more: Any,
) -> tuple[TrainingStep, str]:
    """The step alone, and what its loss is called."""
    imported = onnx_from_bytes("m.onnx", model.SerializeToString()) if isinstance(model, ModelProto) else model
    variant, _ = imported.to_variant("fp32")
    document = Document("m", "1", task, imported.inputs, imported.outputs, (variant,), **more)
    step, loss, _ = variant_step(document, variant, imported, training or TrainingRequest())
    return step, loss


def learns(step: TrainingStep, batch: dict[str, Any], rate: float = 0.05, **scalars: float) -> None:
    """The loss on one batch falls."""
    stepper = Stepper(step, threads=1)
    losses = [stepper.step(batch, {"learning_rate": rate, **scalars}).loss for _ in range(15)]
    assert losses[-1] < 0.8 * losses[0]


def trained(step: TrainingStep) -> set[str]:
    return {state.of for state in step.spec.of_role(PARAMETER)}


@pytest.fixture(scope="module")
def plain() -> ModelProto:
    return layers()


ENDINGS: dict[str, tuple[Any, str, str]] = {
    "scores": (lambda model: model, "", "cross-entropy"),
    "softmax": (lambda model: append(model, softmax("logits")), "", "cross-entropy"),
    "temperature": (lambda model: append(model, softmax("logits", divisor=2.0)), "", "cross-entropy"),
    "best two": (lambda model: append(append(model, softmax("logits")), top_k(2)), "indices", "cross-entropy"),
    "best values": (lambda model: append(append(model, softmax("logits")), top_k(2)), "values", "cross-entropy"),
    "names": (
        lambda model: append(append(model, softmax("logits")), labels(["a", "b", "c"])),
        "label",
        "cross-entropy",
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_loss_is_on_the_scores_however_the_graph_ends(ending: str, plain: ModelProto) -> None:
    behind, decision, loss = ENDINGS[ending]
    model = behind(plain)
    step, called = made(model, decision=decision)
    assert called == loss
    assert [(spec.dtype, len(spec.shape), spec.below) for spec in step.spec.targets] == [("int64", 1, CLASSES)]
    numbers = [value.name for value in model.graph.output if value.type.tensor_type.elem_type != TensorProto.STRING]
    assert [spec.name for spec in step.spec.forward_outputs] == numbers
    learns(step, {"x": X, "target": np.arange(COUNT) % CLASSES})


def test_probabilities_that_were_moved_after_their_softmax_are_not_taken_for_scores(plain: ModelProto) -> None:
    def first_loss(model: ModelProto) -> float:
        step, _ = made(model)
        return Stepper(step, threads=1).step({"x": X, "target": np.zeros(COUNT, np.int64)}).loss

    moved = ModelProto.FromString(plain.SerializeToString())
    del moved.graph.output[:]
    moved.graph.node.extend(
        [helper.make_node("Softmax", ["logits"], ["p"], axis=-1), helper.make_node("Reshape", ["p", "to"], ["moved"])]
    )
    moved.graph.initializer.append(numpy_helper.from_array(np.array([-1, CLASSES]), "to"))
    moved.graph.output.append(helper.make_tensor_value_info("moved", TensorProto.FLOAT, ["batch", CLASSES]))
    assert first_loss(moved) == pytest.approx(first_loss(plain), rel=1e-5)


@pytest.mark.parametrize(
    ("task", "classes", "sigmoids", "loss"),
    [("classification", 1, True, "binary-cross-entropy"), ("multilabel", 3, True, "binary-cross-entropy"),
     ("regression", 2, False, "mse")],
)  # fmt: skip
def test_the_task_says_the_loss(task: str, classes: int, sigmoids: bool, loss: str) -> None:
    model = layers(classes=classes)
    step, called = made(append(model, sigmoid("logits")) if sigmoids else model, task=task)
    assert called == loss
    target = (X[:, :classes] > 0).astype(np.float32)
    learns(step, {"x": X, "target": target})


def test_a_task_without_a_loss_of_its_own_needs_one_named(plain: ModelProto) -> None:
    with pytest.raises(UnsupportedError, match="the task tensor has no loss"):
        made(plain, task="tensor")
    assert made(plain, TrainingRequest(loss="huber"), task="tensor")[1] == "huber"


def test_patterns_say_what_learns_and_what_stays(plain: ModelProto) -> None:
    assert trained(made(plain)[0]) == {"w1", "b1", "w2", "b2"}
    assert trained(made(plain, TrainingRequest(("?2",)))[0]) == {"w2", "b2"}
    assert trained(made(plain, TrainingRequest(freeze=("w*",)))[0]) == {"b1", "b2"}
    with pytest.raises(InputError, match="no weights match 'head"):
        made(plain, TrainingRequest(("head.*",)))


def test_adapters_learn_in_the_place_of_weights(plain: ModelProto) -> None:
    step, _ = made(plain, TrainingRequest(("second",), lora=2))
    assert sum(np.size(step.initial[state.input]) for state in step.spec.of_role(PARAMETER)) == 2 * (8 + CLASSES)
    learns(step, {"x": X, "target": np.arange(COUNT) % CLASSES}, rate=0.2)


def test_what_cannot_be_trained_is_refused_by_operator_and_node() -> None:
    rounds = helper.make_node("Round", ["logits"], ["rounded"], "the_rounding")
    end = (("rounded", TensorProto.FLOAT, ["batch", CLASSES]),)
    with pytest.raises(InputError, match="loss does not depend on"):
        made(layers(rounds, outputs=end))
    determinant = helper.make_node("Det", ["square"], ["det"], "the_determinant")
    square = helper.make_node("MatMul", ["column", "row"], ["square"], "outer")
    column = helper.make_node("Unsqueeze", ["logits", "last"], ["column"])
    row = helper.make_node("Unsqueeze", ["logits", "middle"], ["row"])
    model = layers(column, row, square, determinant, outputs=(("det", TensorProto.FLOAT, ["batch"]),))
    model.graph.initializer.extend(
        [numpy_helper.from_array(np.array([2]), "last"), numpy_helper.from_array(np.array([1]), "middle")]
    )
    with pytest.raises(UnsupportedError, match=r"Det \(the_determinant\)"):
        made(model, task="regression")


def test_a_model_with_states_is_refused() -> None:
    model = layers(helper.make_node("Add", ["h", "memory"], ["kept"]))
    model.graph.input.append(helper.make_tensor_value_info("memory", TensorProto.FLOAT, ["batch", 8]))
    model.graph.output.append(helper.make_tensor_value_info("kept", TensorProto.FLOAT, ["batch", 8]))
    with pytest.raises(UnsupportedError, match="stateful"):
        made(model, states=(StateSpec("memory", "kept"),), decision="logits")


def test_preprocessing_in_the_graph_is_no_weight() -> None:
    """The bands of a spectrogram stand where weights stand."""
    classifier = layers()
    frames = helper.make_node("ReduceMean", ["features", "time"], ["x"], keepdims=0)
    graph = classifier.graph
    del graph.input[:]
    graph.node.insert(0, frames)
    graph.input.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", FEATURES, "frames"]))
    graph.initializer.append(numpy_helper.from_array(np.array([2]), "time"))
    front = log_mel(Framing(4000, 128, 64, samples=512), MelBank(FEATURES))
    model = with_front(onnx_from_bytes("m.onnx", classifier.SerializeToString()), front, content="audio")
    step, _ = made(model)
    assert trained(step) == {"w1", "b1", "w2", "b2"}
    assert [spec.name for spec in step.spec.inputs] == ["waveform"]


def test_batch_statistics_stay_unless_they_are_asked_for() -> None:
    x = RNG.normal(size=(8, 1, 49, 10)).astype(np.float32)
    kept, _ = made(build("ds-cnn"))
    assert kept.spec.of_role(BUFFER) == ()
    assert [scalar.name for scalar in kept.spec.scalars][-1] == "seed", "its dropout works while it learns"
    moved, _ = made(build("ds-cnn"), TrainingRequest(batch_statistics=True))
    assert len(moved.spec.of_role(BUFFER)) == 18
    learns(kept, {"x": x, "target": np.arange(8) % 12}, rate=0.01, seed=1)


def test_recomputation_takes_less_memory_and_gives_the_same_loss() -> None:
    x = RNG.normal(size=(8, 1, 49, 10)).astype(np.float32)
    whole, parts = (step_of(packed(build("ds-cnn"), TrainingRequest(recompute=n), x=x)) for n in (1, 4))
    assert whole.spec.memory is not None
    assert parts.spec.memory is not None
    assert parts.spec.memory.per_sample < whole.spec.memory.per_sample
    batch = {"x": x, "target": np.arange(8) % 12}
    losses = [Stepper(step, threads=1).step(batch, {"seed": 5}).loss for step in (whole, parts)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_graphs_have_standard_operators_only_so_that_every_runtime_has_them(plain: ModelProto) -> None:
    step = step_of(packed(plain))
    for graph in (step.step, step.forward):
        model = load_model_from_string(graph)
        assert {node.domain for node in model.graph.node} == {""}


def test_a_quantized_model_alone_learns_in_floating_point() -> None:
    models = digits_models()
    request = PackRequest(
        "digits", "1", {"int8": models["int8"]}, "classification", golden=digits_data("calibration"), golden_count=8,
        training=TrainingRequest(("dense*",)),
    )  # fmt: skip
    result = pack(request, None)
    assert any("its activations are not rounded" in note for note in result.notes)
    data = digits_data("calibration")
    learns(step_of(result.bundle), {"image": data.x[:32], "target": data.y[:32]}, rate=0.01)


def test_the_first_whole_variant_is_the_one_that_learns() -> None:
    models = digits_models()
    request = PackRequest(
        "digits", "1", {"int8": models["int8"], "fp32": models["fp32"]}, "classification",
        golden=digits_data("calibration"), golden_count=8, training=TrainingRequest(("dense*",)),
    )  # fmt: skip
    bundle = pack(request, None).bundle
    (entry,) = bundle.document.training
    assert (entry.variant, entry.model) == ("fp32", bundle.variant("fp32").digest)
    with pytest.raises(UnsupportedError, match="there are fp32"):
        pack(replace(request, models={"fp32": replace(models["fp32"], precision="fp16")}), None)


def test_a_request_says_all_that_is_wrong_with_it() -> None:
    with pytest.raises(InputError) as raised:
        TrainingRequest(loss="hinge", optimizer="magic", recompute=0, learning_rate=-1.0, trainable=())
    assert len(raised.value.details["problems"]) == 5
