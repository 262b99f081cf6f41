"""The suite that every engine passes. A third party's engine runs it too:

    class TestMyEngine(EngineConformance):
        @pytest.fixture
        def engine(self) -> Engine:
            return MyEngine()

Each test goes through every format of the engine and, where that matters, every provider that it lists. The models and
their references are those of ``edgewise.testing.engine_models``.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edgewise.errors import ModelError, TensorError, UnsupportedError
from edgewise.runtime.engine import Array, Engine, EngineSession, OpenOptions
from edgewise.testing.engine_models import Example, Feeds, antialiased_resize, example, examples

__all__ = ["EngineConformance"]

_PLAIN = OpenOptions()


class EngineConformance:
    """Override the fixture ``engine``; pytest collects the rest."""

    @pytest.fixture
    def engine(self) -> Engine:
        raise NotImplementedError("give the engine to test: override the fixture `engine`")

    # ------------------------------------------------------------------------------------------------------- interface

    def test_says_who_it_is(self, engine: Engine) -> None:
        """Name, version, formats and providers are there, and no provider is a remote service by name."""
        names = [provider.name for provider in engine.providers()]
        assert engine.name
        assert engine.version()
        assert engine.formats
        assert names
        assert len(set(names)) == len(names)
        assert not [name for name in names if "azure" in name.lower()]

    def test_reports_the_interface(self, engine: Engine) -> None:
        """Names, dtypes, shapes and the order of inputs and outputs are the model's; what varies is a name or -1."""
        for case in _cases(engine):
            with _open(engine, case) as session:
                for infos, wanted in ((session.inputs, case.inputs), (session.outputs, case.outputs)):
                    found = {info.name: (info.dtype, _numbers(info.shape)) for info in infos}
                    assert found == dict(wanted), case.name
                    assert [info.name for info in infos] == list(wanted), case.name

    # --------------------------------------------------------------------------------------------------------- answers

    def test_answers_are_right(self, engine: Engine) -> None:
        """Equal to NumPy's, in dtype, shape and value, for batches that grow, shrink and come back."""
        for case in _cases(engine):
            with _open(engine, case) as session:
                for seed, batch in enumerate((1, 3, 1, 7, 2, 2, 1)):
                    _check(case, session, case.feeds(batch, seed))

    def test_every_provider_runs(self, engine: Engine) -> None:
        """What is listed can be opened, and answers right."""
        for provider in engine.providers():
            for model_format in engine.formats:
                case = example(model_format, "affine")
                with _open(engine, case, OpenOptions(provider=provider.name)) as session:
                    _check(case, session, case.feeds(2))

    def test_threads_do_not_change_answers(self, engine: Engine) -> None:
        for case in _cases(engine):
            with _open(engine, case, OpenOptions(threads=2)) as session:
                _check(case, session, case.feeds(3))

    def test_results_belong_to_the_caller(self, engine: Engine) -> None:
        """The next call does not change an earlier answer, nor does writing to an answer change the next."""
        for case in _cases(engine):
            with _open(engine, case) as session:
                kept = [(case.feeds(2, seed), session.run(case.feeds(2, seed))) for seed in range(4)]
                for feeds, results in kept:
                    _compare(case, results, case.expected(feeds))
                for _, results in kept:
                    for array in results.values():
                        array[...] = np.zeros((), array.dtype)
                _check(case, session, case.feeds(2, 9))

    def test_inputs_are_not_modified(self, engine: Engine) -> None:
        for case in _cases(engine):
            with _open(engine, case) as session:
                for _ in range(3):
                    feeds = case.feeds(2)
                    session.run(feeds)
                    assert all(np.array_equal(array, case.feeds(2)[name]) for name, array in feeds.items()), case.name

    def test_memory_layout_does_not_matter(self, engine: Engine) -> None:
        """Arrays that are strided, in Fortran's order, read-only or not aligned give the answers of a plain array."""
        for case in _cases(engine):
            with _open(engine, case) as session:
                layouts: tuple[Callable[[Array], Array], ...] = (_strided, _fortran, _read_only, _unaligned)
                for layout in layouts:
                    for seed in range(3):
                        feeds = {name: layout(array) for name, array in case.feeds(4, seed).items()}
                        _check(case, session, feeds)

    def test_many_callers_at_once(self, engine: Engine) -> None:
        """Eight threads, each with its own inputs and batch sizes, get their own answers."""
        for case in _cases(engine):
            with _open(engine, case) as session:

                def call(seed: int, case: Example = case, session: EngineSession = session) -> None:
                    for batch in (1, 2, 1, 3):
                        _check(case, session, case.feeds(batch, seed * 10 + batch))

                with ThreadPoolExecutor(8) as pool:
                    list(pool.map(call, range(24)))

    def test_resizing_is_antialiased_or_refused(self, engine: Engine) -> None:
        """Right, or UnsupportedError when it is opened: never another picture than the model was trained on."""
        case = antialiased_resize()
        if case.format not in engine.formats:
            return
        try:
            session = engine.open(case.files, _PLAIN)
        except UnsupportedError:
            return
        _check(case, session, case.feeds(2))
        session.close()

    # ---------------------------------------------------------------------------------------------------------- faults

    def test_inputs_that_do_not_fit(self, engine: Engine) -> None:
        """TensorError or ModelError, never a wrong answer, and the next call is right. Before and after a right call."""
        for model_format in engine.formats:
            case = example(model_format, "affine")
            (name,) = case.inputs
            good = case.feeds(2)[name]
            with _open(engine, case) as session:
                for feeds in _misfits(name, good) * 2:
                    with pytest.raises((TensorError, ModelError)):
                        session.run(feeds)
                    _check(case, session, case.feeds(2))

    def test_inputs_that_do_not_fit_each_other(self, engine: Engine, tmp_path: Path) -> None:
        """Each has a shape that the interface allows, but not together: the next call is right all the same."""
        for model_format in engine.formats:
            case = example(model_format, "types")
            for options in (_PLAIN, OpenOptions(threads=2), _cached(tmp_path, case), _cached(tmp_path, case)):
                with _open(engine, case, options) as session:
                    for _ in range(2):
                        with pytest.raises((TensorError, ModelError)):
                            session.run(case.feeds(3) | {"j": case.feeds(2)["j"]})
                        _check(case, session, case.feeds(3))

    def test_an_empty_batch(self, engine: Engine) -> None:
        """Either an empty answer or TensorError or ModelError."""
        for case in _cases(engine):
            with _open(engine, case) as session:
                try:
                    results = session.run(case.feeds(0))
                except (TensorError, ModelError):
                    results = {}
                assert all(array.shape[:1] in ((0,), ()) for array in results.values()), case.name
                _check(case, session, case.feeds(2))

    def test_what_is_no_model(self, engine: Engine) -> None:
        """Garbage, nothing at all, and a model that breaks off anywhere: ModelError."""
        for model_format in engine.formats:
            path, data = next(iter(example(model_format, "affine").files.items()))
            for broken in (b"", b"\0", b"garbage" * 50, *(data[: len(data) * part // 8] for part in range(1, 8))):
                with pytest.raises(ModelError):
                    engine.open({path: broken}, _PLAIN).close()

    def test_unknown_provider(self, engine: Engine) -> None:
        """UnsupportedError that names those there are."""
        for model_format in engine.formats:
            with pytest.raises(UnsupportedError) as caught:
                engine.open(example(model_format, "affine").files, OpenOptions(provider="NoSuchProvider"))
            assert all(provider.name in str(caught.value) for provider in engine.providers())

    def test_closed(self, engine: Engine) -> None:
        """A closed session refuses to run, and can be closed again; another session of the same model goes on."""
        for case in _cases(engine):
            other = engine.open(case.files, _PLAIN)
            session = engine.open(case.files, _PLAIN)
            for _ in range(3):
                session.run(case.feeds())
            session.close()
            with pytest.raises(ModelError):
                session.run(case.feeds())
            session.close()
            _check(case, other, case.feeds())
            other.close()

    # ------------------------------------------------------------------------------------------------------- placement

    def test_placement(self, engine: Engine) -> None:
        """Every node that runs is on a provider that is listed, with its operator; no node is missing or there twice."""
        for provider in engine.providers():
            for case in _cases(engine):
                options = OpenOptions(provider=provider.name, record_placement=True)
                with _open(engine, case, options) as session:
                    placement = session.placement()
                    known = {found.name for found in engine.providers()}
                    assert placement.nodes, case.name
                    assert set(placement.counts()) <= known
                    assert all(node.operator for node in placement.nodes)
                    assert len(set(placement.nodes)) == len(placement.nodes)
                    _check(case, session, case.feeds())

    def test_placement_has_to_be_asked_for(self, engine: Engine) -> None:
        for model_format in engine.formats:
            with (
                _open(engine, example(model_format, "affine")) as session,
                pytest.raises(UnsupportedError, match="recording"),
            ):
                session.placement()

    # ----------------------------------------------------------------------------------------------------------- cache

    def test_a_cache_changes_nothing_but_time(self, engine: Engine, tmp_path: Path) -> None:
        """The first, the second and the third opening with a cache folder answer alike."""
        for case in _cases(engine):
            for _ in range(3):
                with _open(engine, case, _cached(tmp_path, case)) as session:
                    _check(case, session, case.feeds(2))
                    _check(case, session, case.feeds(3))

    def test_a_damaged_cache_is_made_again(self, engine: Engine, tmp_path: Path) -> None:
        """Whatever is in the cache's files, answers are right: emptied, cut off, overwritten, one bit flipped."""
        for case in _cases(engine):
            damages: list[Callable[[bytes], bytes]] = [_empty, _cut, _overwritten, *map(_flipped, range(1, 8))]
            for number, damage in enumerate(damages):
                options = _cached(tmp_path / str(number), case)
                for _ in range(2):
                    with _open(engine, case, options):
                        pass
                assert options.cache is not None
                for path in [path for path in options.cache.rglob("*") if path.is_file()]:
                    path.write_bytes(damage(path.read_bytes()))
                for _ in range(2):
                    with _open(engine, case, options) as session:
                        _check(case, session, case.feeds(2))


# ------------------------------------------------------------------------------------------------------------- helpers


def _cases(engine: Engine) -> list[Example]:
    cases = [case for model_format in engine.formats for case in examples(model_format)]
    assert cases, f"the suite has no models in {engine.formats}"
    return cases


@contextmanager
def _open(engine: Engine, case: Example, options: OpenOptions = _PLAIN) -> Iterator[EngineSession]:
    session = engine.open(case.files, options)
    try:
        yield session
    finally:
        session.close()


def _cached(folder: Path, case: Example) -> OpenOptions:
    return OpenOptions(cache=folder / case.format / case.name)


def _check(case: Example, session: EngineSession, feeds: Feeds) -> None:
    _compare(case, session.run(feeds), case.expected(feeds))


def _compare(case: Example, results: Feeds, expected: Feeds) -> None:
    assert results.keys() == expected.keys(), case.name
    for name, wanted in expected.items():
        got = results[name]
        assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape), (case.name, name)
        difference = np.abs(got.astype(np.float64) - wanted.astype(np.float64))
        assert difference.max(initial=0) <= case.tolerance, (case.format, case.name, name, got, wanted)


def _numbers(shape: tuple[int | str, ...]) -> tuple[int, ...]:
    return tuple(dim if isinstance(dim, int) else -1 for dim in shape)


def _misfits(name: str, good: Array) -> list[Feeds]:
    swapped = good.dtype.newbyteorder()
    return [
        {},
        {"no such input": good},
        {name: good, "no such input": good},
        {name: good[:, :-1]},
        {name: np.concatenate([good, good], 1)},
        {name: good[0]},
        {name: good[None]},
        {name: np.zeros((), good.dtype)},
        {name: good.astype(np.float64)},
        {name: good.astype(np.int32)},
        {name: good.astype(swapped)},
        {name: good.astype(str)},
        {name: good.astype(object)},
    ]


def _strided(array: Array) -> Array:
    if array.ndim == 0:
        return array
    wide = np.zeros((array.shape[0] * 2, *array.shape[1:]), array.dtype)
    wide[::2] = array[::-1]
    return wide[::2][::-1]


def _fortran(array: Array) -> Array:
    return np.array(array, order="F")  # asfortranarray would give a scalar an axis


def _read_only(array: Array) -> Array:
    array = array.copy()
    array.flags.writeable = False
    return array


def _unaligned(array: Array) -> Array:
    data = np.frombuffer(b"\0" + array.tobytes(), np.uint8)
    return np.ndarray(array.shape, array.dtype, data.data, 1)


def _empty(_: bytes) -> bytes:
    return b""


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _overwritten(data: bytes) -> bytes:
    return bytes(len(data))


def _flipped(part: int) -> Callable[[bytes], bytes]:
    def flip(data: bytes) -> bytes:
        changed = bytearray(data)
        if changed:
            changed[len(changed) * part // 8] ^= 0x10
        return bytes(changed)

    return flip
