"""Ed25519 keys (RFC 8032) in the files that every tool reads: PKCS#8 and SubjectPublicKeyInfo in PEM (RFC 8410, RFC 7468)."""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import field

from edgewise.bundle.strict_json import dump_json
from edgewise.digests import digest_of, hex_of
from edgewise.errors import KeyFileError
from edgewise.records import dataclass

__all__ = ["PrivateKey", "PublicKey"]

# DER up to the 32 key bytes: version 0, algorithm 1.3.101.112, OCTET STRING or BIT STRING (RFC 8410 sections 4 and 7).
_PRIVATE_DER = bytes.fromhex("302e020100300506032b657004220420")
_PUBLIC_DER = bytes.fromhex("302a300506032b6570032100")
_KEY_BYTES, _SIGNATURE_BYTES = 32, 64
_MAX_PEM = 4096


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Checks signatures. ``raw`` is the 32 bytes of RFC 8032."""

    raw: bytes

    @property
    def key_id(self) -> str:
        """SHA-256 of the key's canonical description, as TUF computes key ids (TUF specification, section 4.2)."""
        return hex_of(digest_of(dump_json(self.to_json())))

    def to_json(self) -> dict[str, object]:
        return {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": self.raw.hex()}}

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether ``signature`` (64 bytes) is this key's over ``message``."""
        if len(signature) != _SIGNATURE_BYTES or len(self.raw) != _KEY_BYTES:
            return False
        # Deferred: libsodium is loaded only where a signature is really made or checked. PyNaCl's own module for this imports
        # all of its bindings, 8 ms of a start; below it is the one function that checks (libsodium, crypto_sign_open).
        try:
            from nacl._sodium import ffi, lib  # noqa: PLC0415
        except ImportError:
            return _verify_by_pynacl(self.raw, message, signature)
        signed = signature + message
        opened, length = ffi.new("unsigned char[]", len(signed)), ffi.new("unsigned long long *")
        if lib.sodium_init() < 0:
            raise KeyFileError("libsodium does not start here", remedy="pip install --force-reinstall pynacl")
        return bool(lib.crypto_sign_open(opened, length, signed, len(signed), self.raw) == 0)

    def to_pem(self) -> bytes:
        return _pem("PUBLIC KEY", _PUBLIC_DER + self.raw)

    @classmethod
    def from_pem(cls, data: bytes) -> "PublicKey":
        """Raises KeyFileError for anything but an Ed25519 public key in PEM."""
        return cls(_unpem("PUBLIC KEY", _PUBLIC_DER, data))


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """Makes signatures. ``seed`` is the 32 secret bytes of RFC 8032; it is never shown."""

    seed: bytes = field(repr=False)

    @classmethod
    def new(cls) -> "PrivateKey":
        """A fresh key from the operating system's generator."""
        from nacl.utils import random as random_bytes  # noqa: PLC0415  (deferred like the rest of libsodium)

        return cls(random_bytes(_KEY_BYTES))

    @property
    def public(self) -> PublicKey:
        from nacl.signing import SigningKey  # noqa: PLC0415

        return PublicKey(bytes(SigningKey(self.seed).verify_key))

    def sign(self, message: bytes) -> bytes:
        """The signature of ``message``, 64 bytes; deterministic."""
        from nacl.signing import SigningKey  # noqa: PLC0415

        return bytes(SigningKey(self.seed).sign(message).signature)

    def to_pem(self) -> bytes:
        return _pem("PRIVATE KEY", _PRIVATE_DER + self.seed)

    @classmethod
    def from_pem(cls, data: bytes) -> "PrivateKey":
        """Raises KeyFileError for anything but an unencrypted Ed25519 private key in PEM."""
        return cls(_unpem("PRIVATE KEY", _PRIVATE_DER, data))


def _verify_by_pynacl(raw: bytes, message: bytes, signature: bytes) -> bool:
    from nacl.exceptions import CryptoError  # noqa: PLC0415  (deferred like the rest of libsodium)
    from nacl.signing import VerifyKey  # noqa: PLC0415

    try:
        VerifyKey(raw).verify(message, signature)
    except (CryptoError, ValueError):
        return False
    return True


def _pem(label: str, der: bytes) -> bytes:
    return f"-----BEGIN {label}-----\n{b64encode(der).decode()}\n-----END {label}-----\n".encode()


def _unpem(label: str, prefix: bytes, data: bytes) -> bytes:
    text = data[:_MAX_PEM].decode("ascii", "replace").strip()
    begin, end = f"-----BEGIN {label}-----", f"-----END {label}-----"
    if not (text.startswith(begin) and text.endswith(end)):
        # Only a PEM label is repeated: a first line of another form might be the secret itself.
        first = text.splitlines()[0][:60] if text.startswith("-----") else ""
        found = f"this one begins with {first!r}" if first else "this is none"
        raise KeyFileError(f"a PEM file with {begin} is needed; {found}")
    try:
        der = b64decode("".join(text[len(begin) : -len(end)].split()), validate=True)
    except (Base64Error, ValueError):
        raise KeyFileError("the PEM file is damaged: what it holds is not base64") from None
    if len(der) != len(prefix) + _KEY_BYTES or not der.startswith(prefix):
        raise KeyFileError("the PEM file does not hold an Ed25519 key (RFC 8410)")
    return der[len(prefix) :]
