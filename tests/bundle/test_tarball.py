"""One file: reproducible when written; read from every common tool's uncompressed ustar."""

import shutil
import subprocess
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from edgewise.bundle.bundle import Bundle, open_bundle
from edgewise.bundle.layout import Descriptor
from edgewise.bundle.limits import Limits
from edgewise.bundle.source import MemorySource
from edgewise.bundle.tarball import TarSource, write_tar
from edgewise.digests import digest_of
from edgewise.errors import HostileBundleError
from edgewise.store.bundles import open_path, write_folder
from edgewise.testing.sample_bundles import full_bundle, minimal_bundle, sample_root, signed_bundle
from edgewise.trust.verification import verify_bundle

pytestmark = pytest.mark.bare


def packed(bundle: Bundle) -> bytes:
    target = BytesIO()
    bundle.write(target)
    return target.getvalue()


def test_equal_content_gives_equal_bytes() -> None:
    assert packed(signed_bundle(full_bundle())) == packed(signed_bundle(full_bundle()))


def test_writing_what_was_read_changes_nothing() -> None:
    data = packed(signed_bundle(full_bundle()))
    assert packed(open_bundle(TarSource(BytesIO(data)))) == data


def test_the_standard_library_reads_what_was_written() -> None:
    bundle = signed_bundle()
    with tarfile.open(fileobj=BytesIO(packed(bundle))) as archive:
        files = {member.name for member in archive if member.isfile()}
        assert all(member.mtime == 0 and member.uid == 0 for member in archive)
    assert files == {"oci-layout", "index.json", *(f"blobs/{blob.digest.replace(':', '/')}" for blob in bundle.blobs())}


@pytest.mark.parametrize("form", ["gnu", "ustar"])
@pytest.mark.parametrize("start", [".", "oci-layout index.json blobs", "./blobs ./index.json ./oci-layout"])
def test_an_archive_by_gnu_tar_is_read(tmp_path: Path, form: str, start: str) -> None:
    if shutil.which("tar") is None:
        pytest.skip("there is no tar program")
    write_folder(signed_bundle(), tmp_path / "layout")
    command = [
        "tar",
        f"--format={form}",
        "-C",
        str(tmp_path / "layout"),
        "-cf",
        str(tmp_path / "x.bundle"),
        *start.split(),
    ]
    subprocess.run(command, check=True, timeout=60)
    bundle = open_path(tmp_path / "x.bundle")
    bundle.check_blobs()
    assert verify_bundle(bundle, sample_root()).signers


def test_a_missing_blob_is_named_when_writing() -> None:
    bundle = minimal_bundle()
    blobs = {blob.digest: bundle.source.open_blob(blob.digest).read() for blob in bundle.blobs()}
    del blobs[bundle.document.variants[0].digest]
    broken = replace(bundle, source=MemorySource(bundle.index.to_bytes(), blobs))
    with pytest.raises(HostileBundleError) as raised:
        packed(broken)
    assert raised.value.rule == "blob-missing"


def test_a_tampered_blob_is_never_copied() -> None:
    data = b"right"
    source = MemorySource(b"", {digest_of(data): b"wrong"})
    with pytest.raises(HostileBundleError) as raised:
        write_tar(BytesIO(), source, b"{}", b"{}", [Descriptor("a/b", digest_of(data), 5)])
    assert raised.value.rule == "digest-mismatch"


def test_as_many_blobs_as_the_limit_says_can_be_written_and_read() -> None:
    """The writer makes nothing that its own reader refuses: layers up to the limit, and what comes with them."""
    data = packed(signed_bundle(full_bundle()))
    layers = len(signed_bundle(full_bundle()).manifest.layers)
    assert open_bundle(TarSource(BytesIO(data), Limits(blobs=layers)), Limits(blobs=layers))


def test_readers_in_many_threads_do_not_disturb_each_other() -> None:
    bundle = open_bundle(TarSource(BytesIO(packed(full_bundle()))))
    faults: list[Exception] = []

    def check() -> None:
        try:
            for _ in range(50):
                bundle.check_blobs()
        except HostileBundleError as error:
            faults.append(error)

    threads = [threading.Thread(target=check) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


class HandsOver(BytesIO):
    """A stream where another thread gets its turn between ``seek`` and ``read``."""

    def seek(self, at: int, whence: int = 0, /) -> int:
        found = super().seek(at, whence)
        time.sleep(0.001)
        return found


def test_a_reader_reads_from_where_it_sought_whoever_comes_between() -> None:
    bundle = open_bundle(TarSource(HandsOver(packed(full_bundle()))))
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(bundle.check_blobs) for _ in range(8)]:
            done.result()


def test_an_archive_cut_inside_a_blob_names_the_blob_and_what_is_there() -> None:
    data = packed(minimal_bundle())
    name = "blobs/" + minimal_bundle().document_digest.replace(":", "/")
    start = data.index(name.encode()) + 512
    with pytest.raises(HostileBundleError, match=rf"{name} has \d+ bytes; the file ends after 100 ") as raised:
        TarSource(BytesIO(data[: start + 100]))
    assert raised.value.rule == "tar-truncated"
