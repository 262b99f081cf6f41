"""Threads that ask upstream: so many and no more, ended when they are told to, and whoever waits can leave."""

import threading
import time

import pytest

from edgewise.clock import SystemClock
from edgewise.errors import NetworkError, PeerError
from edgewise.net.cancel import Cancel
from edgewise.routing.couriers import Couriers, Errand


def test_results_and_errors_come_back_and_what_is_no_error_of_ours_becomes_one() -> None:
    couriers = Couriers(SystemClock())
    good, bad, strange = Errand(lambda cancel: 7), Errand(_raise(PeerError("no"))), Errand(_raise(ValueError("secret")))
    for errand in (good, bad, strange):
        assert couriers.send(errand)
    assert good.wait(5) == 7
    with pytest.raises(PeerError, match="no"):
        bad.wait(5)
    with pytest.raises(PeerError, match="ValueError") as raised:
        strange.wait(5)
    assert "secret" not in str(raised.value)
    couriers.close()


def test_no_more_threads_than_that_and_the_rest_waits_its_turn() -> None:
    couriers, running, most, release = Couriers(SystemClock(), most=3), [0], [0], threading.Event()
    lock = threading.Lock()

    def work(_cancel: Cancel) -> int:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        release.wait(5)
        with lock:
            running[0] -= 1
        return 1

    errands = [Errand(work) for _ in range(9)]
    assert all(couriers.send(errand) for errand in errands)
    time.sleep(0.1)
    release.set()
    assert [errand.wait(5) for errand in errands] == [1] * 9
    assert most[0] == 3
    couriers.close()


def test_who_waits_no_longer_tells_the_one_who_works() -> None:
    couriers, told = Couriers(SystemClock()), threading.Event()

    def work(cancel: Cancel) -> int:
        cancel.on_set(told.set)
        told.wait(5)
        return 1

    errand = Errand(work)
    couriers.send(errand)
    with pytest.raises(NetworkError, match="in time"):
        errand.wait(0.05)
    assert errand.late
    assert told.wait(5)
    couriers.close()


def test_what_was_given_up_before_its_turn_is_never_carried() -> None:
    couriers, release, carried = Couriers(SystemClock(), most=1), threading.Event(), []
    first, second = Errand(lambda cancel: release.wait(5)), Errand(lambda cancel: carried.append(1) or 1)
    couriers.send(first)
    couriers.send(second)
    second.give_up()
    with pytest.raises(NetworkError, match="given up"):
        second.wait(5)
    assert not second.late
    release.set()
    first.wait(5)
    third = Errand(lambda cancel: 3)
    couriers.send(third)
    assert third.wait(5) == 3
    assert not carried
    couriers.close()


def test_closing_gives_up_what_is_under_way_and_takes_nothing_more() -> None:
    couriers, told, before = Couriers(SystemClock()), threading.Event(), set(threading.enumerate())

    def work(cancel: Cancel) -> int:
        cancel.on_set(told.set)
        told.wait(5)
        return 1

    couriers.send(Errand(work))
    while not set(threading.enumerate()) - before:
        time.sleep(0.001)
    time.sleep(0.02)
    couriers.close()
    assert told.wait(5)
    assert not couriers.send(Errand(work))
    end = time.perf_counter() + 5
    while set(threading.enumerate()) - before:
        assert time.perf_counter() < end
        time.sleep(0.005)


def test_too_much_to_ever_carry_is_refused() -> None:
    couriers, release = Couriers(SystemClock(), most=1), threading.Event()
    sent = [couriers.send(Errand(lambda cancel: release.wait(5))) for _ in range(80)]
    assert sent[:60] == [True] * 60
    assert not sent[-1]
    release.set()
    couriers.close()


def _raise(error: Exception):  # type: ignore[no-untyped-def]
    def work(_cancel: Cancel) -> int:
        raise error

    return work
