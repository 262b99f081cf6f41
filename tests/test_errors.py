"""The error tree: one root, four families, stable codes, a remedy in words for each."""

import errno
import os
import re
from collections.abc import Iterator

import pytest

from edgewise import errors
from edgewise.errors import EdgewiseError

FAMILIES = {"E1": errors.InputError, "E2": errors.PeerError, "E3": errors.TransitError, "E4": errors.RefusedError}
EXIT_CODES = {"E1": 1, "E2": 3, "E3": 3, "E4": 4}

pytestmark = pytest.mark.bare


def walk(error: type[EdgewiseError]) -> Iterator[type[EdgewiseError]]:
    yield error
    for child in error.__subclasses__():
        yield from walk(child)


CLASSES = list(walk(EdgewiseError))


def build(error: type[EdgewiseError]) -> EdgewiseError:
    if issubclass(error, errors.DocumentError):
        return error("bundle document", ["name: is missing"])
    if issubclass(error, errors.HostileBundleError):
        return error("digest-mismatch", "model.onnx has another digest")
    return error("something happened", path="x")


def test_codes_are_unique() -> None:
    codes = [error.code for error in CLASSES]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_every_class_has_code_family_exit_code_meaning_and_remedy(error: type[EdgewiseError]) -> None:
    assert re.fullmatch(r"E\d{3}", error.code)
    if error is not EdgewiseError:
        assert issubclass(error, FAMILIES[error.code[:2]])
        assert error.exit_code == EXIT_CODES[error.code[:2]]
    assert error.__doc__
    assert "__doc__" in vars(error)
    assert error.__doc__ != error.__bases__[0].__doc__
    assert error.default_remedy.rstrip().endswith((".", "`"))


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_every_instance_says_what_happened_and_what_to_do(error: type[EdgewiseError]) -> None:
    built = build(error)
    assert str(built) == built.what
    assert built.remedy
    assert isinstance(built.details, dict)
    assert build(error).__class__ is error


def test_a_remedy_that_is_given_replaces_the_default() -> None:
    assert errors.NotFoundError("x", remedy="Do this.").remedy == "Do this."


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "Free some space"), (errno.EDQUOT, "Free some space"),
        (errno.EACCES, "permissions"), (errno.EPERM, "permissions"), (errno.EROFS, "permissions"),
        (errno.EISDIR, "in the way"), (errno.ENOTDIR, "in the way"), (errno.EEXIST, "in the way"),
        (errno.EIO, "Check the path and the disk"), (errno.ENAMETOOLONG, "Check the path and the disk"),
    ],
)  # fmt: skip
def test_the_remedy_for_a_disk_fits_its_reason(number: int, words: str) -> None:
    error = errors.StorageError.of("write", "x", OSError(number, os.strerror(number)))
    assert error.what == f"could not write x: {os.strerror(number)}"
    assert words in error.remedy
    assert "EDGEWISE_HOME" not in error.remedy, "the file may be anywhere"
    assert error.details == {"path": "x"}


def test_a_default_remedy_fits_everything_that_raises_the_error() -> None:
    assert "bundle" not in errors.NotFoundError.default_remedy
    assert ".npz" not in errors.DataError.default_remedy
    assert "space" not in errors.StorageError.default_remedy
