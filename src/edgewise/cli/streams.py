"""stdout and stderr as they are found: other encodings than UTF-8, full disks, readers that have gone, terminals that obey.

What is printed comes from outside in part (file names, labels, names of keys), so that nothing of it may steer the terminal,
and nothing may stop the program only because it cannot be printed.
"""

import codecs
import os
import re
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO

__all__ = ["fit_streams", "is_utf8", "json_printable", "printable", "silence"]

# Controls (C0 but the line end, DEL, C1), line and paragraph separators, the marks that turn the direction of text (they make
# a name read as another: CVE-2021-42574), and halves of surrogate pairs (bytes of a file name that are no UTF-8: PEP 383).
_UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
#: What stands in where an encoding lacks a character; both are the sign for micro.
_PLAIN = {"\u00b5": "u", "\u03bc": "u"}
_ERRORS = "edgewise-plain"


def printable(text: str) -> str:
    """``text`` with everything that a terminal would obey or could not show as an escape; tabs become spaces, line ends stay."""
    return _UNPRINTABLE.sub(_escaped, text)


def json_printable(text: str) -> str:
    """The same for a JSON document, which means the same afterwards."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def is_utf8(stream: TextIO) -> bool:
    """Whether the stream is UTF-8, as far as it says."""
    return codecs.lookup(stream.encoding or "utf-8").name == "utf-8"


def fit_streams() -> None:
    """Make stdout and stderr take any text. Once, at the start of a process that is ours."""
    codecs.register_error(_ERRORS, _plain)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by who started us (`>&-`)
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115  (as long as we live)
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def silence(stream: TextIO) -> None:
    """Send what the stream still holds nowhere, since writing it has failed; else the interpreter complains at its end."""
    with suppress(OSError, ValueError):  # no file of the system's below it, as in tests
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return " " if found[0] == "\t" else f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _plain(error: UnicodeError) -> tuple[str, int]:
    """An error handler of ``codecs``: a plain spelling where there is one, else an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_PLAIN.get(it) or it.encode("ascii", "backslashreplace").decode() for it in missing), error.end
