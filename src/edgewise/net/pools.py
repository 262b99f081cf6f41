"""Connections by urllib3: certificates verified, the proxy variables honoured. One pool for each proxy."""

from pathlib import Path
from typing import final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

__all__ = ["Pools"]


@final
class Pools:
    """``ca_file`` replaces the system's certificates, for a server with an authority of its own."""

    def __init__(self, ca_file: Path | None = None) -> None:
        self._ca_file = ca_file
        self._pools: dict[str, urllib3.PoolManager] = {}

    def pool(self, url: str, *, direct: bool = False) -> urllib3.PoolManager:
        """What asks for ``url``. direct: past every proxy."""
        parts = urlsplit(url)
        proxy = "" if direct or proxy_bypass(parts.netloc.rpartition("@")[2]) else _proxy_for(parts.scheme)
        if proxy not in self._pools:
            # Without a file urllib3 takes the system's store, which SSL_CERT_FILE can move.
            ca = str(self._ca_file) if self._ca_file else None
            if proxy:
                user = urlsplit(proxy)
                login = f"{unquote(user.username)}:{unquote(user.password or '')}" if user.username else None
                self._pools[proxy] = urllib3.ProxyManager(
                    proxy, cert_reqs="CERT_REQUIRED", ca_certs=ca,
                    proxy_headers=urllib3.make_headers(proxy_basic_auth=login) if login else None,
                )  # fmt: skip
            else:
                self._pools[proxy] = urllib3.PoolManager(cert_reqs="CERT_REQUIRED", ca_certs=ca)
        return self._pools[proxy]


def _proxy_for(scheme: str) -> str:
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all") or ""
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"
