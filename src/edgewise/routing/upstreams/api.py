"""A JSON API that takes a bearer token: what asking a chat model and asking Workers AI have in common."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, final

from edgewise.bundle.fields import Form
from edgewise.bundle.limits import Limits
from edgewise.bundle.strict_json import dump_json, parse_object
from edgewise.errors import DocumentError, HostileBundleError, HttpStatusError, InputError, PeerError, RefusedError
from edgewise.net.asking import Address, read_address
from edgewise.net.cancel import Cancel
from edgewise.net.exchange import Exchanger

__all__ = ["Api", "is_missing"]

T = TypeVar("T")
_SHOWN = 100  # characters of what a server says
_FAULT = 400  # characters of an error's text in all
_TOKEN = 8192  # characters


@final
class Api:
    """url: what all paths are below; ``version`` is added where it has no path. token: sent with every request, shown nowhere.

    Raises InputError for what is no URL or no token, RefusedError where somebody on the way could read along.
    """

    def __init__(
        self, url: str, token: str, *, version: str = "", ca_file: Path | None = None, unsafe_plain_http: bool = False
    ) -> None:
        address = read_address(url, unsafe_plain_http=unsafe_plain_http, variable="the argument token")
        if address.url.count("/") == 2:  # https://HOST
            address = Address(address.url + version, address.local, address.encrypted)
        if len(token) > _TOKEN:
            raise InputError(f"a token has at most {_TOKEN} letters")
        if token and not (address.encrypted or address.local):
            raise RefusedError(
                f"the token would go to {address.url} for everybody on the way to read",
                remedy="Use https://, or no token.",
            )
        self._address, self._token = address, token
        self._exchanger = Exchanger(token=token, ca_file=ca_file)

    @property
    def url(self) -> str:
        return self._address.url

    def ask(
        self, path: str, value: Any, read: Callable[[Form], T], until: float, cancel: Cancel, *, limits: Limits
    ) -> T:
        """What ``read`` makes of the JSON object that is answered to ``value`` (POST; None: GET) at ``path``.

        Raises what exchanging raises, PeerError where the answer is none that ``read`` takes.
        """
        body = None if value is None else dump_json(value)
        try:
            told = self._exchanger.ask(self._address, path, body, limit=limits.json_bytes, until=until, cancel=cancel)
        except HttpStatusError as error:
            # A server's own words: it knows the token, and may say it.
            details = {
                name: self.said(item, _FAULT) if isinstance(item, str) else item for name, item in error.details.items()
            }
            raise HttpStatusError(self.said(error.what, _FAULT), remedy=error.remedy, **details) from None
        try:
            form = Form(parse_object(told.body, "the answer", limits), "answer")
            result = read(form)
            form.finish()
        except (DocumentError, HostileBundleError) as error:
            raise PeerError(f"{self.url}{path}: {self.said(error.what, _FAULT)}", url=self.url) from None
        return result

    def close(self) -> None:
        """What is under way ends with NetworkError, and so does all that is asked later."""
        self._exchanger.close()

    def said(self, text: str, most: int = _SHOWN) -> str:
        """What a server says, as it may be shown: printable, bounded, without the token."""
        plain = text.replace(self._token, "***") if self._token else text
        return "".join(letter if letter.isprintable() else " " for letter in plain)[:most].strip()


def is_missing(error: HttpStatusError) -> bool:
    """Whether a server says that it does not have this path at all, or not with this method."""
    return error.details.get("status") in (404, 405, 501)
