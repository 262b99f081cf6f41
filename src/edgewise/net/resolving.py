"""The addresses of a name, in the time that there is. The system's resolver cannot be told when to end: a thread waits for it."""

import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from threading import Event, Lock, Thread
from typing import final

__all__ = ["find_addresses"]

Found = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[object, ...]]]
_KEPT = 60.0  # seconds for which an answer is believed
_GLANCE = 0.005  # seconds after which somebody who gave up is seen
_MOST = 256  # names that are remembered


@final
class _Lookup:
    """One question to the resolver, whoever else has the same one meanwhile."""

    def __init__(self, host: str, port: int, resolve: Callable[[str, int], Found]) -> None:
        self.host, self.port, self.resolve = host, port, resolve
        self.done = Event()
        self.found: Found = []
        self.fault: OSError | None = None
        self.until = float("inf")

    def run(self) -> None:
        try:
            self.found = self.resolve(self.host, self.port)
        except OSError as error:
            self.fault = error
        except UnicodeError:  # by the codec for names in other alphabets
            self.fault = OSError("it is no name of a host")
        self.until = time.monotonic() + (0.0 if self.fault else _KEPT)
        self.done.set()


_lookups: dict[tuple[str, int], _Lookup] = {}
_lock = Lock()


def _ask(host: str, port: int) -> Found:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def find_addresses(
    host: str, port: int, left: Callable[[], float], resolve: Callable[[str, int], Found] = _ask
) -> Found:  # fmt: skip
    """As ``getaddrinfo`` gives them; OSError where there are none. left: seconds that there are, or TimeoutError.

    A lookup that is given up goes on in its thread until the system ends it, in seconds, and serves whoever asks next.
    """
    if _needs_no_lookup(host):
        return resolve(host, port)
    with _lock:
        lookup = _lookups.get((host, port))
        if lookup is None or time.monotonic() >= lookup.until:
            if len(_lookups) >= _MOST:
                _lookups.clear()
            lookup = _lookups[host, port] = _Lookup(host, port, resolve)
            Thread(target=lookup.run, name=f"lookup of {host}", daemon=True).start()
    while not lookup.done.wait(min(left(), _GLANCE)):
        pass
    if lookup.fault is not None:
        raise lookup.fault
    return lookup.found


def _needs_no_lookup(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    with suppress(ValueError):
        return bool(ip_address(host.partition("%")[0]))
    return False
