"""What a server over HTTP can do to who asks it, besides answering: for handlers of ``http.server``.

    FAULTS["trickles its headers"](handler, body)   # in place of an answer with ``body``

A fault that never ends goes on until the other side hangs up, and ends then, so that nothing outlives a test.
"""

import select
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler

__all__ = ["FAULTS", "HANGING", "UNREAD", "Fault", "wait_for_hang_up"]

Fault = Callable[[BaseHTTPRequestHandler, bytes], None]
_DROP = 0.004  # seconds between two bytes of a trickle
_SIP = 16384  # bytes that are read at once by who reads slowly
_ENDLESS = b" " * 65536
#: Linux tells of a peer that hangs up even where there is more to read.
_HUNG_UP = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


def wait_for_hang_up(handler: BaseHTTPRequestHandler, seconds: float | None = None) -> None:
    """Read nothing and write nothing, as long as somebody is there; or no longer than that."""
    poll = select.poll()
    poll.register(handler.connection, _HUNG_UP)
    if poll.poll(None if seconds is None else 1000 * seconds):
        handler.close_connection = True


def _hang(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    wait_for_hang_up(handler)


def _sip(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    handler.close_connection = True
    while handler.rfile.read1(_SIP):
        time.sleep(_DROP)


def _trickle_headers(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    _drip(handler)


def _trickle_body(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    _head(handler, len(body) + (1 << 16))
    _drip(handler)


def _stop_in_the_body(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    _head(handler, len(body))
    handler.wfile.write(body[: len(body) // 2])
    wait_for_hang_up(handler)


def _break_off(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    _head(handler, len(body))
    handler.wfile.write(body[: len(body) // 2])


def _close(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    handler.close_connection = True


def _garbage(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    handler.close_connection = True
    handler.wfile.write(b"\x00\x1b[2J\xff" * 20 + b"\r\n\r\n")


def _other_body(body: bytes) -> Fault:
    def answer(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        _head(handler, len(body))
        handler.wfile.write(body)

    return answer


def _endless(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    handler.close_connection = True
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:  # until the other side hangs up, which is an error here
        handler.wfile.write(_ENDLESS)


def _refuse(status: int) -> Fault:
    def answer(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        handler.wfile.write(b"HTTP/1.1 %d No\r\nContent-Length: 12\r\n\r\nbusy\x1b[2J\r\n\r\n" % status)

    return answer


#: Name -> no answer ever ends, and the question is not read as it should be: to be done before it is.
UNREAD: Mapping[str, Fault] = {"never reads": _hang, "reads by sips": _sip}
#: Name -> no answer ever ends.
HANGING: Mapping[str, Fault] = {
    **UNREAD,
    "hangs": _hang,
    "trickles its headers": _trickle_headers,
    "trickles its body": _trickle_body,
    "stops in its body": _stop_in_the_body,
}
#: Name -> what is done in place of an answer.
FAULTS: Mapping[str, Fault] = {
    **HANGING,
    "breaks off": _break_off,
    "closes": _close,
    "answers garbage": _garbage,
    "answers no JSON": _other_body(b"<html>\x1b[2J"),
    "answers nothing": _other_body(b""),
    "answers without end": _endless,
    "is busy": _refuse(503),
    "refuses": _refuse(403),
}


def _head(handler: BaseHTTPRequestHandler, length: int) -> None:
    handler.close_connection = True
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % length)


def _drip(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    while True:  # until the other side hangs up, which is an error here
        handler.wfile.write(b"a")
        time.sleep(_DROP)
