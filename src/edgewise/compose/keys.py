"""Keys and trust on this user's disk."""

import os
from pathlib import Path

from edgewise.errors import KeyFileError, StorageError
from edgewise.store.files import read_bounded, write_bytes
from edgewise.store.home import Home
from edgewise.trust.keys import PrivateKey, PublicKey
from edgewise.trust.root import TrustRoot

__all__ = [
    "default_signing_key",
    "load_private",
    "load_public",
    "new_key",
    "public_path",
    "read_root",
    "trust_key",
    "trusted_keys",
]

_PEM_BYTES = 4096
_ROOT_BYTES = 1 << 20
_PRIVATE = 0o600


def public_path(path: Path) -> Path:
    """Where the public half of the private key at ``path`` lies. Raises KeyFileError where that would be ``path`` itself."""
    if not path.name:
        raise KeyFileError(f"{str(path)!r} is a folder", remedy="Name a file for the private key, as in -o mine.key.")
    if path.suffix.lower() == ".pub":  # in either case: there are disks that do not tell them apart
        raise KeyFileError(
            f"the private key cannot be written to {str(path)!r}: files called .pub are public keys",
            remedy="Give it another ending, as in -o mine.key; the public key is then written to mine.pub.",
        )
    return path.with_suffix(".pub")


def new_key(path: Path, home: Home, name: str) -> PublicKey:
    """Make a key pair at ``path`` (private, mode 0600) and ``path`` with the suffix .pub, and trust it.

    All of it is done or nothing. Raises KeyFileError where a file is there already (a key is never overwritten), and for a name
    or a trust root that will not do; StorageError where something cannot be written.
    """
    pair = (path, public_path(path))
    for file in pair:
        if os.path.lexists(file):
            raise KeyFileError(f"{file} exists already", remedy="Choose another name; deleting a key cannot be undone.")
    key = PrivateKey.new()
    root = trusted_keys(home).with_key(key.public, name)  # before anything is written: this may refuse
    write_bytes(path, key.to_pem(), mode=_PRIVATE)
    try:
        write_bytes(pair[1], key.public.to_pem())
        write_bytes(home.trust_root, root.to_bytes())
    except BaseException:
        for file in pair:
            file.unlink(missing_ok=True)
        raise
    return key.public


def trust_key(key: PublicKey, name: str, home: Home) -> None:
    """Add a public key to this user's trust root, for releases and receipts."""
    write_bytes(home.trust_root, trusted_keys(home).with_key(key, name).to_bytes())


def trusted_keys(home: Home) -> TrustRoot:
    """This user's trust root; an empty one where there is none yet. Raises KeyFileError or StorageError where it is unreadable."""
    try:
        home.trust_root.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return TrustRoot()
    except OSError as error:
        raise StorageError.of("read", home.trust_root, error) from error
    return read_root(home.trust_root)


def read_root(path: Path) -> TrustRoot:
    """The trust root at ``path``. Raises KeyFileError that names the file and how to mend it."""
    data = read_bounded(path, _ROOT_BYTES, "the trust root")
    try:
        return TrustRoot.parse(data)
    except KeyFileError as error:
        raise KeyFileError(
            f"{path}: {error.what}",
            remedy=f"Correct {path}, or move it away and add each key again with `edgewise key trust FILE.pub`.",
            **{**error.details, "path": str(path)},
        ) from None


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
