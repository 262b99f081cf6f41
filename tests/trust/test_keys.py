"""Keys are what RFC 8032 and RFC 8410 say, in files that other tools read and write."""

import shutil
import subprocess
from base64 import b64decode, b64encode
from pathlib import Path

import pytest

from edgewise.errors import KeyFileError
from edgewise.testing.sample_bundles import PUBLIC_TEST_KEYS
from edgewise.trust.keys import PrivateKey, PublicKey, _verify_by_pynacl

pytestmark = pytest.mark.bare

KEY = PUBLIC_TEST_KEYS["publisher"]
# RFC 8032 section 7.1, tests 1 and 3: secret key, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_signatures_are_those_of_rfc_8032(seed: str, public: str, message: str, signature: str) -> None:
    key = PrivateKey(bytes.fromhex(seed))
    assert key.public.raw.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    assert key.public.verify(bytes.fromhex(message), bytes.fromhex(signature))


def test_any_other_message_key_or_signature_fails() -> None:
    signature = KEY.sign(b"message")
    assert KEY.public.verify(b"message", signature)
    assert not KEY.public.verify(b"Message", signature)
    assert not PUBLIC_TEST_KEYS["stranger"].public.verify(b"message", signature)
    assert not KEY.public.verify(b"message", signature[:-1] + bytes([signature[-1] ^ 1]))
    assert not KEY.public.verify(b"message", b"")
    assert not KEY.public.verify(b"message", signature + b"\0")


def test_a_key_of_small_order_signs_nothing() -> None:
    """The identity as public key would accept one signature for every message."""
    identity = PublicKey(bytes([1]) + bytes(31))
    assert not identity.verify(b"anything", bytes([1]) + bytes(63))


def test_pem_round_trip_and_its_secrecy() -> None:
    assert PrivateKey.from_pem(KEY.to_pem()) == KEY
    assert PublicKey.from_pem(KEY.public.to_pem()) == KEY.public
    assert KEY.seed.hex() not in repr(KEY)
    assert PrivateKey.new() != PrivateKey.new()


@pytest.mark.parametrize("ending", [b"\r\n", b"\n\n  "])
def test_pem_with_other_line_ends_is_read(ending: bytes) -> None:
    assert PublicKey.from_pem(KEY.public.to_pem().replace(b"\n", ending)) == KEY.public


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xff\xfe", b"hello", KEY.public.to_pem()[:-5], KEY.public.to_pem().replace(b"MCow", b"MCo="),
        KEY.public.to_pem().replace(b"MCowBQYDK2Vw", b"MCowBQYDK2Vx"), KEY.to_pem(),
        b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----",
        b"-----BEGIN PUBLIC KEY-----", b"-----BEGIN PUBLIC KEY-----\n" + b"A" * 100_000,
    ],
)  # fmt: skip
def test_anything_else_is_no_public_key(data: bytes) -> None:
    with pytest.raises(KeyFileError):
        PublicKey.from_pem(data)


def test_a_bare_secret_is_not_repeated_in_the_error() -> None:
    secret = KEY.to_pem().splitlines()[1]
    with pytest.raises(KeyFileError) as raised:
        PrivateKey.from_pem(secret)
    assert secret.decode()[:20] not in str(raised.value)


def test_openssl_agrees(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl program")
    for name, data in (("key", KEY.to_pem()), ("message", b"message"), ("signature", KEY.sign(b"message"))):
        (tmp_path / name).write_bytes(data)
    public = subprocess.run(
        ["openssl", "pkey", "-in", tmp_path / "key", "-pubout"], check=True, capture_output=True, timeout=60
    ).stdout
    assert public == KEY.public.to_pem()
    subprocess.run(
        ["openssl", "pkeyutl", "-verify", "-rawin", "-inkey", "key", "-in", "message", "-sigfile", "signature"],
        check=True, capture_output=True, timeout=60, cwd=tmp_path,
    )  # fmt: skip


def test_both_ways_to_check_a_signature_agree_on_what_holds_and_what_does_not() -> None:
    key, message = PrivateKey.new(), b"message"
    good = key.sign(message)
    flipped = bytes([good[0] ^ 1]) + good[1:]
    cases = (
        (message, good),
        (message, flipped),
        (b"other", good),
        (b"", good),
        (message, bytes(64)),
        (message, b"short"),
    )
    for text, signature in cases:
        expected = (text, signature) == (message, good)
        assert key.public.verify(text, signature) is expected
        assert _verify_by_pynacl(key.public.raw, text, signature) is expected
    assert not PublicKey(bytes(31)).verify(message, good)


@pytest.mark.parametrize("change", ["longer", "shorter", "not base64", "two keys"])
def test_a_pem_file_holds_one_key_and_nothing_else(change: str) -> None:
    lines = KEY.public.to_pem().decode().splitlines()
    der = b64decode(lines[1])
    body = {
        "longer": b64encode(der + b"\0").decode(), "shorter": b64encode(der[:-1]).decode(),
        "not base64": lines[1][:20] + "*" + lines[1][20:], "two keys": b64encode(der + der).decode(),
    }[change]  # fmt: skip
    with pytest.raises(KeyFileError):
        PublicKey.from_pem("\n".join([lines[0], body, lines[2], ""]).encode())
