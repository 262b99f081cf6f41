"""An opened bundle: parsed and consistent with itself, not yet trusted (``edgewise.trust`` says by whom it was signed)."""

from collections.abc import Mapping
from typing import BinaryIO

from edgewise.bundle.document import Document, File, Variant, parse_document
from edgewise.bundle.layout import (
    DOCUMENT_TYPE,
    EVIDENCE_TYPE,
    LAYOUT_FILE,
    Descriptor,
    Index,
    Manifest,
    check_layout_file,
    check_sizes,
    parse_index,
    parse_manifest,
)
from edgewise.bundle.limits import DEFAULT_LIMITS, Limits
from edgewise.bundle.source import Source, check_blob, read_blob
from edgewise.bundle.statement import Envelope, parse_envelope
from edgewise.bundle.tarball import write_tar
from edgewise.bundle.training_parts import TrainingEntry
from edgewise.errors import DocumentError, HostileBundleError, NotFoundError
from edgewise.records import dataclass

__all__ = ["Bundle", "open_bundle"]

_LAYOUT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Bundle:
    """One version of one model, with its evidence.

    The document and the evidence are in memory and verified against the manifest; files are read and verified when asked for.
    """

    source: Source
    index: Index
    manifest: Manifest
    document: Document
    document_digest: str
    limits: Limits = DEFAULT_LIMITS

    @property
    def ref(self) -> str:
        """``name:version``."""
        return f"{self.document.name}:{self.document.version}"

    def read(self, file: File) -> bytes:
        """The verified bytes of a file that the document names."""
        return read_blob(self.source, Descriptor(file.media_type, file.digest, file.size), file.path, self.limits)

    def model_files(self, variant: Variant) -> Mapping[str, bytes]:
        """All files of a variant by path, verified; the model itself comes first."""
        return {file.path: self.read(file) for file in variant.files}

    def training_parts(self, entry: TrainingEntry) -> dict[str, bytes]:
        """The parts of a training step by name, verified."""
        return {name: self.read(file) for name, file in entry.files(self.document.files).items()}

    def variant(self, name: str) -> Variant:
        """The variant called ``name``. Raises NotFoundError with the names there are."""
        for variant in self.document.variants:
            if variant.name == name:
                return variant
        names = ", ".join(variant.name for variant in self.document.variants)
        raise NotFoundError(
            f"{self.ref} has no variant {name!r}; it has {names}", remedy="Choose one of those variants."
        )

    def evidence(self) -> dict[str, Envelope]:
        """Digest -> envelope, for every envelope in the bundle. Signatures are not checked here."""
        found: dict[str, Envelope] = {}
        for layer in self.manifest.layers:
            if layer.media_type == EVIDENCE_TYPE and layer.digest not in found:
                found[layer.digest] = parse_envelope(
                    read_blob(self.source, layer, "a signature envelope", self.limits), self.limits
                )
        return found

    def content(self) -> dict[str, str]:
        """Digest -> name of every blob that a release has to cover: all but the evidence."""
        names = {self.manifest.config.digest: "config.json", self.document_digest: "bundle.json"}
        for variant in self.document.variants:
            names |= {file.digest: f"{variant.name}/{file.path}" for file in variant.files}
        rest = [self.document.golden.file] if self.document.golden else []
        return names | {file.digest: file.path for file in [*rest, *self.document.files]}

    def blobs(self) -> list[Descriptor]:
        """Every blob of the bundle once, the manifest first."""
        listed = (self.index.manifests[0], self.manifest.config, *self.manifest.layers)
        return list({blob.digest: blob for blob in reversed(listed)}.values())[::-1]

    def check_blobs(self) -> None:
        """Verify size and digest of every blob, holding one MiB at a time."""
        names = self.content()
        for blob in self.blobs():
            check_blob(self.source, blob, names.get(blob.digest, blob.digest), self.limits)

    def write(self, target: BinaryIO) -> None:
        """The bundle as one reproducible tar: equal content gives equal bytes."""
        write_tar(target, self.source, self.index.to_bytes(), LAYOUT_FILE, self.blobs())


def open_bundle(source: Source, limits: Limits = DEFAULT_LIMITS) -> Bundle:
    """Parse a layout and check that it is consistent with itself.

    Raises HostileBundleError, naming the rule, for anything that breaks the format. Cost is bounded by ``limits``: at most
    four small documents are read.
    """
    check_layout_file(source.read_file("oci-layout", _LAYOUT_BYTES))
    index = parse_index(source.read_file("index.json", limits.json_bytes), limits)
    _bound(index.manifests[0], limits)
    manifest = parse_manifest(read_blob(source, index.manifests[0], "the manifest", limits), limits)
    document_layers = [layer for layer in manifest.layers if layer.media_type == DOCUMENT_TYPE]
    if len(document_layers) != 1:
        raise HostileBundleError(
            "document-count", f"the manifest lists {len(document_layers)} bundle documents; exactly one is needed",
            remedy="This may be a ModelPack of another tool. Import its model file with `edgewise pack MODEL.onnx`.",
        )  # fmt: skip
    _bound(document_layers[0], limits)
    try:
        document = parse_document(read_blob(source, document_layers[0], "the bundle document", limits), limits)
    except DocumentError as error:
        raise HostileBundleError("document-malformed", error.what) from None
    _check_layers(manifest, document, limits)
    return Bundle(source, index, manifest, document, document_layers[0].digest, limits)


def _bound(blob: Descriptor, limits: Limits) -> None:
    if blob.size > limits.json_bytes:
        raise HostileBundleError(
            "json-size",
            f"{blob.digest} is a document of {blob.size} bytes; at most {limits.json_bytes} are read",
        )


def _check_layers(manifest: Manifest, document: Document, limits: Limits) -> None:
    layers = {layer.digest: layer for layer in manifest.layers}
    named = {file.digest for file in document.all_files()}
    for file in document.all_files():
        layer = layers.get(file.digest)
        if layer is None:
            raise HostileBundleError(
                "layer-missing", f"the document names {file.path} ({file.digest}), the manifest does not"
            )
        if layer.size != file.size:
            raise HostileBundleError(
                "size-lie", f"{file.path} has {file.size} bytes in the document, {layer.size} in the manifest"
            )
    evidence = [layer for layer in manifest.layers if layer.media_type == EVIDENCE_TYPE]
    for layer in manifest.layers:
        if layer.media_type == EVIDENCE_TYPE:
            _bound(layer, limits)
        elif layer.media_type != DOCUMENT_TYPE and layer.digest not in named:
            raise HostileBundleError(
                "layer-unnamed", f"the manifest has a layer that the document does not name: {layer.digest}"
            )
    if len(evidence) > limits.evidence or sum(layer.size for layer in evidence) > limits.evidence_bytes:
        raise HostileBundleError(
            "evidence-count",
            f"{len(evidence)} pieces of evidence; at most {limits.evidence} of {limits.evidence_bytes} bytes in all are read",
        )
    check_sizes(tuple(Descriptor(file.media_type, file.digest, file.size) for file in document.all_files()), limits)
