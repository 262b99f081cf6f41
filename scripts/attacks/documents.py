"""Documents that are not JSON as it must be, and documents that lie."""

import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

from attacks.attack import Attack, altered, hostile, spoiled
from edgewise.bundle.layout import CONFIG_TYPE, DOCUMENT_TYPE, MANIFEST_TYPE
from edgewise.digests import digest_of
from edgewise.testing.raw_layout import RawLayout
from edgewise.testing.sample_bundles import minimal_bundle

__all__ = ["document_attacks"]

_HUGE = 2**60
_BROKEN_JSON = {
    "json-integer-huge": ("json-number", b'"x":9007199254740993'),
    "json-integer-long": ("json-number", b'"x":' + b"9" * 5000),
    "json-float-infinite": ("json-number", b'"x":1e999'),
    "json-float-long": ("json-number", b'"x":0.' + b"1" * 5000),
    "json-nan": ("json-number", b'"x":NaN'),
    "json-infinity": ("json-number", b'"x":-Infinity'),
    "json-deep": ("json-depth", b'"x":' + b"[" * 5000 + b"]" * 5000),
    "json-deep-objects": ("json-depth", b'"x":' + b'{"":' * 5000),
    "json-deep-unclosed": ("json-depth", b'"x":[[' + b'["[",' * 200),
    "json-key-twice-nested": ("json-duplicate-key", b'"x":[{"a":1,"a":1}]'),
    "json-key-twice-escaped": ("json-duplicate-key", b'"x":{"a":1,"\\u0061":2}'),
    "json-comment": ("json-malformed", b'"x":1/*,*/'),
    "json-comma": ("json-malformed", b'"x":1,'),
    "json-single-quotes": ("json-malformed", b"'x':1"),
    "json-control-character": ("json-malformed", b'"x":"\x00"'),
    "json-half-surrogate": ("json-malformed", b'"x":"\\ud800"'),
    "json-invalid-utf8": ("json-malformed", b'"x":"\xff"'),
    "json-overlong-utf8": ("json-malformed", b'"x":"\xc0\xaf"'),
    "json-surrogate-utf8": ("json-malformed", b'"x":"\xed\xa0\x80"'),
    "json-leading-zero": ("json-malformed", b'"x":01'),
    "json-hexadecimal": ("json-malformed", b'"x":0x10'),
}

_PATHS = {
    "absolute": "/etc/passwd",
    "parent": "../../etc/passwd",
    "parent-inside": "a/../../b",
    "backslash": "a\\b",
    "drive": "C:x",
    "empty": "",
    "empty-segment": "a//b",
    "dot": "./a",
    "hidden": ".ssh",
    "nul": "a\x00b",
    "newline": "a\n",
    "slash-end": "a/",
    "long": "a" * 600,
    "home": "~/x",
    "option": "-rf",
}


def document_attacks() -> Iterator[Attack]:
    yield from _json()
    yield from _indexes()
    yield from _manifests()
    yield from _sizes()
    yield from _documents()


def _json() -> Iterator[Attack]:
    raw = RawLayout.of(minimal_bundle())
    raw.files()
    whole = {"index": raw.index, "manifest": raw.manifest, "document": raw.document}
    for part, value in whole.items():
        text = json.dumps(value).encode()
        first = next(iter(value))
        twice = b'{"' + first.encode() + b'":0,' + text[1:]
        yield _stored(f"key-twice-{part}", "json-duplicate-key", "two readers see two different documents", part, twice)
        yield _stored(
            f"bom-{part}", "json-malformed", "a byte order mark before the document", part, b"\xef\xbb\xbf" + text
        )
        yield _stored(f"utf16-{part}", "json-malformed", "UTF-16", part, text.decode().encode("utf-16"))
        yield _stored(f"list-{part}", "json-malformed", "a list where an object is needed", part, b"[]")
        yield _stored(f"truncated-{part}", "json-malformed", "half a document", part, text[: len(text) // 2])
    document = json.dumps(raw.document).encode()
    for name, (rule, fragment) in _BROKEN_JSON.items():
        yield _stored(
            name,
            rule,
            "an unknown field holds what JSON readers disagree about",
            "document",
            document[:-1] + b"," + fragment + b"}",
        )


def _stored(name: str, rule: str, why: str, part: str, data: bytes) -> Attack:
    return hostile(name, rule, why, data, part)


def _indexes() -> Iterator[Attack]:
    def change(name: str, rule: str, why: str, **fields: Any) -> Attack:
        return spoiled(name, rule, why, lambda raw: raw.index.update(fields))

    yield change("index-empty", "index-manifests", "no manifest", manifests=[])
    yield change("index-schema", "manifest-malformed", "another schema version", schemaVersion=1)
    yield change(
        "index-media-type",
        "manifest-malformed",
        "a Docker manifest list",
        mediaType="application/vnd.docker.distribution.manifest.list.v2+json",
    )
    yield spoiled(
        "index-two-manifests",
        "index-manifests",
        "two bundles in one",
        lambda raw: raw.index["manifests"].append(dict(raw.index["manifests"][0], digest="sha256:" + "0" * 64, size=2)),
    )
    yield spoiled(
        "index-nested",
        "index-manifests",
        "an index in an index",
        lambda raw: raw.index["manifests"][0].update(mediaType="application/vnd.oci.image.index.v1+json"),
    )

    def huge(raw: RawLayout) -> None:
        raw.files()
        raw.index["manifests"][0]["size"] = _HUGE
        raw.index = json.dumps(raw.index).encode()

    def escape(raw: RawLayout) -> None:
        raw.files()
        raw.index["manifests"][0]["digest"] = "sha256:../../../../../../../../etc/passwd"
        raw.index = json.dumps(raw.index).encode()

    yield spoiled("index-size-huge", "json-number", "a manifest of 2^60 bytes", huge)
    yield spoiled("index-digest-path", "manifest-malformed", "a digest that is a path", escape)


def _manifests() -> Iterator[Attack]:
    def layer(name: str, rule: str, why: str, **fields: Any) -> Attack:
        return spoiled(name, rule, why, lambda raw: _weights(raw).update(fields))

    def extra(name: str, rule: str, why: str, descriptor: Callable[[RawLayout], dict[str, Any]]) -> Attack:
        return spoiled(name, rule, why, lambda raw: raw.manifest["layers"].append(descriptor(raw)))

    bomb = gzip.compress(bytes(8 << 20), mtime=0)
    yield layer(
        "layer-gzip",
        "compressed-layer",
        "a layer that has to be unpacked",
        mediaType="application/vnd.oci.image.layer.v1.tar+gzip",
    )
    yield extra(
        "layer-gzip-bomb",
        "compressed-layer",
        "8 MiB of zeros in 8 KiB",
        lambda raw: {"mediaType": "application/vnd.cncf.model.weight.v1.tar+gzip", **raw.add(bomb)},
    )
    yield layer(
        "layer-zstd",
        "compressed-layer",
        "a layer that has to be unpacked",
        mediaType="application/vnd.cncf.model.weight.v1.tar+zstd",
    )
    yield layer("layer-digest-sha512", "manifest-malformed", "another hash", digest="sha512:" + "0" * 128)
    yield layer("layer-digest-upper", "manifest-malformed", "an upper-case digest", digest="sha256:" + "AB" * 32)
    yield layer("layer-size-negative", "manifest-malformed", "a negative size", size=-1)
    yield layer("layer-size-float", "manifest-malformed", "a size that is no integer", size=18.0)
    yield layer("layer-size-true", "manifest-malformed", "a size that is a truth value", size=True)
    yield layer("layer-annotation-number", "manifest-malformed", "annotations are text", annotations={"\x1b[2J": 1})
    yield from _layer_lists(extra)


def _layer_lists(extra: Callable[[str, str, str, Callable[[RawLayout], dict[str, Any]]], Attack]) -> Iterator[Attack]:
    yield extra(
        "layer-unnamed",
        "layer-unnamed",
        "a layer that the document does not name, so that no release covers it",
        lambda raw: {"mediaType": "text/x-shellscript", **raw.add(b"#!/bin/sh")},
    )
    yield extra(
        "two-documents", "document-count", "two documents", lambda raw: {"mediaType": DOCUMENT_TYPE, **raw.add(b"{}")}
    )
    yield spoiled(
        "no-document", "document-count", "a ModelPack of another tool", lambda raw: raw.manifest["layers"].pop(0)
    )
    yield spoiled(
        "layer-missing",
        "layer-missing",
        "the document names a file that the manifest does not list",
        lambda raw: raw.manifest["layers"].pop(),
    )
    yield spoiled("no-config", "manifest-malformed", "no config", lambda raw: raw.manifest.pop("config"))
    yield spoiled("no-layers", "manifest-malformed", "no layers", lambda raw: raw.manifest.pop("layers"))
    yield spoiled(
        "layers-object", "manifest-malformed", "layers that are no list", lambda raw: raw.manifest.update(layers={})
    )
    yield spoiled(
        "artifact-type",
        "manifest-malformed",
        "another kind of artifact",
        lambda raw: raw.manifest.update(artifactType="application/vnd.example"),
    )


def _sizes() -> Iterator[Attack]:
    def both(size: int) -> Callable[[RawLayout], None]:
        def spoil(raw: RawLayout) -> None:
            _weights(raw)["size"] = size
            raw.document["variants"][0]["files"][0]["size"] = size

        return spoil

    yield spoiled(
        "size-of-layer-lies",
        "size-lie",
        "the manifest says another size than the document",
        lambda raw: _weights(raw).update(size=19),
    )
    yield spoiled(
        "size-of-both-lies", "blob-truncated", "manifest and document agree on a size that the blob has not", both(4096)
    )
    yield spoiled("size-of-both-short", "blob-overlong", "manifest and document agree on less than there is", both(3))
    yield spoiled("size-15-gib", "blob-size", "more than one blob may have", both(15 << 30))
    yield spoiled("size-2-60", "json-number", "a size of 2^60", both(_HUGE))
    yield spoiled("size-2-53", "blob-size", "the largest size that JSON readers agree on", both(2**53 - 1))

    def twice(raw: RawLayout) -> None:
        raw.manifest["layers"].append(dict(_weights(raw), size=17))

    def config(raw: RawLayout) -> None:
        raw.manifest["config"] = {"mediaType": CONFIG_TYPE, "digest": _weights(raw)["digest"], "size": 1}

    def many(raw: RawLayout) -> None:
        for at in range(12):
            digest = digest_of(b"%d" % at)
            raw.manifest["layers"].append({"mediaType": MANIFEST_TYPE, "digest": digest, "size": 6 << 30})
            raw.document.setdefault("files", []).append(
                {"path": f"f{at}", "mediaType": MANIFEST_TYPE, "digest": digest, "size": 6 << 30}
            )

    yield spoiled("two-sizes", "size-lie", "one digest with two sizes", twice)
    yield spoiled("two-sizes-config", "size-lie", "a layer and the config: one digest, two sizes", config)
    yield spoiled("total-size", "blob-size", "each blob is within the limit, all of them are not", many)


def _documents() -> Iterator[Attack]:
    def top(name: str, why: str, /, **fields: Any) -> Attack:
        return altered(name, why, lambda document: document.update(fields))

    def file(name: str, why: str, /, **fields: Any) -> Attack:
        return altered(name, why, lambda document: document["variants"][0]["files"][0].update(fields))

    def tensor(name: str, why: str, /, **fields: Any) -> Attack:
        return altered(name, why, lambda document: document["inputs"][0].update(fields))

    for name, path in _PATHS.items():
        yield file(f"path-{name}", "a path that is not plain and relative", path=path)
    yield file("media-type", "no media type", mediaType="not a media type")
    yield file("digest", "no digest", digest="sha256:0")
    yield top("schema-version", "a format that does not exist yet", schemaVersion=2)
    yield top("name", "a name that is a path", name="../evil")
    yield top("version", "a version that is a path", version="1/../../x")
    yield top("task", "an unknown task", task="world-domination")
    yield top("no-variants", "nothing to run", variants=[])
    yield top("many-variants", "more variants than 64", variants=[{}] * 65)
    yield top("decision", "a decision by an output that is not there", decision="z")
    yield top("label-escape", "a label that clears the terminal", labels=["\x1b[2J"])
    yield top("label-c1", "a label with the one-character form of that", labels=["\x9b2J"])
    yield top("description-escape", "a description that clears the terminal", description="\x1b[2J")
    yield top("state", "a state that is no tensor", states=[{"input": "a", "output": "b"}])
    yield top(
        "files-same-path",
        "two files with one path",
        files=[{"path": "a", "mediaType": "a/b", "digest": "sha256:" + c * 64, "size": 1} for c in "ab"],
    )
    yield top("inputs-object", "inputs that are no list", inputs={"x": 1})
    yield tensor("shape-zero", "a dimension of zero", shape=[0])
    yield tensor("shape-negative", "a negative dimension", shape=[-1])
    yield tensor("shape-huge", "a dimension beyond 2^31", shape=[2**40])
    yield tensor("rank-huge", "a rank of 1,000", shape=[1] * 1000)
    yield tensor("dtype", "a type that holds code", dtype="object")
    yield tensor("range", "a range that is upside down", range=[1, 0])
    yield tensor("tensor-name", "a name that writes to the terminal", name="x\x1b]0;y\x07")
    yield altered(
        "variant-twice",
        "two variants with one name",
        lambda document: document["variants"].append(document["variants"][0]),
    )
    yield altered("variant-empty", "a variant without files", lambda document: document["variants"][0].update(files=[]))
    yield altered("empty", "an empty document", lambda document: document.clear())


def _weights(raw: RawLayout) -> dict[str, Any]:
    found: dict[str, Any] = raw.manifest["layers"][-1]
    return found
