"""A model that answers: one opened variant behind the interface that its bundle declares."""

from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgewise.bundle.document import Document, Variant
from edgewise.errors import ModelError, TensorError, UnsupportedError
from edgewise.records import dataclass
from edgewise.runtime.answer import Answer
from edgewise.runtime.engine import Array, EngineSession, Placement
from edgewise.runtime.inputs import checks_for

if TYPE_CHECKING:
    from edgewise.training.personal.learner import PersonalTrainer

__all__ = ["Origin", "Session", "Stream", "Teach"]


@dataclass(frozen=True, slots=True)
class Origin:
    """What the answers of one session have in common. ``reason`` says why this variant and provider were chosen.

    decision: the output that decides. batched: its first axis is the batch. scale: what a quantized output stands for,
    real = scale[0] * (value - scale[1]). also: outputs in the answers that are not of the interface.
    """

    variant: str
    engine: str
    provider: str
    decision: str
    task: str
    labels: tuple[str, ...] = ()
    batched: bool = True
    scale: tuple[float, int] = (1.0, 0)
    tier: str = "device"
    reason: str = ""
    also: tuple[str, ...] = ()


class Teach(Protocol):
    """Makes the trainer of a variant. Handed in from above: answering does not know how learning is done."""

    def __call__(
        self, variant: str, *, budget: int | None, threads: int | None, frugal: bool | None
    ) -> "PersonalTrainer": ...


class Session:
    """One variant, opened. Made by ``edgewise.load``; safe to call from several threads."""

    def __init__(
        self,
        document: Document,
        variant: Variant,
        opened: EngineSession,
        origin: Origin,
        teach: Teach | None = None,
        also: tuple[str, ...] = (),
    ) -> None:
        """also: outputs of the variant's file beyond the interface that its answers hold too, under the file's own names."""
        self.document = document
        self.variant = variant
        self.origin = replace(origin, also=also) if also else origin
        self._teach = teach
        self._run = opened.run
        self._opened = opened
        stateful = {state.input for state in document.states}
        self._inputs = tuple(spec for spec in document.inputs if spec.name not in stateful)
        self._checks = checks_for(self._inputs)
        self._only = next(iter(self._checks.items())) if len(self._checks) == 1 and not stateful else None
        self._into = {spec.name: variant.inputs.get(spec.name, spec.name) for spec in document.inputs}
        self._from = {spec.name: variant.outputs.get(spec.name, spec.name) for spec in document.outputs}
        self._check_interface(opened, also)
        self._from |= {name: name for name in also}
        # What the file gives beyond that is nobody's: such answers are renamed too, which leaves it out.
        self._same_names = all(name == inner for name, inner in self._from.items()) and len(self._from) == len(
            opened.outputs
        )

    def predict(self, inputs: Any = None, /, **named: Any) -> Answer:
        """Answer one example or a batch.

        inputs: the array for a model with one input; or a mapping from input names to arrays (or pass them by keyword).
        An example without the batch axis gets one, which all inputs then have to lack. Raises TensorError, with what was
        expected and what came, for anything that does not fit the interface.
        """
        only = self._only
        if only is not None and type(inputs) is np.ndarray and not named:
            array, single = only[1](inputs)
            outputs = self._run({self._into[only[0]]: array})
            return Answer(outputs if self._same_names else self._renamed(outputs), self.origin, single)
        feeds, single = self._checked(inputs, named)
        return Answer(self._renamed(self._run(feeds | self._zero_states())), self.origin, single)

    def read(self, inputs: Any = None, /, **named: Any) -> dict[str, Array]:
        """The inputs as ``predict`` would take them: checked, by the interface's name, with the batch axis. Nothing is run."""
        feeds, _ = self._checked(inputs, named)
        return {name: feeds[inner] for name, inner in self._into.items() if inner in feeds}

    def stream(self) -> "Stream":
        """A conversation with a stateful model: each call sees the state that the one before left."""
        return Stream(self)

    def trainer(
        self, *, budget: int | None = None, threads: int | None = None, frugal: bool | None = None
    ) -> "PersonalTrainer":
        """Learn on this device: a trainer that starts from the weights that answer here. This session stays as it is.

        budget: bytes that learning may add to this process; what does not fit is refused beforehand, with what would fit.
        threads: None for as many as there are cores. frugal: give memory back as soon as it is free, at the price of time;
        None for where there is a budget. The trainer is of this session's variant, or else of the one in the bundle that
        came with a training step; both answer the same inputs.
        Raises UnsupportedError where the bundle has no training step, MemoryBudgetError.
        """
        if self._teach is None:
            raise UnsupportedError(
                "this session cannot learn: it was not opened by edgewise.load",
                remedy="Open the bundle with edgewise.load, and take the trainer of that session.",
            )
        return self._teach(self.variant.name, budget=budget, threads=threads, frugal=frugal)

    def placement(self) -> Placement:
        """Which graph node runs on which provider. Recorded where a provider is required: ``require={"provider": ...}``."""
        return self._opened.placement()

    def close(self) -> None:
        """Release the engine's memory."""
        self._opened.close()

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        origin = self.origin
        return f"Session({self.document.name}:{self.document.version}, {origin.variant} on {origin.engine}/{origin.provider})"

    def _checked(self, given: Any, named: Mapping[str, Any]) -> tuple[dict[str, Array], bool]:
        if given is not None and named:
            raise TensorError(
                f"inputs came both by position and by name ({', '.join(named)})", remedy="Pass all of them by name."
            )
        given = named if given is None else given
        if not isinstance(given, Mapping):
            if len(self._checks) != 1:
                raise TensorError(
                    f"this model has {len(self._checks)} inputs: pass them by name ({', '.join(self._checks)})"
                )
            given = {next(iter(self._checks)): given}
        missing = [str(spec) for spec in self._inputs if spec.name not in given]
        unknown = [name for name in given if name not in self._checks]
        if missing or unknown:
            faults = [f"missing {'; '.join(missing)}"] if missing else []
            faults += [f"unknown {', '.join(map(str, unknown))}"] if unknown else []
            raise TensorError(f"inputs do not fit: {' and '.join(faults)}", missing=missing, unknown=unknown)
        feeds, singles = {}, {}
        for name, check in self._checks.items():
            feeds[self._into[name]], singles[name] = check(given[name])
        if len(set(singles.values())) > 1 and any(
            len(feeds[self._into[name]]) != 1 for name, single in singles.items() if not single
        ):
            alone = [name for name, single in singles.items() if single]
            raise TensorError(
                f"{', '.join(alone)} came as one example, {', '.join(n for n in singles if n not in alone)} as a batch",
                remedy="Give every input the batch axis, or none.",
            )
        return feeds, any(singles.values())

    def _renamed(self, outputs: dict[str, Array]) -> dict[str, Array]:
        return {name: outputs[inner] for name, inner in self._from.items()}

    def _zero_states(self) -> dict[str, Array]:
        specs = {spec.name: spec for spec in self.document.inputs}
        return {
            self._into[state.input]: np.zeros(
                [dim if isinstance(dim, int) else 1 for dim in specs[state.input].shape], specs[state.input].dtype
            )
            for state in self.document.states
        }

    def _check_interface(self, opened: EngineSession, also: tuple[str, ...]) -> None:
        """The bundle's word about the model against what the engine sees, once, before the first answer."""
        inputs = {info.name: info for info in opened.inputs}
        outputs = {info.name for info in opened.outputs}
        problems = [f"no input {inner!r}" for inner in self._into.values() if inner not in inputs]
        problems += [f"no output {inner!r}" for inner in (*self._from.values(), *also) if inner not in outputs]
        problems += [f"an output {name!r} that the interface calls so as well" for name in also if name in self._from]
        problems += [
            f"an input {name!r} that the interface lacks" for name in inputs if name not in self._into.values()
        ]
        for spec in self.document.inputs:
            info = inputs.get(self._into[spec.name])
            if info is not None and info.dtype != spec.dtype:
                problems.append(f"input {info.name!r} of dtype {info.dtype}, not {spec.dtype}")
            if info is not None and len(info.shape) != len(spec.shape):
                problems.append(f"input {info.name!r} of shape {info.shape}, not {spec.shape}")
        if problems:
            raise ModelError(
                f"the variant {self.variant.name} does not fit the bundle's interface: it has {'; '.join(problems)}",
                remedy="Pack the model again; `edgewise pack` reads the interface from the model.",
            )


class Stream:
    """The state of one conversation with a stateful model. Not for use from several threads at once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._states: dict[str, Array] = {}
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next call is a first call."""
        self._states = self._session._zero_states()  # noqa: SLF001  (the two classes are one unit)

    def predict(self, inputs: Any = None, /, **named: Any) -> Answer:
        """Like ``Session.predict``, continuing from the last call."""
        session = self._session
        feeds, single = session._checked(inputs, named)  # noqa: SLF001
        outputs = session._renamed(session._run(feeds | self._states))  # noqa: SLF001
        for state in session.document.states:
            self._states[session._into[state.input]] = outputs[state.output]  # noqa: SLF001
        return Answer(outputs, session.origin, single)
