"""Sockets that end by a point in time, and at once when somebody gives up, whatever the other side does.

A timeout of a socket is one of silence: who sends a byte a second holds a reader for as long as he likes. Here each wait on the
socket is given the time that is left of the whole. And who waits in one thread can be ended from another: a ``Watch`` knows the
socket that is in use and shuts it down, upon which every wait on it ends. It does so under a lock that is also held when the
socket is let go, so that what is shut down is never a later connection that was given the same number.

urllib3 opens connections, and reads and writes, in the thread that asks: so the watch of an exchange is that of its thread.
"""

import os
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Lock, local
from typing import Any, final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError

from edgewise.net.cancel import Cancel
from edgewise.net.resolving import find_addresses

__all__ = ["POOLS", "TlsSocket", "Watch", "watching"]

_LONGEST = 3600.0  # seconds that a socket waits at once: infinity is none that it takes
_here = local()


@final
class Watch:
    """until: the end, by ``now``. cancels: each of them ends it at once."""

    def __init__(self, until: float, now: Callable[[], float], cancels: Sequence[Cancel]) -> None:
        self.until, self.now, self.cancels = until, now, cancels
        self.opened = False  # a connection, for this exchange
        self.renew = False  # whatever connection was kept
        self._lock = Lock()
        self._socket: socket.socket | None = None

    def over(self) -> bool:
        return any(self.cancels) or self.now() >= self.until

    def left(self) -> float:
        """Seconds, more than 0. Raises TimeoutError where there are none, or somebody gave up."""
        seconds = self.until - self.now()
        if seconds <= 0 or any(self.cancels):
            raise TimeoutError("no time is left")
        return min(seconds, _LONGEST)

    def hold(self, sock: socket.socket | None) -> None:
        """This socket is in use from here on; None: none is, and whoever gives up touches nothing."""
        with self._lock:
            self._socket = sock
        if sock is not None and any(self.cancels):  # it was set before it could know of the socket
            self.shut()

    def let_go(self, sock: socket.socket | None) -> None:
        """This one is in use no more, if it was: it may be one that is cleared away, in the middle of another exchange."""
        with self._lock:
            if self._socket is sock:
                self._socket = None

    def shut(self) -> None:
        """End every wait on the socket that is in use. From any thread."""
        with self._lock:
            if self._socket is not None:
                # Not the method of encrypted sockets, which takes them apart under the hands of the thread that reads.
                with suppress(OSError):
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """What urllib3 does within, in this thread, is watched."""
    forget = [cancel.on_set(watch.shut) for cancel in watch.cancels]
    _here.watch = watch
    try:
        yield
    finally:
        _here.watch = None
        watch.hold(None)
        for one in forget:
            one()


class _PlainSocket(socket.socket):
    def recv_into(self, *args: Any) -> int:
        self.settimeout(_here.watch.left())
        return super().recv_into(*args)

    def sendall(self, *args: Any) -> None:
        self.settimeout(_here.watch.left())  # of the whole, not of a piece
        super().sendall(*args)


class TlsSocket(ssl.SSLSocket):
    """What the ``ssl`` module is told to make: the handshake is watched as well."""

    def do_handshake(self, block: bool = False) -> None:
        _here.watch.hold(self)  # the plain socket gave up its number to this one
        self.settimeout(_here.watch.left())
        super().do_handshake(block)

    def recv_into(self, *args: Any) -> int:
        self.settimeout(_here.watch.left())
        return super().recv_into(*args)

    def recv(self, *args: Any) -> bytes:
        self.settimeout(_here.watch.left())
        return super().recv(*args)

    def send(self, *args: Any) -> int:
        self.settimeout(_here.watch.left())
        return super().send(*args)


class _Plain(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _opened(self, self._dns_host, self.port, self.socket_options)

    def request(self, *args: Any, **named: Any) -> None:
        watch: Watch = _here.watch
        if watch.renew and not watch.opened:
            self.close()  # it is opened again on the way
        elif self.sock is not None:
            watch.hold(self.sock)
        super().request(*args, **named)

    def close(self) -> None:
        _let_go(self.sock)
        super().close()


class _Tls(_Plain, HTTPSConnection):
    pass


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            _let_go(conn.sock)  # whoever gives up from here on does not mean a connection that is kept
        if self.pool is None or not self.pool.full():  # otherwise urllib3 would write a warning to the log
            super()._put_conn(conn)
        elif conn is not None:
            conn.close()


class _TlsPool(_PlainPool, urllib3.HTTPSConnectionPool):
    ConnectionCls = _Tls


#: Scheme -> what opens connections that are watched.
POOLS: dict[str, type[urllib3.HTTPConnectionPool]] = {"http": _PlainPool, "https": _TlsPool}


def _let_go(sock: socket.socket | None) -> None:
    if (watch := getattr(_here, "watch", None)) is not None:
        watch.let_go(sock)


def _opened(
    connection: HTTPConnection, host: str, port: int, options: Sequence[tuple[int, int, int | bytes]] | None
) -> socket.socket:
    watch: Watch = _here.watch
    watch.opened = True
    try:
        found = find_addresses(host, port, watch.left)
    except OSError as error:
        raise NameResolutionError(host, connection, error) from error  # type: ignore[arg-type]  # only its text is used
    fault: OSError = OSError("no address")
    for at, (family, kind, number, _, address) in enumerate(found):
        sock = _PlainSocket(family, kind, number)
        try:
            for option in options or ():
                sock.setsockopt(*option)
            _connect(watch, sock, address, watch.left() / (len(found) - at))
            return sock
        except OSError as error:
            watch.hold(None)
            sock.close()
            fault = error
            if watch.over():
                break
    raise NewConnectionError(connection, f"no connection: {fault.strerror or fault}") from fault


def _connect(watch: Watch, sock: socket.socket, address: Any, seconds: float) -> None:
    sock.setblocking(False)
    with suppress(BlockingIOError):
        sock.connect(address)
    watch.hold(sock)  # not before: what is not yet on its way cannot be shut down
    if not urllib3.util.wait_for_write(sock, seconds):
        raise TimeoutError("no answer in time")
    sock.settimeout(watch.left())
    if fault := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(fault, os.strerror(fault))
