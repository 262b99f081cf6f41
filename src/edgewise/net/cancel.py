"""Giving up on what another thread does: whoever waits says so, whoever works has said how it can be stopped."""

from collections.abc import Callable
from threading import Event, Lock
from typing import final

__all__ = ["Cancel"]


@final
class Cancel:
    """Set once. What was registered by ``on_set`` is called then, at most once each, by the thread that gives up."""

    __slots__ = ("_callbacks", "_event", "_lock")

    def __init__(self) -> None:
        self._event = Event()
        self._lock = Lock()
        self._callbacks: list[Callable[[], object]] = []

    def __bool__(self) -> bool:
        return self._event.is_set()

    def on_set(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call ``callback`` when it is set; at once if it was. What comes back forgets the callback again.

        A callback must not block and not raise: closing a socket, cancelling a call.
        """
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return lambda: self._forget(callback)
        callback()
        return lambda: None

    def set(self) -> None:
        with self._lock:
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def _forget(self, callback: Callable[[], object]) -> None:
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)
