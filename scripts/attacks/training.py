"""Training steps that are not what they say, or that the release does not cover."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from attacks.attack import Attack, hostile, tar_of
from edgewise.bundle.build import build_bundle, with_evidence
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.statement import release_statement
from edgewise.bundle.training_parts import GRAPH_TYPE, SPEC_TYPE
from edgewise.digests import digest_of
from edgewise.testing.raw_layout import RawLayout
from edgewise.testing.sample_bundles import PUBLIC_TEST_KEYS, learning_bundle, release, sample_file
from edgewise.trust.verification import sign_statement

__all__ = ["training_attacks"]

_PUBLISHER = PUBLIC_TEST_KEYS["publisher"]
_STEP = "training/fp32/step.onnx"


def training_attacks() -> Iterator[Attack]:
    yield from _documents()
    yield from _blobs()
    yield from _releases()
    yield from _specs()


def _documents() -> Iterator[Attack]:
    def entry(name: str, why: str, /, **fields: Any) -> Attack:
        return _altered(name, why, lambda document: document["training"][0].update(fields))

    def part(name: str, why: str, part: str, path: Any) -> Attack:
        return _altered(name, why, lambda document: document["training"][0]["parts"].update({part: path}))

    def file(name: str, why: str, part: str = "step.onnx", /, **fields: Any) -> Attack:
        def alter(document: dict[str, Any]) -> None:
            next(f for f in document["files"] if f["path"].endswith(part)).update(fields)

        return _altered(name, why, alter)

    yield entry("variant", "a step for a variant that is not there", variant="int8")
    yield entry("variant-escape", "a variant that clears the terminal", variant="\x1b[2J")
    yield entry("model", "a step that was made from another model", model=digest_of(b"another model"))
    yield entry("no-parts", "a step without parts", parts={})
    yield entry("parts-list", "parts that are no object", parts=["step.onnx"])
    yield entry("loss-escape", "a loss that clears the terminal", loss="\x9b2J")
    yield part("part-unknown", "a part that no step has", "run.sh", _STEP)
    yield part("part-unlisted", "a part that is not among the files", "step.onnx", "training/fp32/other.onnx")
    yield part(
        "part-of-variant", "a part that is the variant's own file, not one of the bundle's", "step.onnx", "model.onnx"
    )
    yield part("part-escape", "a part that lies outside", "step.onnx", "../../../etc/passwd")
    yield part("part-number", "a path that is no text", "step.onnx", 1)
    yield _altered(
        "part-missing", "a step without its graph", lambda document: document["training"][0]["parts"].pop("step.onnx")
    )
    yield file("media-type", "a graph that is a shell script", mediaType="text/x-shellscript")
    yield file("spec-as-graph", "a description that is called a graph", "spec.json", mediaType=GRAPH_TYPE)
    yield file("graph-as-spec", "a graph that is called a description", mediaType=SPEC_TYPE)
    yield file("graph-huge", "a graph of more than 2 GiB, which no protobuf can be", size=1 << 31)
    yield file("spec-huge", "a description beyond 4 MiB", "spec.json", size=(4 << 20) + 1)
    yield file("graph-empty", "a graph of no bytes", size=0)
    yield _altered(
        "twice", "two steps for one variant", lambda document: document["training"].append(document["training"][0])
    )
    yield _altered("many", "more steps than 64", lambda document: document.update(training=[{}] * 65))
    yield _altered("object", "steps that are no list", lambda document: document.update(training={}))


def _blobs() -> Iterator[Attack]:
    def of(raw: RawLayout) -> str:
        return next(str(file["digest"]) for file in raw.document["files"] if file["path"] == _STEP)

    raw = RawLayout.of(learning_bundle())
    raw.blobs.pop("blobs/sha256/" + of(raw)[7:])
    yield hostile("training-blob-missing", "blob-missing", "a step is listed and its graph is not there", raw.tar())
    raw = RawLayout.of(learning_bundle())
    raw.blobs["blobs/sha256/" + of(raw)[7:]] = b"not really STEP.onnx"
    yield hostile("training-blob-changed", "digest-mismatch", "another graph in the place of the step's", raw.tar())
    raw = RawLayout.of(learning_bundle())
    raw.manifest["layers"] = [layer for layer in raw.manifest["layers"] if layer["digest"] != of(raw)]
    yield hostile("training-layer-missing", "layer-missing", "the manifest does not list the step's graph", raw.tar())


def _releases() -> Iterator[Attack]:
    def untrusted(name: str, why: str, bundle: Bundle) -> Attack:
        return Attack(f"training-{name}", "bundle", "E402", None, why, tar_of(bundle))

    bundle = learning_bundle()
    for name in ("step.onnx", "initial.safetensors"):
        rest = {digest: path for digest, path in bundle.content().items() if not path.endswith(name)}
        partial = release_statement("learner", "1.0.0", rest, [])
        yield untrusted(
            f"uncovered-{name}", f"the release does not cover {name}",
            with_evidence(bundle, [sign_statement(partial, _PUBLISHER)]),
        )  # fmt: skip
    honest = with_evidence(bundle, [sign_statement(release(bundle), _PUBLISHER)])
    document, evil = bundle.document, b"another step"
    swapped = tuple(
        sample_file(file.path, evil, file.media_type) if file.path == _STEP else file for file in document.files
    )
    blobs = [bundle.read(file) for file in document.all_files()]
    changed = build_bundle(replace(document, files=swapped), [*blobs, evil])
    yield untrusted(
        "step-swapped", "another step under the old release", with_evidence(changed, list(honest.evidence().values()))
    )


def _specs() -> Iterator[Attack]:
    def spec(name: str, why: str, change: Callable[[dict[str, Any]], Any]) -> Attack:
        value = json.loads(json.dumps(_SPEC))
        change(value)
        return Attack(f"step-spec-{name}", "step-spec", "E101", None, why, json.dumps(value).encode())

    state = _SPEC["states"][0]
    yield spec("unknown-field", "a field of no version", lambda value: value.update(run="rm -rf /"))
    yield spec("version", "a version that does not exist yet", lambda value: value.update(version=2))
    yield spec("no-parameter", "nothing to train", lambda value: value.update(states=[{**state, "role": "buffer"}]))
    yield spec("no-states", "nothing that changes", lambda value: value.update(states=[]))
    yield spec("state-twice", "one state twice", lambda value: value["states"].append(state))
    yield spec(
        "state-huge", "a state with a dimension beyond 2^31", lambda value: value["states"][0].update(shape=[2**40])
    )
    yield spec("state-open", "a state without a fixed shape", lambda value: value["states"][0].update(shape=["n"]))
    yield spec("rank", "a rank of 1,000", lambda value: value["inputs"][0].update(shape=[1] * 1000))
    yield spec("dtype", "a type that holds code", lambda value: value["inputs"][0].update(dtype="object"))
    yield spec(
        "name-escape", "a name that clears the terminal", lambda value: value["inputs"][0].update(name="\x1b[2J")
    )
    yield spec("accumulates", "updates that never come", lambda value: value.update(accumulates=2**40))
    yield spec("memory", "memory below nothing", lambda value: value.update(memory={"fixed": -1, "perSample": 0}))
    yield spec("scalar-role", "a role that there is not", lambda value: value["states"][0].update(role="admin"))
    deep = json.dumps(_SPEC).encode()[:-1] + b',"x":' + b"[" * 5000 + b"]" * 5000 + b"}"
    yield hostile("step-spec-deep", "json-depth", "5,000 brackets", deep, "step-spec")
    number = json.dumps(_SPEC).encode()[:-1] + b',"x":1e999}'
    yield hostile("step-spec-number", "json-number", "a number beyond a double", number, "step-spec")


def _altered(name: str, why: str, alter: Callable[[dict[str, Any]], Any]) -> Attack:
    document = RawLayout.of(learning_bundle()).document
    alter(document)
    data = json.dumps(document, ensure_ascii=False).encode()
    return hostile(f"document-training-{name}", "document-malformed", why, data, "document")


_SPEC: dict[str, Any] = {
    "version": 1, "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 4]}],
    "targets": [{"name": "target", "dtype": "int64", "shape": ["batch"], "below": 3}],
    "scalars": [{"name": "learning_rate", "dtype": "float32", "default": 0.001}],
    "states": [{"input": "w", "output": "next/w", "dtype": "float32", "shape": [4, 3], "role": "parameter", "of": "w"}],
    "loss": "loss", "gradNorm": "norm", "outputs": [], "forwardOutputs": [], "accumulates": 1,
}  # fmt: skip
