"""The trust root: who may sign what, and how many of them it takes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.errors import KeyFileError
from edgewise.testing.sample_bundles import PUBLIC_TEST_KEYS, sample_root
from edgewise.trust.keys import PrivateKey
from edgewise.trust.root import ROLES, TrustRoot

SEEDS = st.binary(min_size=32, max_size=32)
OWNERS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=256)
KEYS = st.lists(st.tuples(SEEDS, OWNERS, st.sets(st.sampled_from(ROLES))), max_size=4)


@given(KEYS, st.integers(1, 256), st.integers(1, 256))
def test_parse_after_write_is_the_identity(keys: list[tuple[bytes, str, set[str]]], release: int, receipt: int) -> None:
    root = TrustRoot(roles={role: frozenset() for role in ROLES}, threshold={"release": release, "receipt": receipt})
    for seed, name, roles in keys:
        root = root.with_key(PrivateKey(seed).public, name, tuple(roles))
    assert TrustRoot.parse(root.to_bytes()) == root


def test_a_key_counts_only_for_its_role() -> None:
    root, key = sample_root(), PUBLIC_TEST_KEYS["laboratory"]
    signatures = ((key.public.key_id, key.sign(b"message")),)
    assert root.signers("receipt", b"message", signatures) == [key.public.key_id]
    assert root.signers("release", b"message", signatures) == []
    assert root.signers("unknown role", b"message", signatures) == []


def test_one_key_counts_once_however_often_it_signs() -> None:
    root, key = sample_root(release_threshold=2), PUBLIC_TEST_KEYS["publisher"]
    signers = root.signers("release", b"message", ((key.public.key_id, key.sign(b"message")),) * 3)
    assert len(signers) == 1
    assert not root.enough("release", signers)


def test_nobody_is_never_enough() -> None:
    assert not TrustRoot().enough("release", [])
    assert not sample_root().enough("release", [])


def test_the_name_of_a_key_is_shown_or_else_its_id() -> None:
    key_id = PUBLIC_TEST_KEYS["publisher"].public.key_id
    assert sample_root().name_of(key_id) == "publisher"
    assert TrustRoot().name_of(key_id) == key_id[:12]
    assert replace(sample_root(), names={}).name_of(key_id) == key_id[:12]


def test_every_problem_of_a_root_is_said_at_once() -> None:
    value = json.loads(sample_root().to_bytes())
    value["schemaVersion"] = 3
    value["roles"]["release"]["threshold"] = 0
    with pytest.raises(KeyFileError) as raised:
        TrustRoot.parse(json.dumps(value).encode())
    assert "schemaVersion" in str(raised.value)
    assert "roles.release.threshold" in str(raised.value)


def test_a_broken_root_is_the_users_key_file_not_a_hostile_bundle() -> None:
    with pytest.raises(KeyFileError) as raised:
        TrustRoot.parse(b"{")
    assert raised.value.details["rule"] == "json-malformed"


UNPRINTABLE = ["x" * 257, "a\x1b[31m", "a\nb", "\x7f", "\x9b"]


@pytest.mark.parametrize("name", [*UNPRINTABLE, "\udcff"], ids=ascii)
def test_a_name_that_no_root_may_hold_is_refused_before_it_is_in_one(name: str) -> None:
    with pytest.raises(KeyFileError, match="256 characters") as raised:
        TrustRoot().with_key(PUBLIC_TEST_KEYS["publisher"].public, name)
    assert "--name" in raised.value.remedy


@pytest.mark.parametrize("name", UNPRINTABLE, ids=ascii)
def test_a_root_with_such_a_name_is_refused_by_the_reader_and_by_the_schema(name: str, spec: Path) -> None:
    import jsonschema

    schema = json.loads((spec / "schemas" / "root.schema.json").read_text(encoding="utf-8"))
    value = json.loads(sample_root().to_bytes())
    jsonschema.Draft202012Validator(schema).validate(value)
    next(iter(value["keys"].values()))["name"] = name
    assert not jsonschema.Draft202012Validator(schema).is_valid(value)
    with pytest.raises(KeyFileError, match="name"):
        TrustRoot.parse(json.dumps(value).encode())


def test_a_key_without_a_name_is_shown_by_its_id() -> None:
    key = PUBLIC_TEST_KEYS["publisher"].public
    root = TrustRoot.parse(TrustRoot().with_key(key, "").to_bytes())
    assert root.name_of(key.key_id) == key.key_id[:12]


def test_a_root_never_grows_beyond_what_is_read() -> None:
    root = TrustRoot()
    for number in range(256):
        root = root.with_key(PrivateKey(number.to_bytes(32)).public, "")
    assert TrustRoot.parse(root.to_bytes()).keys == root.keys
    assert len(root.with_key(PrivateKey(bytes(32)).public, "renamed").keys) == 256
    with pytest.raises(KeyFileError, match="at most 256 keys"):
        root.with_key(PrivateKey(b"x" * 32).public, "")


@pytest.mark.parametrize("data", [b"{", b"{}"])
def test_the_remedy_of_a_broken_root_says_which_file_and_how(data: bytes) -> None:
    with pytest.raises(KeyFileError) as raised:
        TrustRoot.parse(data)
    assert "EDGEWISE_HOME/root.json" in raised.value.remedy
    assert "edgewise key trust" in raised.value.remedy


@pytest.mark.parametrize("part", ["keys", "roles"])
def test_a_root_with_more_entries_than_it_may_have_is_refused(part: str) -> None:
    value = json.loads(sample_root().to_bytes())
    if part == "keys":
        pairs = ((key.key_id, key.to_json()) for key in (PrivateKey(at.to_bytes(32)).public for at in range(257)))
        value = {**value, "keys": dict(pairs), "roles": {}}
    else:
        value["roles"] = {f"role-{at}": {"keyids": [], "threshold": 1} for at in range(257)}
    with pytest.raises(KeyFileError, match=f"{part}: an object of at most 256 entries"):
        TrustRoot.parse(json.dumps(value).encode())
