"""`edgewise calibrate --upstream URL`: samples leave the machine, and the user was told so before the first of them."""

import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from ipaddress import ip_address
from math import prod

import numpy as np

from edgewise.bundle.document import Document
from edgewise.clock import Clock, SystemClock
from edgewise.compose.calibrating_data import Samples
from edgewise.compose.upstream_answers import KeptAnswers, sample_keys
from edgewise.compose.upstreams import open_upstream
from edgewise.errors import HttpStatusError, InputError, NetworkError, PeerError, TransitError
from edgewise.net.cancel import Cancel
from edgewise.net.patience import DELAYS, pause
from edgewise.routing.calibration import Against
from edgewise.routing.upstream import Question, Reply, Upstream
from edgewise.runtime.engine import Array
from edgewise.runtime.session import Session
from edgewise.store.home import Home

__all__ = ["ByUrl", "ask_all", "ask_url"]

_TIMED = 15  # samples that are asked for one by one, for how long one question takes
_AT_ONCE = 64  # samples in one question after that
_NUMBERS = 1 << 19  # in one question: about 10 MB of JSON
_PATIENCE, _EACH = (
    60.0,
    5.0,
)  # seconds for one question, and more for each sample in it: a language model takes its time


@dataclass(frozen=True, slots=True)
class ByUrl:
    """As ``calibrating_upstream.Upstreamed``."""

    answers: Array
    against: Against
    told: str
    seconds: float | None


def ask_url(
    options: Namespace, document: Document, decision: str, samples: Samples, home: Home, note: Callable[[str], None],
    progress: Callable[[str, int, int], None], check: Callable[[str, tuple[str, ...]], None],
) -> ByUrl:  # fmt: skip
    """The answers of the model at ``--upstream``, in the order of the samples; those of the last day are not asked for again.

    check: given upstream's name and labels before a sample leaves. Raises what asking raises, with how to go on.
    """
    upstream = open_upstream(options.upstream, document, _no_bundle, unsafe_plain_http=options.unsafe_plain_http)
    clock = SystemClock()
    try:
        described = upstream.describe(clock.seconds() + _PATIENCE, Cancel())
        check(f"the model at {upstream.name}", described.labels)
        keys = sample_keys(samples.inputs)
        identity = sha256(repr((upstream.name, described.name, described.version, decision)).encode()).hexdigest()
        kept = KeptAnswers(home.cache / "upstream" / identity[:32])
        lacking, seconds = kept.lacking(keys), None
        if lacking:
            size = sum(array[:1].nbytes for array in samples.inputs.values()) * len(lacking)
            where = f"go to {upstream.name} on" if _is_here(options.upstream) else f"leave for {upstream.name} from"
            note(
                f"{len(lacking)} samples of {samples.name} ({size} bytes) {where} this machine, because --upstream names it"
            )
            seconds = _asked(upstream, samples.inputs, keys, lacking, kept, decision, progress, clock)
            kept.note_seconds(seconds)
        if len(lacking) < len(set(keys)):
            note(f"{len(set(keys)) - len(lacking)} answers are kept from the last 24 hours in {kept.folder}")
        answers = kept.stacked(keys)[decision]
        seconds = kept.seconds() if seconds is None else seconds
    finally:
        upstream.close()
    told = f"{described.name or 'the model'}{f' {described.version}' if described.version else ''} at {upstream.name}"
    return ByUrl(answers, Against(described.name or upstream.name, described.version, described.labels), told, seconds)


def _asked(
    upstream: Upstream, inputs: Mapping[str, Array], keys: Sequence[bytes], lacking: Sequence[int], kept: KeptAnswers,
    decision: str, progress: Callable[[str, int, int], None], clock: Clock,
) -> float:  # fmt: skip
    """Ask and keep; the p50 of those that were asked one by one, in seconds."""
    try:
        return ask_all(
            upstream, inputs, keys, lacking, kept, decision, partial(progress, f"ask {upstream.name}"), clock
        )
    except (TransitError, HttpStatusError) as error:
        going_on = f"{error.remedy} The same command goes on where it was cut: what was answered is kept for a day."
        raise type(error)(error.what, remedy=going_on, **error.details) from error


def ask_all(
    upstream: Upstream, inputs: Mapping[str, Array], keys: Sequence[bytes], lacking: Sequence[int], kept: KeptAnswers,
    decision: str, progress: Callable[[int, int], None], clock: Clock, sleep: Callable[[float], object] = time.sleep,
) -> float:  # fmt: skip
    """Ask ``upstream`` about the samples at ``lacking`` and keep every answer at once; the median time of one question, seconds.

    The first few are asked one by one, as a device would. A question that finds nobody is asked again, five times in all.
    """
    at_once = max(1, min(_AT_ONCE, _NUMBERS // max(1, sum(prod(array.shape[1:]) for array in inputs.values()))))
    cuts = [[at] for at in lacking[:_TIMED]]
    cuts += [list(lacking[at : at + at_once]) for at in range(_TIMED, len(lacking), at_once)]
    taken: list[float] = []
    done = 0
    for rows in cuts:
        asked = {name: np.ascontiguousarray(array[rows]) for name, array in inputs.items()}
        start = clock.seconds()
        reply = _patiently(upstream, asked, decision, clock, sleep)
        if len(rows) == 1:
            taken.append(clock.seconds() - start)
        if unsure := [answered.why for answered in reply.by if answered.degraded]:
            raise PeerError(
                f"upstream itself could not ask on for {len(unsure)} samples: {unsure[0]}",
                remedy="A promise against such answers would be about another upstream: try again when all of it is there.",
            )
        kept.add([keys[at] for at in rows], {decision: reply.outputs[decision]})
        done += len(rows)
        progress(done, len(lacking))
    return float(np.median(taken))


def _patiently(
    upstream: Upstream, asked: Mapping[str, Array], decision: str, clock: Clock, sleep: Callable[[float], object]
) -> Reply:
    patience = _PATIENCE + _EACH * len(next(iter(asked.values())))
    for delay in (*DELAYS, None):
        try:
            return upstream.ask(Question(asked, clock.seconds() + patience, decision), Cancel())
        except (NetworkError, HttpStatusError) as error:
            seconds = pause(error, delay)
            if seconds is None:
                raise
            sleep(seconds)
    raise AssertionError("the last attempt raises")


def _no_bundle(ref: str) -> Session:
    raise InputError(f"{ref} is no address")


def _is_here(url: str) -> bool:
    place = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    host = place[1:].partition("]")[0] if place.startswith("[") else place.partition(":")[0]
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
