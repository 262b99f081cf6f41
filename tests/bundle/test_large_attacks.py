"""Hostile inputs too large to commit: refused within bounded memory and time, like those in spec/attacks."""

import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest

from edgewise.bundle.bundle import open_bundle
from edgewise.bundle.layout import EVIDENCE_TYPE
from edgewise.bundle.statement import Envelope
from edgewise.bundle.strict_json import parse_json
from edgewise.bundle.tarball import TarSource
from edgewise.digests import digest_of, hex_of
from edgewise.errors import HostileBundleError
from edgewise.store.bundles import open_path, write_folder
from edgewise.testing.raw_layout import TAR_END, RawLayout, tar_entry
from edgewise.testing.sample_bundles import minimal_bundle, sample_root, signed_bundle
from edgewise.trust.verification import verify_bundle

MEMORY = 32 << 20  # bytes above what was in use before
SECONDS = 2.0
LIMIT = 4 << 20  # bytes of one document

JSON_BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "one string of 4 MiB behind many brackets": ("", lambda: b'["' + b"a" * (LIMIT - 200) + b'"' + b",[]" * 40 + b"]"),
    "a string that never ends, full of quotes": ("json-depth", lambda: b"[[" * 20 + b'"' + b'\\"' * (LIMIT // 2 - 40)),
    "a string that never ends, in few brackets": ("json-malformed", lambda: b'[{},"' + b'\\"' * (LIMIT // 2 - 40)),
    "a million empty objects": ("json-values", lambda: b"[" + b"{}," * (LIMIT // 3 - 2) + b"{}]"),
    "a million empty lists": ("json-values", lambda: b"[" + b"[]," * (LIMIT // 3 - 2) + b"[]]"),
    "two million numbers": ("json-values", lambda: b"[" + b"1," * (LIMIT // 2 - 2) + b"1]"),
    "many keys, the last one twice": (
        "json-duplicate-key",
        lambda: b"{" + b",".join(b'"%d":0' % at for at in range(130_000)) + b',"129999":0}',
    ),
    "brackets in a string, four million": ("", lambda: b'"' + b"[" * (LIMIT - 2) + b'"'),
    "four million open brackets": ("json-depth", lambda: b"[" * LIMIT),
    "one number of four million digits": ("json-number", lambda: b"1" * LIMIT),
    "one fraction of four million digits": ("json-number", lambda: b"0." + b"1" * (LIMIT - 2)),
    "four million spaces": ("json-malformed", lambda: b" " * LIMIT),
    "one byte too many": ("json-size", lambda: b" " * (LIMIT + 1)),
}


@contextmanager
def bounded() -> Iterator[None]:
    """The block stays within the memory and, measured without tracemalloc's own cost, the time."""
    tracemalloc.start()
    started = time.process_time()
    try:
        yield
        seconds, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEMORY
    assert seconds < 2 * SECONDS  # tracing allocations doubles the time at least


@pytest.mark.parametrize("name", JSON_BOMBS)
def test_a_document_of_four_mebibytes_costs_little(name: str) -> None:
    rule, make = JSON_BOMBS[name]
    data = make()
    started = time.process_time()
    _read(data, rule)
    assert time.process_time() - started < SECONDS
    with bounded():
        _read(data, rule)


def _read(data: bytes, rule: str) -> None:
    if not rule:
        parse_json(data, "the bomb")
        return
    with pytest.raises(HostileBundleError) as raised:
        parse_json(data, "the bomb")
    assert raised.value.rule == rule
    assert len(str(raised.value)) < 1000


def test_an_archive_of_100000_entries_is_refused_early() -> None:
    data = b"".join(tar_entry("blobs/sha256/" + hex_of(digest_of(b"%d" % at))) for at in range(5_000)) * 20
    with bounded(), pytest.raises(HostileBundleError) as raised:
        TarSource(BytesIO(data))
    assert raised.value.rule == "tar-entries"


def test_a_gibibyte_of_padding_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "padded.bundle"
    path.write_bytes(RawLayout.of(minimal_bundle()).tar())
    os.truncate(path, 1 << 30)  # sparse: it takes no room on the disk
    with bounded(), pytest.raises(HostileBundleError) as raised:
        open_path(path)
    assert raised.value.rule == "tar-trailing"


def test_a_sparse_blob_of_a_tebibyte_is_never_read(tmp_path: Path) -> None:
    bundle = minimal_bundle()
    write_folder(bundle, tmp_path)
    os.truncate(tmp_path / "blobs" / "sha256" / hex_of(bundle.document.variants[0].digest), 1 << 40)
    with bounded(), pytest.raises(HostileBundleError) as raised:
        open_path(tmp_path).check_blobs()
    assert raised.value.rule == "blob-overlong"


def test_an_entry_that_honestly_holds_a_gibibyte_as_index_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "index.bundle"
    raw = RawLayout.of(minimal_bundle())
    with path.open("wb") as file:
        file.write(tar_entry("oci-layout", raw.layout) + tar_entry("index.json", size=1 << 30))
        file.seek(1 << 30, os.SEEK_CUR)
        file.write(TAR_END)
    with bounded(), pytest.raises(HostileBundleError) as raised:
        open_path(path)
    assert raised.value.rule == "json-size"


@pytest.mark.parametrize(("count", "size", "rule"), [(1025, 10, "evidence-count"), (3, 4 << 20, "evidence-count")])
def test_evidence_is_bounded_in_number_and_in_bytes(count: int, size: int, rule: str) -> None:
    raw = RawLayout.of(minimal_bundle())
    for at in range(count):
        raw.manifest["layers"].append({"mediaType": EVIDENCE_TYPE, "digest": digest_of(b"%d" % at), "size": size})
    source = raw.source()
    with bounded(), pytest.raises(HostileBundleError) as raised:
        open_bundle(source)
    assert raised.value.rule == rule


def test_one_envelope_listed_a_thousand_times_is_read_once() -> None:
    raw = RawLayout.of(signed_bundle())
    evidence = [layer for layer in raw.manifest["layers"] if layer["mediaType"] == EVIDENCE_TYPE]
    raw.manifest["layers"] += evidence * 500
    bundle = open_bundle(raw.source())
    reads = []
    whole = bundle.source.open_blob
    bundle.source.open_blob = lambda digest: (reads.append(digest), whole(digest))[1]  # type: ignore[method-assign]
    verify_bundle(bundle, sample_root())
    bundle.check_blobs()
    assert len(reads) == len(evidence) + len(bundle.blobs())


def test_16_signatures_on_a_large_payload_cost_little() -> None:
    raw = RawLayout.of(minimal_bundle())
    payload = b'{"_type":"https://in-toto.io/Statement/v1","predicate":{"x":"' + b"x" * (2 << 20) + b'"},'
    payload += b'"predicateType":"urn:edgewise:predicate:release:v1","subject":[]}'
    key_id = next(iter(sample_root().roles["release"]))
    envelope = Envelope(payload, ((key_id, bytes(64)),) * 16)
    raw.manifest["layers"].append({"mediaType": EVIDENCE_TYPE, **raw.add(envelope.to_bytes())})
    bundle = open_bundle(raw.source())
    started = time.process_time()
    with pytest.raises(Exception, match="0 of 1 valid signatures"):
        verify_bundle(bundle, sample_root())
    assert time.process_time() - started < SECONDS
