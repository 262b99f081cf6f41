"""Archives and layouts that are not what a bundle is made of."""

import gzip
from collections.abc import Iterator

from attacks.attack import Attack, hostile
from edgewise.testing.raw_layout import TAR_END, RawLayout, tar_entry
from edgewise.testing.sample_bundles import minimal_bundle

__all__ = ["archive_attacks"]

_DIGEST = "ab" * 32
_ESCAPES = {
    "path-absolute": b"/etc/cron.d/edgewise",
    "path-parent": b"blobs/sha256/../../../../etc/passwd",
    "path-backslash": b"blobs\\sha256\\" + _DIGEST.encode(),
    "path-drive": b"C:\\index.json",
    "path-not-ascii": "blobs/sha256/\u0661".encode(),
}
_TYPES = {
    b"3": "character-device",
    b"4": "block-device",
    b"6": "fifo",
    b"7": "contiguous",
    b"x": "pax-header",
    b"g": "pax-global-header",
    b"L": "gnu-long-name",
    b"K": "gnu-long-link",
    b"S": "gnu-sparse",
    b"D": "gnu-directory-dump",
    b"V": "gnu-volume",
    b"Z": "unknown-type",
}


def archive_attacks() -> Iterator[Attack]:
    files = RawLayout.of(minimal_bundle()).files()
    whole = b"".join(tar_entry(name, data) for name, data in files.items())
    blob = next(iter(files))
    yield from _entries(whole)
    again = tar_entry(blob, files[blob])
    yield hostile("blob-twice", "tar-duplicate", "one blob twice", again + whole + TAR_END)
    yield from _numbers(whole, blob, files[blob])
    yield from _ends(whole)
    yield from _layouts(files)


def _entries(whole: bytes) -> Iterator[Attack]:
    for name, path in _ESCAPES.items():
        yield hostile(
            name, "path-escape", "an entry that would be unpacked elsewhere", tar_entry(path, b"x") + whole + TAR_END
        )
    yield hostile(
        "path-prefix",
        "path-escape",
        "the escape is in the header's prefix field",
        tar_entry(b"passwd", b"x", prefix=b"../../etc") + whole + TAR_END,
    )
    for kind, name in ((b"2", "symbolic-link"), (b"1", "hard-link")):
        entry = tar_entry(f"blobs/sha256/{_DIGEST}", kind=kind, link=b"/etc/passwd")
        yield hostile(name, "tar-link", "a blob that is a link to a file of the reader's", entry + whole + TAR_END)
    for kind, name in _TYPES.items():
        data = b"30 path=../../etc/passwd0000\n" if kind in b"xgLK" else b""
        entry = tar_entry(f"blobs/sha256/{_DIGEST}", data, kind=kind)
        yield hostile(name, "tar-type", f"an entry of type {kind.decode()}", entry + whole + TAR_END)
    yield hostile(
        "file-beside",
        "unexpected-entry",
        "a file that no bundle has",
        tar_entry("run.sh", b"rm -rf /") + whole + TAR_END,
    )
    yield hostile(
        "folder-beside",
        "unexpected-entry",
        "a folder that no bundle has",
        tar_entry("etc/", kind=b"5") + whole + TAR_END,
    )
    yield hostile(
        "folder-with-data",
        "unexpected-entry",
        "a folder with content: readers disagree on where the next entry starts",
        tar_entry("blobs/", bytes(512), kind=b"5") + whole + TAR_END,
    )
    yield hostile(
        "file-with-slash",
        "unexpected-entry",
        "a file that other readers take for a folder",
        tar_entry(f"blobs/sha256/{_DIGEST}/", b"x") + whole + TAR_END,
    )
    yield hostile(
        "upper-case-digest",
        "unexpected-entry",
        "equal to another blob where file names know no case",
        tar_entry(f"blobs/sha256/{_DIGEST.upper()}", b"x") + whole + TAR_END,
    )
    twice = tar_entry("index.json", b"{}")
    yield hostile(
        "index-twice", "tar-duplicate", "the first reader takes one, the second the other", twice + whole + TAR_END
    )
    dotted = tar_entry("./index.json", b"{}")
    yield hostile("index-twice-dotted", "tar-duplicate", "the same file under two spellings", dotted + whole + TAR_END)


def _numbers(whole: bytes, blob: str, data: bytes) -> Iterator[Attack]:
    rest = whole[len(tar_entry(blob, data)) :] + TAR_END
    for name, size in (
        ("size-base-256", b"\x80" + bytes(10) + bytes([len(data) & 255])),
        ("size-negative", b"-0000000001\0"),
        ("size-negative-base-256", b"\xff" * 12),
        ("size-hexadecimal", b"0x000000012\0"),
        ("size-empty", bytes(12)),
        ("size-with-space", b"00000 00001\0"),
    ):
        yield hostile(name, "tar-number", "a size that is no octal number", tar_entry(blob, data, size=size) + rest)
    for name, size in (("size-8-gib", b"77777777777\0"), ("size-64-gib", b"777777777777")):
        yield hostile(name, "tar-truncated", "a size far beyond the file", tar_entry(blob, data, size=size) + rest)
    yield hostile("checksum", "tar-checksum", "a header that was changed", tar_entry(blob, data, checksum=1) + rest)
    yield hostile("magic", "not-a-bundle", "an old tar without ustar", tar_entry(blob, data, magic=bytes(8)) + rest)


def _ends(whole: bytes) -> Iterator[Attack]:
    done = whole + TAR_END
    yield hostile("empty-file", "tar-truncated", "nothing at all", b"")
    yield hostile("no-end", "tar-truncated", "the file ends after an entry", whole)
    yield hostile("cut-in-header", "tar-truncated", "the file ends inside a header", whole[:300])
    yield hostile("cut-in-data", "tar-truncated", "the file ends inside a blob", whole[:520])
    yield hostile("trailing-data", "tar-trailing", "data after the end, for another reader", done + b"#!/bin/sh")
    yield hostile(
        "second-archive",
        "tar-trailing",
        "a second archive after the end",
        done + tar_entry("index.json", b"{}") + TAR_END,
    )
    yield hostile("text", "not-a-bundle", "no archive", b"hello\n" * 200)
    yield hostile(
        "gzip-archive", "compressed-archive", "an archive that has to be unpacked first", gzip.compress(done, mtime=0)
    )
    for name, magic in (("zip", b"PK\3\4"), ("zstd", b"\x28\xb5\x2f\xfd"), ("bzip2", b"BZh9"), ("xz", b"\xfd7zXZ\0")):
        yield hostile(f"{name}-archive", "compressed-archive", f"a {name} file", magic + bytes(600))


def _layouts(files: dict[str, bytes]) -> Iterator[Attack]:
    def tar(changed: dict[str, bytes | None]) -> bytes:
        kept = {name: data for name, data in {**files, **changed}.items() if data is not None}
        return b"".join(tar_entry(name, data) for name, data in kept.items()) + TAR_END

    yield hostile("layout-file-missing", "layout-missing", "no oci-layout", tar({"oci-layout": None}))
    yield hostile("index-missing", "layout-missing", "no index.json", tar({"index.json": None}))
    for name, layout, rule in (
        ("layout-version-2", b'{"imageLayoutVersion":"2.0.0"}', "layout-version"),
        ("layout-version-missing", b"{}", "layout-version"),
        ("layout-version-number", b'{"imageLayoutVersion":1}', "layout-version"),
        ("layout-list", b"[]", "json-malformed"),
        ("layout-long", b'{"imageLayoutVersion":"1.0.0"}' + b" " * 5000, "json-size"),
        ("layout-key-twice", b'{"imageLayoutVersion":"1.0.0","imageLayoutVersion":"2.0.0"}', "json-duplicate-key"),
    ):
        yield hostile(name, rule, "an oci-layout file of another form", tar({"oci-layout": layout}))
    for name, data in files.items():
        if name.startswith("blobs/"):
            which = name[-64:][:8]
            yield hostile(
                f"blob-missing-{which}", "blob-missing", "a blob that is listed is not there", tar({name: None})
            )
            changed = bytes([data[0] ^ 1]) + data[1:]
            yield hostile(f"digest-{which}", "digest-mismatch", "one bit of a blob is flipped", tar({name: changed}))
            yield hostile(
                f"truncated-{which}", "blob-truncated", "a blob that is shorter than listed", tar({name: data[:-1]})
            )
            yield hostile(
                f"overlong-{which}", "blob-overlong", "a blob that is longer than listed", tar({name: data + b" "})
            )
