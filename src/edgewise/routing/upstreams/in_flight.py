"""One request for each row, several on their way at once."""

from collections.abc import Callable
from threading import Lock, Thread
from typing import TypeVar

from edgewise.errors import HttpStatusError, NetworkError, PeerError
from edgewise.net.cancel import Cancel

__all__ = ["ask_each", "ask_rows"]

T = TypeVar("T")


def ask_each(ask: Callable[[int, Cancel], T], rows: int, at_once: int, cancel: Cancel) -> list[T]:
    """``ask(row, cancel)`` of every row, in their order; at most ``at_once`` run at a time, one of them in this thread.

    The first that raises ends the others and is raised. All threads have ended when this returns: ``ask`` has to end by its own
    time, and at once where the Cancel that it is given is set. Raises NetworkError where ``cancel`` is set meanwhile.
    """
    if rows == 1:
        return [ask(0, cancel)]
    ours, lock = Cancel(), Lock()
    waiting = iter(range(rows))
    found: dict[int, T] = {}
    errors: list[BaseException] = []

    def carry() -> None:
        while not ours:
            with lock:
                row = next(waiting, None)
            if row is None:
                return
            try:
                found[row] = ask(row, ours)
            except BaseException as error:  # whatever it is, whoever asked has to hear of it, and not this thread alone
                with lock:
                    errors.append(error)
                ours.set()

    forget = cancel.on_set(ours.set)
    threads: list[Thread] = []
    try:
        for _ in range(min(at_once, rows) - 1):
            thread = Thread(target=carry, name="edgewise-row", daemon=True)
            thread.start()
            threads.append(thread)
        carry()
        for thread in threads:
            thread.join()
    except BaseException:  # no further thread, or the user's interrupt while this one waits
        ours.set()
        raise
    finally:
        for thread in threads:
            thread.join()
        forget()
    if errors:
        raise errors[0]
    if len(found) < rows:
        raise NetworkError("the question was given up")
    return [found[row] for row in range(rows)]


def ask_rows(ask: Callable[[int, Cancel], T], rows: int, at_once: int, cancel: Cancel) -> list[T | PeerError]:
    """As ``ask_each``, but a row whose answer is none (PeerError) costs no other row its own: its error stands in its place.

    A server that refuses (HttpStatusError), and one of which no answer is any, is raised as there.
    """

    def one(row: int, cancel: Cancel) -> T | PeerError:
        try:
            return ask(row, cancel)
        except HttpStatusError:
            raise
        except PeerError as error:
            return error

    found = ask_each(one, rows, at_once, cancel)
    errors = [item for item in found if isinstance(item, PeerError)]
    if errors and len(errors) == rows:
        raise errors[0]
    return found
