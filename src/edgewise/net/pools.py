"""Connections by urllib3: certificates verified, the proxy variables honoured. One pool for each proxy."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

__all__ = ["Pools"]


@final
class Pools:
    """``ca_file`` replaces the system's certificates, for a server with an authority of its own.

    kept: connections that stay open for the next request, for each server. classes: scheme -> what opens connections, in place of
    urllib3's own. tls_sockets: likewise the class of encrypted sockets.
    """

    def __init__(
        self,
        ca_file: Path | None = None,
        *,
        kept: int = 1,
        classes: Mapping[str, type[urllib3.HTTPConnectionPool]] | None = None,
        tls_sockets: type[ssl.SSLSocket] | None = None,
    ) -> None:
        self._ca_file, self._kept, self._classes, self._tls_sockets = ca_file, kept, classes, tls_sockets
        self._pools: dict[tuple[str, bool], urllib3.PoolManager] = {}

    def pool(self, url: str, *, direct: bool = False) -> urllib3.PoolManager:
        """What asks for ``url``. direct: past every proxy."""
        parts = urlsplit(url)
        proxy = "" if direct or proxy_bypass(parts.netloc.rpartition("@")[2]) else _proxy_for(parts.scheme)
        key = proxy, "https" in (parts.scheme, urlsplit(proxy).scheme)
        if key not in self._pools:
            self._pools.setdefault(key, self._made(*key))  # two threads at once have the same
        return self._pools[key]

    def close(self) -> None:
        """Close the connections that are open and not in use."""
        for manager in list(self._pools.values()):
            # Not ``clear`` alone: it leaves closing to the collection of what may be held elsewhere, as by an error's traceback.
            for key in manager.pools.keys():  # noqa: SIM118  (it is no dictionary)
                if (pool := manager.pools.get(key)) is not None:
                    pool.close()
            manager.clear()

    def _made(self, proxy: str, encrypted: bool) -> urllib3.PoolManager:
        # Without a file urllib3 takes the system's store, which SSL_CERT_FILE can move.
        ca = str(self._ca_file) if self._ca_file else None
        context = _context(ca, self._tls_sockets) if self._tls_sockets and encrypted else None
        usual: dict[str, Any] = {
            "cert_reqs": "CERT_REQUIRED",
            "ca_certs": ca,
            "maxsize": self._kept,
            "ssl_context": context,
        }
        if proxy:
            user = urlsplit(proxy)
            login = f"{unquote(user.username)}:{unquote(user.password or '')}" if user.username else None
            made: urllib3.PoolManager = urllib3.ProxyManager(
                proxy, proxy_headers=urllib3.make_headers(proxy_basic_auth=login) if login else None, **usual
            )
        else:
            made = urllib3.PoolManager(**usual)
        if self._classes is not None:
            made.pool_classes_by_scheme = dict(self._classes)
        return made


def _context(ca: str | None, sockets: type[ssl.SSLSocket]) -> ssl.SSLContext:
    """As urllib3 makes one for each connection, which takes longer than asking; here it is made once."""
    context = urllib3.util.ssl_.create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    if ca is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(ca)
    context.sslsocket_class = sockets
    return context


def _proxy_for(scheme: str) -> str:
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all") or ""
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"
