"""Several requests at once: in order, bounded, ended together."""

import threading
from threading import Barrier, Event, Thread

import pytest

from edgewise.errors import NetworkError, PeerError
from edgewise.net.cancel import Cancel
from edgewise.routing.upstreams.in_flight import ask_each

LONG = 20.0  # seconds; nothing here waits for it unless it is broken


def test_answers_come_in_the_order_of_the_rows() -> None:
    ended = [Event() for _ in range(6)]

    def ask(row: int, _: Cancel) -> int:
        if row < 5 and row % 2 == 0:
            assert ended[row + 1].wait(LONG)  # the later one ends first
        ended[row].set()
        return row * row

    assert ask_each(ask, 6, 3, Cancel()) == [0, 1, 4, 9, 16, 25]


def test_so_many_are_on_their_way_and_no_more() -> None:
    lock, running, most = threading.Lock(), set[int](), list[int]()
    together = Barrier(3)

    def ask(row: int, _: Cancel) -> int:
        with lock:
            running.add(row)
            most.append(len(running))
        together.wait(LONG)  # passes only where three are here
        with lock:
            running.discard(row)
        return threading.get_ident()

    threads = ask_each(ask, 9, 3, Cancel())
    assert max(most) == 3
    assert len(set(threads)) == 3
    assert threading.get_ident() in threads


def test_one_row_needs_no_thread() -> None:
    assert ask_each(lambda row, cancel: threading.get_ident(), 1, 8, Cancel()) == [threading.get_ident()]
    assert ask_each(lambda row, cancel: threading.get_ident(), 3, 1, Cancel()) == [threading.get_ident()] * 3
    assert ask_each(lambda row, cancel: row, 0, 4, Cancel()) == []


@pytest.mark.parametrize("bad", range(4))
def test_the_first_fault_ends_the_others_and_is_the_one_that_is_raised(bad: int) -> None:
    begun, threads = list[int](), threading.active_count()
    all_begun = Barrier(4)

    def ask(row: int, cancel: Cancel) -> int:
        begun.append(row)
        all_begun.wait(LONG)
        if row == bad:
            raise PeerError("this one")
        given_up = Event()
        cancel.on_set(given_up.set)
        assert given_up.wait(LONG)
        raise NetworkError("given up")

    with pytest.raises(PeerError, match="this one"):
        ask_each(ask, 100, 4, Cancel())
    assert len(begun) == 4  # no further one was begun
    assert threading.active_count() == threads


def test_who_gives_up_ends_all_of_them() -> None:
    threads, cancel, all_begun = threading.active_count(), Cancel(), Barrier(4)

    def ask(row: int, ours: Cancel) -> int:
        given_up = Event()
        ours.on_set(given_up.set)
        all_begun.wait(LONG)
        assert given_up.wait(LONG)
        raise NetworkError("given up")

    def give_up() -> None:
        all_begun.wait(LONG)
        cancel.set()

    other = Thread(target=give_up)
    other.start()
    with pytest.raises(NetworkError):
        ask_each(ask, 100, 3, cancel)
    other.join()
    assert threading.active_count() == threads


def test_what_was_given_up_before_is_not_begun() -> None:
    cancel, begun = Cancel(), list[int]()
    cancel.set()
    with pytest.raises(NetworkError, match="given up"):
        ask_each(lambda row, _: begun.append(row), 3, 2, cancel)
    assert not begun


def test_nothing_is_left_with_the_cancel_of_a_call_that_ended() -> None:
    cancel = Cancel()
    ask_each(lambda row, _: row, 5, 3, cancel)
    assert not cancel._callbacks


def test_an_interrupt_reaches_whoever_asked() -> None:
    threads = threading.active_count()

    def ask(row: int, _: Cancel) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask_each(ask, 5, 3, Cancel())
    assert threading.active_count() == threads
