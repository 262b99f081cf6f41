"""Keys and trust on this user's disk."""

from pathlib import Path

from edgewise.errors import KeyFileError
from edgewise.store.files import read_bounded, write_bytes
from edgewise.store.home import Home
from edgewise.trust.keys import PrivateKey, PublicKey
from edgewise.trust.root import TrustRoot

__all__ = ["default_signing_key", "load_private", "load_public", "new_key", "trust_key"]

_PEM_BYTES = 4096
_ROOT_BYTES = 1 << 20
_PRIVATE = 0o600


def new_key(path: Path, home: Home, name: str) -> PublicKey:
    """Make a key pair at ``path`` (private, mode 0600) and ``path`` with the suffix .pub, and trust it.

    Raises KeyFileError where a file is there already: a key is never overwritten.
    """
    public_path = path.with_suffix(".pub")
    for file in (path, public_path):
        if file.exists():
            raise KeyFileError(f"{file} exists already", remedy="Choose another name; deleting a key cannot be undone.")
    key = PrivateKey.new()
    write_bytes(path, key.to_pem(), mode=_PRIVATE)
    write_bytes(public_path, key.public.to_pem())
    trust_key(key.public, name, home)
    return key.public


def trust_key(key: PublicKey, name: str, home: Home) -> None:
    """Add a public key to this user's trust root, for releases and receipts."""
    path = home.trust_root
    root = TrustRoot.parse(read_bounded(path, _ROOT_BYTES, "the trust root")) if path.exists() else TrustRoot()
    write_bytes(path, root.with_key(key, name).to_bytes())


def load_private(path: Path) -> PrivateKey:
    """The private key in a PEM file."""
    return PrivateKey.from_pem(read_bounded(path, _PEM_BYTES, "the key file"))


def load_public(path: Path) -> PublicKey:
    """The public key in a PEM file."""
    return PublicKey.from_pem(read_bounded(path, _PEM_BYTES, "the key file"))


def default_signing_key(home: Home) -> PrivateKey:
    """The user's own key. Raises KeyFileError with what to do where there is none."""
    if not home.default_key.exists():
        raise KeyFileError(
            f"there is no signing key at {home.default_key}",
            remedy="Make one with `edgewise key new`, name one with --key, or pack without signature with --unsigned.",
        )
    return load_private(home.default_key)
