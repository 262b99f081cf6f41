"""The OCI side of a bundle: descriptors, manifest and index of an image layout.

Forms follow the OCI image specification 1.1 (descriptor, manifest, index, image-layout) and the CNCF ModelPack model
specification for the artifact type and the layers' media types, so that any registry and any OCI tool carries a bundle.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from edgewise.bundle.document import MEDIA_TYPE
from edgewise.bundle.fields import Form
from edgewise.bundle.limits import DEFAULT_LIMITS, Limits
from edgewise.bundle.strict_json import dump_json, parse_object
from edgewise.errors import DocumentError, HostileBundleError
from edgewise.records import dataclass

__all__ = [
    "CONFIG_TYPE", "DOCUMENT_TYPE", "EVIDENCE_TYPE", "FILEPATH", "INDEX_TYPE", "LAYOUT_FILE", "MANIFEST_TYPE", "MODEL_TYPE",
    "REF_NAME", "Descriptor", "Index", "Manifest", "parse_index", "parse_manifest",
]  # fmt: skip

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
MODEL_TYPE = "application/vnd.cncf.model.manifest.v1+json"
CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
WEIGHT_TYPE = "application/vnd.cncf.model.weight.v1.raw"
DOCUMENT_TYPE = "application/vnd.edgewise.bundle.v1+json"
EVIDENCE_TYPE = "application/vnd.in-toto+dsse"
REF_NAME = "org.opencontainers.image.ref.name"
FILEPATH = "org.cncf.model.filepath"
LAYOUT_FILE = b'{"imageLayoutVersion":"1.0.0"}'
# Compressed layers would have to be unpacked before their digest means anything; weights hardly shrink. None are read.
_COMPRESSED = ("+gzip", "+zstd", "gzip", "zip", "zstd")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to a blob by digest, with its media type and size in bytes (OCI image specification, descriptor.md)."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        value = {**self.extra, "mediaType": self.media_type, "digest": self.digest, "size": self.size}
        return value | ({"annotations": dict(self.annotations)} if self.annotations else {})


@dataclass(frozen=True, slots=True)
class Manifest:
    """The image manifest: a config and layers, each layer one file of the bundle, uncompressed."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        value: dict[str, Any] = {
            **self.extra, "schemaVersion": 2, "mediaType": MANIFEST_TYPE, "artifactType": MODEL_TYPE,
            "config": self.config.to_json(), "layers": [layer.to_json() for layer in self.layers],
        }  # fmt: skip
        return dump_json(value | ({"annotations": dict(self.annotations)} if self.annotations else {}))


@dataclass(frozen=True, slots=True)
class Index:
    """index.json: which manifests a layout holds. A bundle holds one."""

    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        value: dict[str, Any] = {
            **self.extra, "schemaVersion": 2, "mediaType": INDEX_TYPE,
            "manifests": [manifest.to_json() for manifest in self.manifests],
        }  # fmt: skip
        return dump_json(value | ({"annotations": dict(self.annotations)} if self.annotations else {}))


def check_layout_file(data: bytes) -> None:
    """Refuse an ``oci-layout`` file of another version than 1.x of the image layout."""
    version = parse_object(data, "oci-layout").get("imageLayoutVersion")
    if not isinstance(version, str) or not version.startswith("1."):
        raise HostileBundleError("layout-version", f"oci-layout has version {version!r:.40}; 1.0.0 is read")


def parse_index(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Index:
    """The index in ``data``; exactly one image manifest is accepted."""
    form = Form(parse_object(data, "index.json", limits), "OCI index")
    form.integer("schemaVersion", low=2, high=2)
    form.text("mediaType", one_of=[INDEX_TYPE], default=INDEX_TYPE)
    manifests = tuple(form.items("manifests", _read_descriptor))
    index = Index(manifests, form.mapping("annotations"), form.rest())
    _finish(form)
    if len(manifests) != 1 or manifests[0].media_type != MANIFEST_TYPE:
        raise HostileBundleError(
            "index-manifests", f"index.json lists {len(manifests)} manifests; one image manifest is needed"
        )
    return index


def parse_manifest(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Manifest:
    """The image manifest in ``data``, with layers that are uncompressed and within the limits."""
    form = Form(parse_object(data, "the manifest", limits), "OCI manifest")
    form.integer("schemaVersion", low=2, high=2)
    form.text("mediaType", one_of=[MANIFEST_TYPE], default=MANIFEST_TYPE)
    form.text("artifactType", one_of=[MODEL_TYPE], default=MODEL_TYPE)
    config = form.child("config", _read_descriptor)
    if config is None:
        form.problem("config", "is missing")
        config = Descriptor("", "", 0)
    layers = tuple(form.items("layers", _read_descriptor, limit=limits.blobs))
    manifest = Manifest(config, layers, form.mapping("annotations"), form.rest())
    _finish(form)
    for layer in layers:
        if layer.media_type.endswith(_COMPRESSED):
            raise HostileBundleError(
                "compressed-layer",
                f"a layer is compressed ({layer.media_type}); layers are stored as they are",
            )
    check_sizes((config, *layers), limits)
    return manifest


def check_sizes(blobs: tuple[Descriptor, ...], limits: Limits) -> None:
    """Refuse sizes that cannot be meant, and one digest with two sizes."""
    sizes: dict[str, int] = {}
    for blob in blobs:
        if sizes.setdefault(blob.digest, blob.size) != blob.size:
            raise HostileBundleError(
                "size-lie", f"{blob.digest} is listed with two sizes: {sizes[blob.digest]} and {blob.size}"
            )
        if blob.size > limits.blob_bytes:
            raise HostileBundleError(
                "blob-size", f"{blob.digest} has {blob.size} bytes; at most {limits.blob_bytes} are read"
            )
    if sum(sizes.values()) > limits.total_bytes:
        raise HostileBundleError(
            "blob-size", f"the bundle has {sum(sizes.values())} bytes; at most {limits.total_bytes} are read"
        )


def _finish(form: Form) -> None:
    # A carrier that is malformed is no document of the user's: it is refused like any other broken container.
    try:
        form.finish()
    except DocumentError as error:
        raise HostileBundleError("manifest-malformed", error.what) from None


def _read_descriptor(form: Form) -> Descriptor:
    return Descriptor(
        media_type=form.text("mediaType", pattern=MEDIA_TYPE),
        digest=form.digest("digest"),
        size=form.integer("size"),
        annotations=form.mapping("annotations"),
        extra=form.rest(),
    )
