"""Every error edgewise raises, in one tree.

Four families, by who can mend the fault, each with its own exit code on the command line:

=================  ====  ==========================================================
family             exit  meaning
=================  ====  ==========================================================
``InputError``     1     what you passed in (a file, an array, an option) is at fault
``PeerError``      3     the other side answered, and its answer is at fault
``TransitError``   3     the way there is at fault: network, disk
``RefusedError``   4     edgewise declined on purpose: verification or policy
=================  ====  ==========================================================

A class has a stable ``code`` and a ``remedy`` in words; an instance has the facts in ``details``.
"""

import errno
from typing import Any, ClassVar


class EdgewiseError(Exception):
    """Root of the tree. Catch this to catch everything that edgewise raises on purpose.

    what: one sentence, with the values that matter.
    remedy: what to do about it; the class's own remedy where none is given.
    details: the facts behind the sentence, for programs; every value is JSON-serialisable.
    """

    code: ClassVar[str] = "E000"
    exit_code: ClassVar[int] = 1
    default_remedy: ClassVar[str] = "Report this as a bug, with the command that caused it."

    def __init__(self, what: str, *, remedy: str | None = None, **details: Any) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy or self.default_remedy
        self.details = details

    def __str__(self) -> str:
        return self.what


# ---------------------------------------------------------------------------- your input


class InputError(EdgewiseError):
    """Something you passed in is at fault; nothing was changed."""

    code = "E100"
    default_remedy = "Correct the value that is named and try again."


class DocumentError(InputError):
    """A JSON document does not have the form that its specification asks for.

    ``problems`` lists every fault at once, each as ``path: what is wrong``.
    """

    code = "E101"
    default_remedy = "Correct every listed field; spec/bundle.md and spec/schemas say what is expected."

    def __init__(self, kind: str, problems: list[str], *, remedy: str | None = None) -> None:
        shown = "; ".join(problems[:8]) + (f"; and {len(problems) - 8} more" if len(problems) > 8 else "")
        super().__init__(f"not a valid {kind}: {shown}", remedy=remedy, kind=kind, problems=problems)
        self.problems = problems


class NotFoundError(InputError):
    """A file, name or data set that you referred to does not exist here."""

    code = "E102"
    default_remedy = "Check the path."


class TensorError(InputError):
    """An input array does not fit the model's interface: name, dtype, shape or range."""

    code = "E103"
    default_remedy = "Convert the array to what the message expects; `edgewise inspect` prints the interface."


class ModelError(InputError):
    """A model file cannot be read, checked or run."""

    code = "E104"
    default_remedy = "Check the file with its own tools (onnx.checker, netron) and export it again."


class UnsupportedError(InputError):
    """The file is well-formed but uses something that edgewise or the runtime does not support."""

    code = "E105"
    default_remedy = "The message names the unsupported part; export the model without it."


class MismatchError(InputError):
    """Two things that must agree numerically do not. The numbers are in ``details``."""

    code = "E106"
    default_remedy = (
        "Do not ship this model. Compare preprocessing, opset and weights with the reference, or pass "
        "a wider --tolerance if the difference is understood."
    )


class DataError(InputError):
    """A data set or input file (npz, image, wav, csv) cannot be used."""

    code = "E107"
    default_remedy = "Check the file; the message says what is expected of it."


class MissingExtraError(InputError):
    """An optional dependency is needed for this and is not installed."""

    code = "E108"
    default_remedy = "Install the extra that the message names."


class KeyFileError(InputError):
    """A key or trust root file cannot be read, or would be overwritten."""

    code = "E109"
    default_remedy = "Make a new key with `edgewise key new`."


class TrainingDivergedError(InputError):
    """Training left the range of numbers: a loss or a gradient became NaN or infinite. The last good weights were put back."""

    code = "E110"
    default_remedy = "Lower the learning rate, clip the gradients (max_norm), or look for outliers in the data."


class CheckpointError(InputError):
    """A checkpoint cannot be continued: it is of another model, other settings or other data, or every copy is damaged."""

    code = "E111"
    default_remedy = "Train with what the checkpoint was made with, or choose an empty folder to start anew."


# ------------------------------------------------------------------------ the other side


class PeerError(EdgewiseError):
    """The other side answered, and the answer is at fault."""

    code = "E200"
    exit_code = 3
    default_remedy = "Try again later; if it persists, tell whoever runs the server."


class HttpStatusError(PeerError):
    """A server answered with a status that is not success."""

    code = "E201"
    default_remedy = "Check the URL, the name and your access to it."


class DownloadMismatchError(PeerError):
    """A server sent bytes that are not those that were asked for (digest or size differ). They were discarded."""

    code = "E202"
    default_remedy = "Try again; if it persists the file at its origin has changed or is being tampered with."


# -------------------------------------------------------------------------- the way there


class TransitError(EdgewiseError):
    """The way there is at fault: the network, the disk, a process that died."""

    code = "E300"
    exit_code = 3
    default_remedy = "Check the network and the disk, then try again; nothing was lost."


class NetworkError(TransitError):
    """No connection, a connection that broke off, or a time-out. What had arrived is kept for resuming."""

    code = "E301"
    default_remedy = "Check the network and try again; a partial download is resumed."


_FULL = "Free some space, or choose another place; what was there before is unchanged."
_CLOSED = "Choose a place that you may use, or change its permissions; what was there before is unchanged."
_OCCUPIED = (
    "Something else is in the way: a folder where a file belongs, or the reverse. Move it away or choose another path."
)
#: Error number of the operating system -> what to do about it.
_STORAGE_REMEDIES = {
    errno.ENOSPC: _FULL, errno.EDQUOT: _FULL,
    errno.EACCES: _CLOSED, errno.EPERM: _CLOSED, errno.EROFS: _CLOSED,
    errno.EISDIR: _OCCUPIED, errno.ENOTDIR: _OCCUPIED, errno.EEXIST: _OCCUPIED, errno.ENOTEMPTY: _OCCUPIED,
}  # fmt: skip


class StorageError(TransitError):
    """A file could not be written or read: disk full, no permission, something else in its place."""

    code = "E302"
    default_remedy = "Check the path and the disk that the message names; what was there before is unchanged."

    @classmethod
    def of(cls, action: str, path: object, error: OSError) -> "StorageError":
        """What to raise where the system would not ``action`` ("read", "write") ``path``; the remedy fits its reason."""
        remedy = _STORAGE_REMEDIES.get(error.errno or 0)
        return cls(f"could not {action} {path}: {error.strerror or error}", remedy=remedy, path=str(path))


class ProbeError(TransitError):
    """A measuring process ended without a result: killed, out of memory, or crashed in a runtime."""

    code = "E303"
    default_remedy = "Look at the exit status in the message; the variant is left out of the choice."


# --------------------------------------------------------------------- declined on purpose


class RefusedError(EdgewiseError):
    """edgewise declined on purpose."""

    code = "E400"
    exit_code = 4
    default_remedy = "Read the reason; nothing was run."


class HostileBundleError(RefusedError):
    """A bundle breaks a safety rule of the format. Nothing of it was used.

    ``rule`` is the stable name of the rule, as in spec/attacks.
    """

    code = "E401"
    default_remedy = "Get the bundle again from its publisher; do not use this copy."

    def __init__(self, rule: str, what: str, *, remedy: str | None = None, **details: Any) -> None:
        super().__init__(f"{what} [{rule}]", remedy=remedy, rule=rule, **details)
        self.rule = rule


class SignatureError(RefusedError):
    """No signature by a trusted key covers what was about to be used."""

    code = "E402"
    default_remedy = (
        "Add the publisher's public key to your trust root (`edgewise key trust FILE.pub`), or pass "
        "--trust root.json. To load it all the same: --unsafe-no-verification."
    )


class GoldenReplayError(RefusedError):
    """A variant does not give its recorded answers on this device."""

    code = "E403"
    default_remedy = "Choose another variant or provider; `edgewise doctor` shows what this device has."


class RequirementError(RefusedError):
    """No variant meets the requirements on this device. ``reasons`` says why, for each."""

    code = "E404"
    default_remedy = "Relax a requirement that the message names, or add a variant that meets it."


class IntegrityError(RefusedError):
    """A file that was verified before has changed on disk."""

    code = "E405"
    default_remedy = "Delete the file that is named; it is made again."


class MemoryBudgetError(RefusedError):
    """A training step would need more memory than it was allowed. Nothing was run."""

    code = "E406"
    default_remedy = "Use a smaller batch, or a step that was built with recomputation or with fewer trainable parts."


class CalibrationError(RefusedError):
    """There is no threshold that a variant may defer by: none of its own, none that is trusted, or one against another upstream."""

    code = "E407"
    default_remedy = "Run `edgewise calibrate` for this variant, against the upstream that it will ask."
