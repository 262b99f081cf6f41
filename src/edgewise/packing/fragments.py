"""Graph fragments in words, for the command line: ``KIND`` or ``KIND:KEY=VALUE,KEY=VALUE``.

    image:size=224x224,mean=0.485/0.456/0.406,std=0.229/0.224/0.225        softmax        top-k:k=5

The keys of a kind are the arguments of the function behind it, and their types say how a value is read. So what can be said
here is what ``edgewise.graph`` can do, no more and no less.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from onnx import ModelProto

from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import InputError
from edgewise.graph.answer import dequantize, labels, sigmoid, softmax, temperature, top_k
from edgewise.graph.audio import Framing, decibel_mel, log_mel, mel, mfcc, spectrogram
from edgewise.graph.boxes import detection_table
from edgewise.graph.image import image_pipeline
from edgewise.graph.mel import MelBank
from edgewise.graph.sensor import sensor_pipeline
from edgewise.importing.imported import ImportedModel
from edgewise.importing.joining import with_back, with_front

__all__ = ["AFTER", "BEFORE", "before_fragment", "join_after", "join_before"]


@dataclass(frozen=True, slots=True)
class _Kind:
    """parts: what the keys are arguments of; the last one gives the fragment, from the ones before and the rest."""

    parts: tuple[Callable[..., Any], ...]
    content: str = "tensor"
    range: tuple[float, float] | None = None
    decides: str = ""  # the output that decides once it is joined


def _audio(function: Callable[..., ModelProto], *more: Callable[..., Any]) -> _Kind:
    return _Kind((Framing, *more, function), "audio")


#: Kind -> what stands in front of a model.
BEFORE: Mapping[str, _Kind] = {
    "image": _Kind((image_pipeline,), "image", (0.0, 255.0)),
    "spectrogram": _audio(spectrogram),
    "mel": _audio(mel, MelBank),
    "log-mel": _audio(log_mel, MelBank),
    "decibel-mel": _audio(decibel_mel, MelBank),
    "mfcc": _audio(mfcc, MelBank),
    "sensor": _Kind((sensor_pipeline,), "sensor"),
    "dequantize": _Kind((dequantize,)),
}
#: Kind -> what stands behind a model.
AFTER: Mapping[str, _Kind] = {
    "softmax": _Kind((softmax,), decides="probabilities"),
    "sigmoid": _Kind((sigmoid,), decides="probabilities"),
    "temperature": _Kind((temperature,), decides="tempered"),
    "top-k": _Kind((top_k,), decides="indices"),
    "labels": _Kind((labels,), decides="scores"),
    "boxes": _Kind((detection_table,), decides="detections"),
}
# Arguments that follow from the model, or are built from others, and are not asked for.
_DERIVED = {
    "shape", "names", "input_name", "output_name", "values_name", "indices_name", "scores_name", "label_name", "framing", "bank",
    "candidates", "classes", "anchors",
}  # fmt: skip
#: Keys of a kind beside its arguments: which outputs of the model it takes.
_SOURCES = {"boxes": ("boxes", "scores")} | dict.fromkeys(set(AFTER) - {"boxes"}, ("of",))


def before_fragment(text: str, shape: Sequence[int | str]) -> ModelProto:
    """The fragment that ``text`` says, for a model whose input has ``shape``. Raises InputError as ``join_before``."""
    return _before(text, shape)[0]


def join_before(model: ImportedModel, text: str) -> ImportedModel:
    """``model`` behind the fragment that ``text`` says. Raises InputError naming the kinds or keys that there are."""
    fragment, kind, values = _before(text, model.inputs[0].shape)
    rate = values.get("sample_rate") if kind.content == "audio" else None
    return with_front(
        model, fragment, content=kind.content, limits=kind.range, extra={"sampleRate": rate} if rate else {}
    )


def _before(text: str, shape: Sequence[int | str]) -> tuple[ModelProto, _Kind, dict[str, Any]]:
    kind, name, values = _parse(text, BEFORE, "--before")
    if name == "dequantize":
        values["shape"] = shape
    if name == "image":
        values.setdefault("layout", _layout(shape, values))
    return _build(kind, values, text), kind, values


def join_after(model: ImportedModel, text: str, names: Sequence[str]) -> tuple[ImportedModel, str]:
    """``model`` before the fragment that ``text`` says, and the output that decides then. names: the labels."""
    kind, name, values = _parse(text, AFTER, "--after")
    outputs = {spec.name: spec for spec in model.outputs}
    if name == "boxes":
        boxes, scores = (_output(values.pop(key, ""), outputs, f"boxes: {key}=NAME") for key in ("boxes", "scores"))
        shapes = (outputs[boxes].shape, outputs[scores].shape)
        if len(shapes[0]) != 3 or len(shapes[1]) != 3:
            raise InputError(
                f"--after {text}: boxes (batch, n, 4) and scores (batch, n, classes) are needed, not {shapes}"
            )
        values |= {"candidates": shapes[0][1], "classes": shapes[1][2], "names": ("raw_boxes", "raw_scores")}
        fragment = _build(kind, values, text)
        return with_back(model, fragment, {boxes: "raw_boxes", scores: "raw_scores"}), kind.decides
    source = _output(values.pop("of", ""), outputs, "of=NAME")
    values |= {"shape": outputs[source].shape, "input_name": "scores_in"}
    if name == "labels":
        values["names"] = names
    return with_back(model, _build(kind, values, text), {source: "scores_in"}), kind.decides


def _output(named: str, outputs: Mapping[str, TensorSpec], how: str) -> str:
    if named in outputs:
        return named
    if not named and len(outputs) == 1:
        return next(iter(outputs))
    fault = f"there is no output {named!r}" if named else "the model has several outputs"
    raise InputError(f"{fault}; they are {', '.join(outputs)}", remedy=f"Say which: {how}.")


def _layout(shape: Sequence[int | str], values: Mapping[str, Any]) -> str:
    """Channels come first unless the shape of the model's input shows that they come last."""
    planes = 1 if values.get("grey") else values.get("channels", 3)
    return "nhwc" if len(shape) == 4 and shape[3] == planes and shape[1] != planes else "nchw"


def _parse(text: str, kinds: Mapping[str, _Kind], option: str) -> tuple[_Kind, str, dict[str, Any]]:
    name, _, rest = text.partition(":")
    kind = kinds.get(name)
    if kind is None:
        raise InputError(f"{option} {text}: there is no fragment {name!r}; there are {', '.join(kinds)}")
    arguments = [item for part in kind.parts for item in signature(part).parameters.values()]
    known = {item.name: item for item in arguments if item.name not in _DERIVED}
    hints = {key: item.annotation for key, item in known.items()} | dict.fromkeys(_SOURCES.get(name, ()), str)
    values: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.strip().partition("=")
        if key not in hints:
            raise InputError(f"{option} {text}: {name} has no {key!r}; it has {', '.join(sorted(hints))}")
        values[key] = _value(value if equals else "yes", hints[key], f"{option} {name}: {key}")
    missing = [key for key, item in known.items() if item.default is Parameter.empty and key not in values]
    if missing:
        raise InputError(
            f"{option} {text}: {name} needs {', '.join(missing)}", remedy=f"Write {name}:{missing[0]}=VALUE."
        )
    return kind, name, values


def _build(kind: _Kind, values: Mapping[str, Any], text: str) -> ModelProto:
    *parts, function = kind.parts
    left = dict(values)
    built = [part(**{key: left.pop(key) for key in signature(part).parameters if key in left}) for part in parts]
    try:
        fragment: ModelProto = function(*built, **left)
    except (TypeError, ValueError) as error:
        raise InputError(f"the fragment {text} cannot be made: {error}") from None
    return fragment


def _value(text: str, hint: Any, what: str) -> Any:
    """``text`` as the type that the argument has."""
    options = get_args(hint)
    if get_origin(hint) is Literal:
        found = [option for option in options if str(option) == text]
        if not found:
            raise InputError(f"{what} is {' or '.join(map(str, options))}, not {text!r}")
        return found[0]
    if get_origin(hint) is UnionType:
        if type(None) in options and text in ("", "none"):
            return None
        kinds = [option for option in options if option is not type(None)]
        return _value(text, str if str in kinds and not text.isdigit() else kinds[0], what)
    try:
        return _plain(text, hint)
    except (ValueError, KeyError):
        raise InputError(f"{what}: {text!r} is not of the form {_form(hint)}") from None


def _plain(text: str, hint: Any) -> Any:
    if hint is bool:
        return {"yes": True, "true": True, "no": False, "false": False}[text.lower()]
    if get_origin(hint) is tuple:
        parts = text.split("x" if "x" in text else "/")
        return tuple(kind(part) for kind, part in zip(get_args(hint), parts, strict=True))
    if get_origin(hint) is not None:  # a sequence
        return [get_args(hint)[0](part) for part in text.split("/")]
    return hint(text)


def _form(hint: Any) -> str:
    if hint is bool:
        return "yes or no"
    if get_origin(hint) is tuple:
        return "x".join("N" * len(get_args(hint))) + ", as in 224x224"
    return "A/B/C" if get_origin(hint) is not None else {int: "a whole number", float: "a number"}.get(hint, "text")
