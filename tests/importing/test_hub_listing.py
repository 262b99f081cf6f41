"""A hub's listing is text by a stranger: checked for form, names and size before anything is fetched."""

import hashlib
import json
from io import BytesIO
from typing import Any

import pytest

from edgewise.errors import DownloadMismatchError, InputError, NotFoundError, PeerError, RefusedError
from edgewise.importing.hub_listing import HubFile, check_repository, choose, parse_listing
from edgewise.testing.hub_server import git_blob_id

COMMIT = "a" * 40


def listing(*siblings: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"id": "acme/tiny", "sha": COMMIT, "siblings": list(siblings), "private": False} | more).encode()


def small(path: str, size: int = 2) -> dict[str, Any]:
    return {"rfilename": path, "size": size, "blobId": "b" * 40}


def test_the_simulators_git_blob_id_is_the_one_that_git_gives() -> None:
    """`printf 'hello\\n' | git hash-object --stdin`, and the empty blob."""
    assert git_blob_id(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert git_blob_id(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


def test_small_files_have_gits_id_and_lfs_files_their_sha256_and_real_size() -> None:
    lfs = {
        "rfilename": "m.onnx",
        "size": 999,
        "blobId": "c" * 40,
        "lfs": {"sha256": "d" * 64, "size": 999, "pointerSize": 130},
    }
    found = parse_listing(listing(small("config.json"), lfs), "acme/tiny")
    assert found.commit == COMMIT
    assert found.files == (HubFile("config.json", 2, "", "b" * 40), HubFile("m.onnx", 999, "d" * 64, ""))


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a\\..\\x", "C:x", "", "a//b", "a\x00b"])
def test_a_name_that_leads_out_is_refused_whatever_else_is_listed(name: str) -> None:
    with pytest.raises(RefusedError):
        parse_listing(listing(small("config.json"), small(name)), "acme/tiny")


@pytest.mark.parametrize(
    "data",
    [
        listing(small("a"), sha="main"), listing(small("a"), small("a")), listing({"rfilename": "a"}),
        listing({"rfilename": "a", "size": 2}), listing({"rfilename": "a", "size": 2, "blobId": "x"}),
        listing({"rfilename": "a", "size": -2, "blobId": "b" * 40}), listing(siblings="many"),
        listing({"rfilename": "a", "size": 2, "blobId": "b" * 40, "lfs": {"sha256": "short", "size": 2}}),
    ],
)  # fmt: skip
def test_a_listing_of_another_form_or_without_digests_is_the_peers_fault(data: bytes) -> None:
    with pytest.raises(PeerError):
        parse_listing(data, "acme/tiny")


def test_patterns_do_not_cross_folders() -> None:
    found = parse_listing(
        listing(small("model.onnx"), small("onnx/model.onnx"), small("onnx/old/model.onnx")), "acme/tiny"
    )
    assert [file.path for file in choose(found, ["onnx/*.onnx"], 100)] == ["onnx/model.onnx"]
    assert [file.path for file in choose(found, ["*.onnx"], 100)] == ["model.onnx"]
    with pytest.raises(NotFoundError, match="no file that matches"):
        choose(found, ["*.json"], 100)


def test_more_than_the_limit_in_all_is_refused_with_the_largest_named() -> None:
    found = parse_listing(listing(small("a", 60), small("b", 41)), "acme/tiny")
    assert len(choose(found, ["*"], 101)) == 2
    with pytest.raises(RefusedError) as caught:
        choose(found, ["*"], 100)
    assert caught.value.details["total"] == 101
    assert "a 60" in caught.value.remedy


def test_content_is_checked_against_either_kind_of_digest() -> None:
    data = b'{"a": 1}'
    HubFile("a", len(data), "", git_blob_id(data)).check(BytesIO(data))
    HubFile("a", len(data), hashlib.sha256(data).hexdigest(), "").check(BytesIO(data))
    for file in (
        HubFile("a", len(data), "", git_blob_id(b"x")),
        HubFile("a", len(data), "0" * 64, ""),
        HubFile("a", 3, "", git_blob_id(data)),
    ):
        with pytest.raises(DownloadMismatchError):
            file.check(BytesIO(data))


@pytest.mark.parametrize("name", ["acme/tiny", "gpt2", "Acme-1/tiny_v2.0"])
def test_names_that_are_taken(name: str) -> None:
    check_repository(name, "refs/pr/1")


@pytest.mark.parametrize(
    ("name", "revision"),
    [
        ("a/b/c", "main"),
        ("../a", "main"),
        ("a/..", "main"),
        ("a?b", "main"),
        ("a b", "main"),
        ("", "main"),
        ("a", "../b"),
        ("a", ""),
    ],
)
def test_names_that_could_change_the_url_are_refused(name: str, revision: str) -> None:
    with pytest.raises(InputError):
        check_repository(name, revision)
