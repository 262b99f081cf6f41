"""A circuit breaker leaves a failing upstream alone, and tries it again with one question at a time."""

from edgewise.routing.breaker import Breaker


def broken(failures: int, **settings: float) -> Breaker:
    breaker = Breaker(**settings)  # type: ignore[arg-type]
    for _ in range(failures):
        breaker = breaker.asked(0.0).failed(0.0)
    return breaker


def test_it_opens_at_the_nth_failure_in_a_row_and_not_before() -> None:
    assert broken(4).state == "closed"
    assert broken(5).state == "open"
    assert broken(4).succeeded().failed(0.0).state == "closed"


def test_while_open_nobody_is_asked_until_the_pause_is_over() -> None:
    breaker = broken(5, pause=2.0)
    assert not breaker.may_ask(1.9)
    assert breaker.may_ask(2.0)


def test_one_probe_at_a_time() -> None:
    probing = broken(5, pause=2.0, probe=30.0).asked(2.0)
    assert probing.state == "half-open"
    assert not probing.may_ask(31.9)
    assert probing.may_ask(32.0), "a probe that nobody reported on counts as lost"


def test_a_probe_that_succeeds_closes_it_and_forgets() -> None:
    closed = broken(5).asked(1.0).succeeded()
    assert (closed.state, closed.count, closed.pauses) == ("closed", 0, 0)
    assert closed.may_ask(0.0)


def test_a_probe_that_fails_doubles_the_pause_up_to_the_longest() -> None:
    breaker, now, pauses = broken(5, pause=1.0, longest=8.0), 0.0, []
    for _ in range(6):
        pauses.append(breaker.until - now)
        now = breaker.until
        breaker = breaker.asked(now).failed(now)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_what_was_asked_before_it_opened_changes_nothing_when_it_fails() -> None:
    breaker = broken(5)
    assert breaker.failed(0.5) is breaker
