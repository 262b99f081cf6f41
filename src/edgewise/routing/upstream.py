"""Who is asked where the device is unsure: the one seam that every upstream has, whatever it speaks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from edgewise.net.cancel import Cancel
from edgewise.runtime.engine import Array
from edgewise.runtime.route import Answered

__all__ = ["Answered", "Described", "Question", "Reply", "Trail", "Upstream"]

#: Further nodes that a question may reach, where nobody says otherwise: device, gateway, PoP, cloud, and one to spare.
HOPS = 4


@dataclass(frozen=True, slots=True)
class Trail:
    """nodes: ids of those that a question has passed, the first asked first. hops: how many further ones it may reach."""

    nodes: tuple[str, ...] = ()
    hops: int = HOPS

    def after(self, node: str) -> "Trail":
        """The trail of what ``node`` asks on."""
        return Trail((*self.nodes, node), self.hops - 1)


@dataclass(frozen=True, slots=True)
class Question:
    """inputs: by the interface's name, (n, ...) each. until: when the answer has to be there, by the monotonic clock of this
    process (``Clock.seconds``). decision: the interface's name of the output that decides. alone: the model has no batch axis, and
    this is one sample; the reply has the axis all the same.
    """

    inputs: Mapping[str, Array]
    until: float
    decision: str
    trail: Trail = Trail()
    alone: bool = False

    @property
    def rows(self) -> int:
        return 1 if self.alone else len(next(iter(self.inputs.values())))


@dataclass(frozen=True, slots=True)
class Reply:
    """outputs: by the interface's name, rows in the order of the question; the deciding one at least. by: one for each row; the
    outputs of a row that is not ``answered`` mean nothing. spent: (tier, seconds) as the other side says, the nearest first.
    """

    outputs: Mapping[str, Array]
    by: tuple[Answered, ...]
    spent: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Described:
    """What an upstream says of itself; empty where it does not say. labels: names of the classes in the order of its scores.
    node: the id by which it is told apart in trails. cuts: names of the tensors that it can go on from (split inference).
    """

    name: str = ""
    version: str = ""
    tier: str = "cloud"
    node: str = ""
    labels: tuple[str, ...] = ()
    cuts: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)


class Upstream(Protocol):
    """Thread-safe. ``name`` is shown to people and kept in records: an address without secrets, or the name of a function.

    ``describe`` and ``ask`` end by their time: they raise NetworkError where nothing (or too little) came until then, PeerError
    (HttpStatusError for a status) where what came is wrong, RefusedError where it may not be asked. ``cancel`` set from another
    thread ends them at once with NetworkError, and leaves neither a socket nor a thread behind. What comes back is outside
    input: its size, types, shapes and finiteness are checked before it is a Reply.
    """

    @property
    def name(self) -> str: ...

    @property
    def leaves(self) -> bool:
        """Whether asking sends anything out of this process."""
        ...

    def describe(self, until: float, cancel: Cancel, /) -> Described: ...

    def ask(self, question: Question, cancel: Cancel, /) -> Reply: ...

    def close(self) -> None: ...
