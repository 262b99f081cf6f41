"""An imported model: bytes, interface and requirements, ready to become a variant of a bundle."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from edgewise.bundle.derivation import Derivation
from edgewise.bundle.document import FORMATS, NAME, PRECISIONS, File, Variant
from edgewise.bundle.tensors import TensorSpec
from edgewise.digests import digest_of
from edgewise.errors import InputError

__all__ = ["CONFIG_MEDIA", "DOC_MEDIA", "WEIGHT_MEDIA", "ImportedModel", "file_entry", "name_from"]

# Media types of the CNCF ModelPack model specification: weights, what configures their use, and what is read by people.
WEIGHT_MEDIA = "application/vnd.cncf.model.weight.v1.raw"
CONFIG_MEDIA = "application/vnd.cncf.model.weight.config.v1.raw"
DOC_MEDIA = "application/vnd.cncf.model.doc.v1.raw"
_DOCUMENTS = (".md", ".rst", ".pdf", ".html")
_DOCUMENT_NAMES = ("license", "licence", "notice", "copyright", "readme")


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """One model from outside.

    files: path -> content, the model itself first, then the external data it refers to.
    inputs, outputs: the interface, as the file itself states it.
    requires: what is needed to run it (``opset``, ``irVersion``, ``domains``).
    extra_files: files of the bundle that belong to no variant: tokenizer, licence.
    notes: what was found or decided on the way in, for people. derivation: how it was made, where its source says.
    """

    name: str
    format: str
    precision: str
    files: Mapping[str, bytes]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    requires: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    extra_files: Mapping[str, bytes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    derivation: Derivation | None = None

    def __post_init__(self) -> None:
        if self.format not in FORMATS or self.precision not in PRECISIONS:
            raise InputError(f"{self.name}: no variant can be {self.format} in {self.precision}")
        if not self.files or not self.inputs or not self.outputs:
            raise InputError(f"{self.name}: a model needs a file, an input and an output")

    @property
    def model(self) -> bytes:
        """The bytes of the model file itself."""
        return next(iter(self.files.values()))

    @property
    def digests(self) -> tuple[str, ...]:
        """Digests of all its files, the model's first."""
        return tuple(digest_of(data) for data in self.files.values())

    def with_notes(self, *notes: str) -> "ImportedModel":
        """The same model with more notes."""
        return replace(self, notes=(*self.notes, *notes))

    def to_variant(self, name: str) -> tuple[Variant, list[bytes]]:
        """The variant ``name`` of a document, and the content of its files in the same order."""
        if not NAME.fullmatch(name):
            raise InputError(f"{name!r} cannot name a variant", remedy="Use lower-case letters, digits and hyphens.")
        files = tuple(file_entry(path, data, WEIGHT_MEDIA) for path, data in self.files.items())
        variant = Variant(
            name, self.format, self.precision, files, requires=dict(self.requires), derivation=self.derivation
        )
        return variant, [*self.files.values()]

    def extra_entries(self) -> tuple[tuple[File, ...], list[bytes]]:
        """The document's entries for ``extra_files``, and their content in the same order."""
        files = tuple(file_entry(path, data) for path, data in self.extra_files.items())
        return files, [*self.extra_files.values()]


def file_entry(path: str, data: bytes, media_type: str = "") -> File:
    """The document's entry for a file; without a media type it is told by its name whether people or programs read it."""
    plain = PurePosixPath(path.lower())
    for_people = plain.suffix in _DOCUMENTS or plain.stem in _DOCUMENT_NAMES
    return File(path, media_type or (DOC_MEDIA if for_people else CONFIG_MEDIA), digest_of(data), len(data))


def name_from(text: str) -> str:
    """``text`` as a name that a bundle accepts: lower case, what does not fit becomes a hyphen."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:64].strip("-") or "model"
