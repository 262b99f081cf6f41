"""The trust root: which keys may sign releases, which may sign receipts, and how many of them it takes.

Keys and roles have the form of TUF's root metadata (TUF specification, section 5.3), so that a repository's root can take over.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from edgewise.bundle.document import LABEL
from edgewise.bundle.fields import Form
from edgewise.bundle.strict_json import dump_json, parse_object
from edgewise.errors import DocumentError, HostileBundleError, KeyFileError
from edgewise.records import dataclass
from edgewise.trust.keys import PublicKey

__all__ = ["ROLES", "TrustRoot"]

ROLES = ("release", "receipt")
_MAX_KEYS = 256
_MAX_NAME = 256  # characters
_REMEDY = (
    "Correct the trust root that you named (by default it is EDGEWISE_HOME/root.json), or move it away and add each key again "
    "with `edgewise key trust FILE.pub`."
)


@dataclass(frozen=True, slots=True)
class TrustRoot:
    """keys: key id -> key. names: key id -> whose it is. roles: role -> key ids. threshold: role -> signatures needed."""

    keys: Mapping[str, PublicKey] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, frozenset[str]] = field(default_factory=dict)
    threshold: Mapping[str, int] = field(default_factory=dict)

    def signers(self, role: str, message: bytes, signatures: tuple[tuple[str, bytes], ...]) -> list[str]:
        """Ids of the distinct keys of ``role`` with a valid signature over ``message``."""
        allowed = self.roles.get(role, frozenset())
        valid = {
            key_id
            for key_id, signature in signatures
            if key_id in allowed and self.keys[key_id].verify(message, signature)
        }
        return sorted(valid)

    def enough(self, role: str, signers: list[str]) -> bool:
        """Whether that many signers meet the role's threshold."""
        return len(signers) >= self.threshold.get(role, 1)

    def with_key(self, key: PublicKey, name: str, roles: tuple[str, ...] = ROLES) -> "TrustRoot":
        """This root with one more trusted key. Raises KeyFileError where no root may hold it, so that none is written."""
        if LABEL.fullmatch(name) is None or _broken(name):
            raise KeyFileError(
                f"a key's name has at most {_MAX_NAME} characters and none that cannot be printed; "
                f"{name[:40]!r} has {len(name)} characters",
                remedy="Give it another name with --name.",
            )
        if len({*self.keys, key.key_id}) > _MAX_KEYS:
            raise KeyFileError(
                f"a trust root holds at most {_MAX_KEYS} keys; this one is full",
                remedy="Remove a key that you no longer trust from it, or keep the new one in another root (--trust).",
            )
        return TrustRoot(
            {**self.keys, key.key_id: key},
            {**self.names, key.key_id: name},
            {role: self.roles.get(role, frozenset()) | ({key.key_id} if role in roles else set()) for role in ROLES},
            self.threshold,
        )

    def name_of(self, key_id: str) -> str:
        """Whose key it is, or the start of its id."""
        return self.names.get(key_id) or key_id[:12]

    def to_bytes(self) -> bytes:
        return dump_json(
            {
                "schemaVersion": 1,
                "keys": {
                    key_id: {**key.to_json(), "name": self.names.get(key_id, "")} for key_id, key in self.keys.items()
                },
                "roles": {
                    role: {"keyids": sorted(self.roles.get(role, ())), "threshold": self.threshold.get(role, 1)}
                    for role in ROLES
                },
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> "TrustRoot":
        """The root in ``data``. Raises KeyFileError with every problem, and how to mend it."""
        try:
            form = Form(parse_object(data, "the trust root"), "trust root")
        except HostileBundleError as error:
            raise KeyFileError(error.what, remedy=_REMEDY, rule=error.rule) from None
        form.integer("schemaVersion", low=1, high=1)
        keys: dict[str, PublicKey] = {}
        names: dict[str, str] = {}
        for key_id, entry in _entries(form, "keys"):
            item = Form(entry, form.kind, f"keys.{key_id[:12]}", form.problems)
            item.text("keytype", one_of=["ed25519"])
            public = item.child("keyval", lambda value: value.text("public", limit=64)) or ""
            names[key_id] = item.text("name", pattern=LABEL, default="", limit=_MAX_NAME)
            key = (
                PublicKey(bytes.fromhex(public))
                if len(public) == 64 and set(public) <= set("0123456789abcdef")
                else None
            )
            if key is None or key.key_id != key_id:
                item.problem("keyval", "is not the Ed25519 key with this id")
            else:
                keys[key_id] = key
        roles: dict[str, frozenset[str]] = {}
        threshold: dict[str, int] = {}
        for role, entry in _entries(form, "roles"):
            item = Form(entry, form.kind, f"roles.{role}", form.problems)
            key_ids = item.values(
                "keyids",
                lambda key_id: isinstance(key_id, str) and key_id in keys,
                "the id of a key above",
                limit=_MAX_KEYS,
            )
            roles[role] = frozenset(map(str, key_ids))
            threshold[role] = item.integer("threshold", low=1, high=_MAX_KEYS)
        try:
            form.finish()
        except DocumentError as error:
            raise KeyFileError(error.what, remedy=_REMEDY) from None
        return cls(keys, names, roles, threshold)


def _broken(name: str) -> bool:
    """Whether it has half a surrogate pair, as file names that are no UTF-8 have: such text cannot be written."""
    return any("\ud800" <= character <= "\udfff" for character in name)


def _entries(form: Form, name: str) -> list[tuple[str, Any]]:
    value = form.anything(name)
    if not isinstance(value, dict) or len(value) > _MAX_KEYS:
        form.problem(name, f"an object of at most {_MAX_KEYS} entries is needed")
        return []
    return list(value.items())
