"""Who answers in the routing benchmark: an edge model that was compressed and a bigger one upstream, on four tasks.

Everything is trained by `edgewise train` and compressed by our passes, once, and kept; what both say of every held-out sample is
computed once, too, and kept as arrays, so that draws cost no inference.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import onnx

from benchmarks.compression import TASKS as SEARCHED
from benchmarks.references import FOLDER as COMPRESSION
from benchmarks.references import Task as Reference
from benchmarks.references import edgewise, prepare
from benchmarks.routing_noise import field_noise
from benchmarks.routing_pool import Pool, set_apart
from edgewise.compose.data_sets import data_set_folder
from edgewise.compress.quantize.static import Static
from edgewise.compress.quantize.weight_only import Storage
from edgewise.compress.samples import Samples, joined_inputs
from edgewise.digits import load_split
from edgewise.graph.inspect import describe, read_model
from edgewise.measure.dataset import Dataset
from edgewise.measure.npz import Array, load_npz
from edgewise.runtime.engine import OpenOptions, find_engine
from edgewise.training.data.public_sets import intents, pcb_defects, spoken_digits
from edgewise.training.data.text_hash import TextEncoder, TextHash

FOLDER = COMPRESSION.parent / "routing"
FORMS = ("fp32", "int8", "int4")  # of the edge model
_DEPLOYED = {
    "speech_digits": "int4",
    "speech_digits, another network": "int4",
}  # the form that answers; of all others int8
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
_COPIES = 16  # of each held-out digit, each with noise of its own
_LEARNT = 24  # of each digit that is learnt from
_CALIBRATING = 200  # samples that the ranges of int8 are measured on
_AT_ONCE = 256
_SLID = 400  # samples, 50 ms
#: Classes after copper and gap change places: open/short, mousebite/spur, copper/pin-hole; 0 is no defect.
_NEGATIVE = (0, 2, 1, 4, 3, 6, 5)


@dataclass(frozen=True)
class _View:
    """A sample as upstream also looks at it, and the class that each of its answers stands for."""

    of: Callable[[Array], Array]
    classes: Sequence[int] | None = None


_PLAIN = (_View(lambda x: x),)


@dataclass(frozen=True, eq=False)
class _Part:
    """held: samples that none of the models has seen. train: what ranges are measured on. whole: the edge is compressed already."""

    edge: Path
    upstream: Sequence[Path]
    train: Dataset
    held: Dataset
    views: Sequence[_View] = _PLAIN
    whole: bool = False


@cache
def pool(name: str) -> Pool:
    """The task ``name`` of ``TASKS`` with a score that was chosen on samples that are not in it."""
    return set_apart(read_pool(name))


def read_pool(name: str) -> Pool:
    """Every held-out sample of ``name``, from the cache, or trained and computed now."""
    file = FOLDER / name / "pool.npz"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        parts = [_answered(part) for part in TASKS[name][0]()]
        joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0] if not key.startswith("bytes")}
        sizes = {key: sum(part[key] for part in parts) // len(parts) for key in parts[0] if key.startswith("bytes")}
        np.savez(file, **joined, **sizes)
    arrays = load_npz(file)
    sizes = {key.removeprefix("bytes_"): int(value) for key, value in arrays.items() if key.startswith("bytes")}
    edge = {form: arrays[form] for form in FORMS}
    return Pool(
        name, edge, arrays["upstream"], arrays["y"], arrays["group"], sizes, TASKS[name][1], _DEPLOYED.get(name, "int8")
    )


def _answered(part: _Part) -> dict[str, Array]:
    forms = dict.fromkeys(FORMS, part.edge.read_bytes()) if part.whole else _forms(part.edge, part.train)
    edge = {form: _scores(model, _feeds(part.edge, part.held.x)) for form, model in forms.items()}
    # The mean of probabilities, of every member and every view.
    mean = np.zeros_like(edge["fp32"], dtype=np.float64)
    for path in part.upstream:
        for view in part.views:
            scores = _scores(path.read_bytes(), _feeds(path, view.of(part.held.x)))
            order = slice(None) if view.classes is None else list(view.classes)
            mean += _softmax(scores)[:, order] / (len(part.upstream) * len(part.views))
    group = np.arange(len(part.held)) if part.held.group is None else part.held.group
    sizes = {f"bytes_{form}": np.array(len(model)) for form, model in forms.items()}
    sizes["bytes_upstream"] = np.array(sum(path.stat().st_size for path in part.upstream))
    return {**edge, "upstream": np.log(mean + 1e-12), "y": part.held.y, "group": group, **sizes}


def _forms(path: Path, train: Dataset) -> dict[str, bytes]:
    """The edge model as it was trained, in int8 with measured ranges (weights alone, where it has no convolutions), in int4."""
    found = {"fp32": path.read_bytes()}
    model = read_model(found["fp32"])
    spec, decided = describe(model).inputs, describe(model).outputs[0].name
    inputs = _inputs(path, train.x)
    x = joined_inputs(inputs) if len(inputs) > 1 else next(iter(inputs.values()))
    samples = Samples(Dataset(x, train.y, None, train.labels, train.name), "classification", spec[0].name, decided)
    convolutions = any(node.op_type == "Conv" for node in model.graph.node)
    eight = Static(bias="float32", count=_CALIBRATING) if convolutions else Storage(bits=8)
    for form, how in (("int8", eight), ("int4", Storage(bits=4))):
        kept = path.with_suffix(f".{form}.onnx")
        if not kept.exists():
            onnx.save(how.apply(model, samples), str(kept))
        found[form] = kept.read_bytes()
    return found


def _inputs(path: Path, x: Array) -> dict[str, Array]:
    spec = describe(read_model(path.read_bytes())).inputs
    beside = path.with_suffix(".text.json")
    if not beside.exists():
        return {spec[0].name: x}
    weights = spec[1].name if len(spec) > 1 else ""
    encoder = TextEncoder(TextHash.from_json(beside.read_bytes()), ids=spec[0].name, weights=weights)
    return {key: np.asarray(value) for key, value in encoder(x, np.random.default_rng(0)).items()}


def _feeds(path: Path, x: Array) -> Iterator[dict[str, Array]]:
    inputs = _inputs(path, x)
    for at in range(0, len(x), _AT_ONCE):
        yield {key: np.ascontiguousarray(value[at : at + _AT_ONCE]) for key, value in inputs.items()}


def _scores(model: bytes, feeds: Iterator[dict[str, Array]]) -> Array:
    session = find_engine("onnxruntime").open({"model.onnx": model}, OpenOptions(threads=1))
    try:
        return np.concatenate([session.run(feed)[session.outputs[0].name].copy() for feed in feeds])
    finally:
        session.close()


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    found: Array = powers / powers.sum(axis=1, keepdims=True)
    return found


def _trained(task: str, file: str, network: str, data: str, *options: str) -> Path:
    path = FOLDER / task / f"{file}.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        edgewise(["train", network, "--train", data, "--threads", "1", "-o", str(path), *options])
    return path


def _reference(task: str, network: str) -> Path:
    found = Reference(task, network, "", 1, (), 1)
    prepare(found)
    return found.model


def _digits(strength: float = 1.0) -> Iterator[_Part]:
    x, y = load_split("train")
    data = FOLDER / "digits"
    data.mkdir(parents=True, exist_ok=True)
    held = [load_split(name) for name in ("calibration", "eval")]
    images, digits = (np.concatenate([part[at] for part in held]) for at in (0, 1))
    which = np.repeat(np.arange(len(images)), _COPIES)
    labels = tuple(map(str, range(10)))
    noisy = field_noise(as_pictures(np.repeat(x, _LEARNT, axis=0)), np.random.default_rng(7))
    np.savez(data / "noisy.npz", x=noisy, y=np.repeat(y, _LEARNT))
    last = ("--keep", "last", "--share", "0.02")
    edge = _trained("digits", "edge", "cnn", str(data / "noisy.npz"), *_DIGITS_EDGE, *last)
    upstream = [
        _trained(
            "digits", f"upstream-{seed}", "cnn", str(data / "noisy.npz"), "--seed", str(seed), *_DIGITS_UPSTREAM, *last
        )
        for seed in range(2)
    ]
    held_out = field_noise(as_pictures(images)[which], np.random.default_rng(11), strength)
    train = Dataset(noisy, np.repeat(y, _LEARNT), None, labels, "digits")
    yield _Part(edge, upstream, train, Dataset(held_out, digits[which], which, labels, "digits"))


_DIGITS_EDGE = ("--set", "widths=4,8,16", "--epochs", "4", "--augment", "none", "--seed", "5")
_DIGITS_UPSTREAM = ("--set", "widths=32,64,64", "--set", "convolutions=2", "--epochs", "12", "--augment", "none")


def as_pictures(images: Array) -> Array:
    """(N, 8, 8, 1) uint8 0..255 of ink 0..16."""
    found: Array = np.round(images[..., None] * (255 / 16)).astype(np.uint8)
    return found


def _speech(*, alone: bool = False) -> Iterator[_Part]:
    folder = data_set_folder("speech_digits")
    for speaker in SPEAKERS:
        halves = spoken_digits(folder, 8000, speaker)
        out = ("--hold-out", speaker)
        upstream = [
            _trained("speech_digits", f"upstream-{speaker}-{seed}", "cnn", "speech_digits", *out, "--seed", str(seed))
            for seed in range(2)
        ]
        if alone:
            yield _Part(upstream[0], upstream[1:], halves.train, halves.evaluation)
        else:
            yield _Part(upstream[0], upstream, halves.train, halves.evaluation, tuple(_moved()))


def _moved() -> Iterator[_View]:
    for samples in (-_SLID, 0, _SLID):
        yield _View(partial(np.roll, shift=samples, axis=1))


def _boards() -> Iterator[_Part]:
    halves = pcb_defects(data_set_folder("defects_pcb"))
    edge = _trained(
        "defects_pcb", "edge", "resnet8", "defects_pcb", "--set", "widths=8,16,32", "--epochs", "4", "--seed", "5"
    )
    upstream = [_reference("defects_pcb", "resnet8")]
    yield _Part(edge, upstream, halves.train, halves.evaluation, tuple(_turns()))


def _compressed(whole: Callable[[], Iterator[_Part]], *, alone: bool) -> Iterator[_Part]:
    """A task's parts with what `edgewise compress` makes of the first network upstream as edge. alone: that network is upstream."""
    for part in whole():
        reference = part.upstream[0]
        made = next(task for task in SEARCHED if task.name == reference.parent.name)
        best = made.folder / "found" / "best.onnx"
        if not best.exists():
            options = (*made.data, "-o", str(best.parent), "--resume", "--json", *made.search, *made.goals)
            edgewise(["compress", str(reference), *options])
        hashing = reference.with_suffix(".text.json")
        if hashing.exists():
            best.with_suffix(".text.json").write_bytes(hashing.read_bytes())
        upstream, views = ([reference], _PLAIN) if alone else (part.upstream, part.views)
        yield _Part(best, upstream, part.train, part.held, views, whole=True)


def _turns() -> Iterator[_View]:
    for quarter in range(4):
        for mirrored in (False, True):
            for negative in (False, True):

                def turned(x: Array, k: int = quarter, flip: bool = mirrored, other: bool = negative) -> Array:
                    x = np.rot90(x, k, (1, 2))
                    x = x[:, :, ::-1] if flip else x
                    return 255 - x if other else x

                yield _View(turned, _NEGATIVE if negative else None)


def _intents(*, known: bool = True) -> Iterator[_Part]:
    found = intents(data_set_folder("assistant_clinc150"))
    name = "assistant_clinc150"
    edge = _trained(
        name, "edge", "text-bag", name, "--set", "buckets=8192", "--set", "width=48", "--set", "hidden=96", "--epochs", "12",
        "--seed", "5",
    )  # fmt: skip
    upstream = [_reference(name, "text-bag"), _trained(name, "upstream-1", "text-bag", name, "--seed", "1")]
    val, test = found.validation, found.evaluation
    if known:
        x, y = np.concatenate([val.x, test.x]), np.concatenate([val.y, test.y])
    else:  # nothing is right; whether the two answer alike can be said all the same
        x = found.unknown_evaluation
        y = np.full(len(x), -1)
    held = Dataset(x, y, None, val.labels, name)
    yield _Part(edge, upstream, found.train, held)


def _characters() -> Iterator[_Part]:
    """An edge that sees fragments of three characters in any order, and an upstream that reads whole words in theirs.

    Both were chosen, settings and seeds included, on a fifth of the training part, by models that learnt from the rest of it.
    """
    found = intents(data_set_folder("assistant_clinc150"))
    name = "assistant_clinc150, characters and words"
    data = FOLDER / name / "train.jsonl"  # as a file, so that no settings for the set by its name come in
    data.parent.mkdir(parents=True, exist_ok=True)
    rows = zip(found.train.x, found.train.y, strict=True)
    data.write_text("".join(json.dumps({"text": text, "label": found.train.labels[y]}) + "\n" for text, y in rows))
    last = ("--keep", "last", "--share", "0.02")
    edge = _trained(name, "edge", "text-bag", str(data), *_CHARACTERS, *last)
    upstream = _trained(name, "upstream", "gru", str(data), *_WORDS, *last)
    val, test = found.validation, found.evaluation
    held = Dataset(np.concatenate([val.x, test.x]), np.concatenate([val.y, test.y]), None, val.labels, name)
    yield _Part(edge, [upstream], found.train, held)


_CHARACTERS = (
    "--set", "words=0", "--set", "chars=3,", "--set", "buckets=4096", "--set", "width=48", "--set", "hidden=96",
    "--epochs", "12", "--seed", "5",
)  # fmt: skip
_WORDS = (
    "--set", "buckets=16384", "--set", "embedding=64", "--set", "hidden=128", "--set", "dropout=0.4",
    "--epochs", "14", "--seed", "1",
)  # fmt: skip


#: Name -> what makes its parts (each with models that have not seen its samples), and how it is put on the page.
TASKS: Mapping[str, tuple[Callable[[], Iterator[_Part]], str]] = {
    "digits": (_digits, f"UCI digits with field noise, {_COPIES} noisy copies of 797 images; upstream is two networks"),
    "speech_digits": (
        _speech,
        "spoken digits, each of six speakers by models that never heard them; upstream is two networks at three positions",
    ),
    "defects_pcb": (
        _boards,
        "PCB patches of three scans that no model has seen; upstream looks at 16 turns and negatives of each",
    ),
    "assistant_clinc150": (_intents, "CLINC150, the authors' validation and test parts; upstream is two networks"),
    # What changes.
    "digits, twice the noise": (lambda: _digits(2.0), ""),
    "assistant_clinc150, queries of no intent": (lambda: _intents(known=False), ""),
    # What is nearly as good as upstream.
    "defects_pcb, compressed": (lambda: _compressed(_boards, alone=True), ""),
    "defects_pcb, compressed, 16 views": (lambda: _compressed(_boards, alone=False), ""),
    "assistant_clinc150, compressed": (lambda: _compressed(_intents, alone=True), ""),
    "assistant_clinc150, compressed, two networks": (lambda: _compressed(_intents, alone=False), ""),
    "speech_digits, another network": (lambda: _speech(alone=True), ""),
    # What errs otherwise than upstream.
    "assistant_clinc150, characters and words": (_characters, ""),
}

MAIN = ("digits", "speech_digits", "defects_pcb", "assistant_clinc150")
#: Pairs with an upstream that is not much better than its edge, or errs on other samples, and what they are.
NEAR = {
    "defects_pcb, compressed": "the edge is what `edgewise compress` made of upstream",
    "defects_pcb, compressed, 16 views": "the same edge, and the upstream of the tables above",
    "assistant_clinc150, compressed": "as for the boards",
    "assistant_clinc150, compressed, two networks": "as for the boards",
    "speech_digits, another network": "upstream is one network in floats, the edge another of its kind in int4",
    "assistant_clinc150, characters and words": "the edge is a bag of fragments of three characters in int8, upstream a recurrent "
    "network over words, 20 times its size",
}
