"""Layouts that obey no rule: for tests that a reader refuses what it has to, and vectors for readers in other languages."""

import json
from dataclasses import dataclass
from typing import Any

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.layout import DOCUMENT_TYPE, LAYOUT_FILE
from edgewise.bundle.source import MemorySource, read_blob
from edgewise.digests import digest_of, hex_of

__all__ = ["TAR_END", "RawLayout", "tar_entry"]

_BLOCK = 512
TAR_END = bytes(2 * _BLOCK)


@dataclass
class RawLayout:
    """A bundle taken apart. Change any part, then ``files`` puts it together with digests and sizes that fit again.

    index, manifest, document: JSON values, or ``bytes`` to be stored as they are. blobs: path in the layout -> content, without the
    manifest and the document.
    """

    index: Any
    manifest: Any
    document: Any
    blobs: dict[str, bytes]
    layout: bytes = LAYOUT_FILE

    @classmethod
    def of(cls, bundle: Bundle) -> "RawLayout":
        """The parts of ``bundle``."""
        blobs = {
            _path(blob.digest): read_blob(bundle.source, blob, blob.digest, bundle.limits) for blob in bundle.blobs()
        }
        manifest = blobs.pop(_path(bundle.index.manifests[0].digest))
        document = blobs.pop(_path(bundle.document_digest))
        return cls(json.loads(bundle.index.to_bytes()), json.loads(manifest), json.loads(document), blobs)

    def add(self, data: bytes) -> dict[str, Any]:
        """Store a blob; returns digest and size, as descriptors have them."""
        self.blobs[_path(digest_of(data))] = data
        return {"digest": digest_of(data), "size": len(data)}

    def files(self) -> dict[str, bytes]:
        """Path -> content of the layout, in the order in which they are archived."""
        document, files = _bytes(self.document), dict(self.blobs)
        files[_path(digest_of(document))] = document
        if isinstance(self.manifest, dict):
            for layer in self.manifest.get("layers", []):
                if layer.get("mediaType") == DOCUMENT_TYPE:
                    layer |= {"digest": digest_of(document), "size": len(document)}
        manifest = _bytes(self.manifest)
        files[_path(digest_of(manifest))] = manifest
        if isinstance(self.index, dict) and self.index.get("manifests"):
            self.index["manifests"][0] |= {"digest": digest_of(manifest), "size": len(manifest)}
        return {**dict(sorted(files.items())), "index.json": _bytes(self.index), "oci-layout": self.layout}

    def source(self) -> MemorySource:
        """The layout in memory."""
        files = self.files()
        blobs = {"sha256:" + path[-64:]: data for path, data in files.items() if path.startswith("blobs/")}
        return MemorySource(files["index.json"], blobs, files["oci-layout"])

    def tar(self) -> bytes:
        """The layout as an archive."""
        return b"".join(tar_entry(name, data) for name, data in self.files().items()) + TAR_END


def tar_entry(
    name: str | bytes,
    data: bytes = b"",
    *,
    kind: bytes = b"0",
    size: bytes | int | None = None,
    link: bytes = b"",
    prefix: bytes = b"",
    magic: bytes = b"ustar\x0000",
    checksum: int | None = None,
) -> bytes:
    """One archive entry with any header; the checksum fits it unless another is given. ``size`` may lie."""
    shown = len(data) if size is None else size
    block = bytearray(_BLOCK)
    fields = [
        (0, name if isinstance(name, bytes) else name.encode()), (100, b"0000644\0"), (108, b"0000000\0"), (116, b"0000000\0"),
        (124, shown if isinstance(shown, bytes) else b"%011o\0" % shown), (136, b"00000000000\0"), (148, b" " * 8), (156, kind),
        (157, link), (257, magic), (345, prefix),
    ]  # fmt: skip
    for start, text in fields:
        block[start : start + len(text)] = text
    block[148:156] = b"%06o\0 " % (sum(block) if checksum is None else checksum)
    return bytes(block) + data + bytes(-len(data) % _BLOCK)


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _path(digest: str) -> str:
    return "blobs/sha256/" + hex_of(digest)
