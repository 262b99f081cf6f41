"""The error tree: one root, four families, stable codes, a remedy in words for each."""

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
