"""A candidate: a model, and the passes that it goes through one after another."""

from dataclasses import dataclass

from edgewise.bundle.strict_json import dump_json
from edgewise.compress.passes import Pass
from edgewise.digests import digest_of

__all__ = ["Candidate"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """origin: digest of all that is the same for every candidate: the model, the data, the seed. passes: in order; none for the
    model as it came. samples: how many of the samples the passes may look at.
    """

    origin: str
    passes: tuple[Pass, ...] = ()
    samples: int = 0

    @property
    def digest(self) -> str:
        """Equal for candidates that come to the same: it follows from the origin and from what the passes call themselves."""
        if not self.passes:
            return self.origin
        return digest_of(dump_json({
            "origin": self.origin, "passes": [each.name for each in self.passes], "samples": self.samples,
        }))  # fmt: skip

    @property
    def before(self) -> "Candidate":
        """The same without its last pass: what that is applied to. Chains that begin alike share it."""
        return Candidate(self.origin, self.passes[:-1], self.samples)

    def beginnings(self) -> tuple["Candidate", ...]:
        """Every beginning with a pass, the shortest first; the candidate itself is the last."""
        return tuple(Candidate(self.origin, self.passes[:at], self.samples) for at in range(1, len(self.passes) + 1))

    def describe(self) -> tuple[str, ...]:
        """What was done, a sentence for each pass."""
        return tuple(each.describe() for each in self.passes)
