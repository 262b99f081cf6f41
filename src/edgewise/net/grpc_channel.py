"""Connections of gRPC, which opens its own sockets: encrypted and bounded as ours are."""

import ssl
from pathlib import Path
from typing import Any

from edgewise.net.asking import Address

__all__ = ["open_channel"]


def open_channel(address: Address, target: str, ca_file: Path | None, *, most: int) -> Any:
    """A ``grpc.Channel`` to ``target`` (host and port), which closes its connections when it is closed. most: bytes of an answer.

    Encrypted where ``address`` says so, with verified certificates; ca_file: in place of the system's.
    """
    import grpc  # noqa: PLC0415  (an optional extra; ``messages`` has seen that it is there)

    options = {
        "grpc.max_receive_message_length": most, "grpc.max_send_message_length": -1,
        "grpc.compression_enabled_algorithms_bitset": 1,  # none, as over HTTP: nothing unpacks to more than was bounded
        "grpc.enable_http_proxy": int(not address.local), "grpc.enable_retries": 0,
        # A server that comes back is found again within seconds, not minutes.
        "grpc.initial_reconnect_backoff_ms": 100, "grpc.min_reconnect_backoff_ms": 1000, "grpc.max_reconnect_backoff_ms": 2000,
        "grpc.use_local_subchannel_pool": 1,  # closing one closes its connections, and no other has them
    }  # fmt: skip
    if not address.encrypted:
        return grpc.insecure_channel(target, list(options.items()))
    # gRPC has a list of authorities of its own; the system's, which its owner may have added to, comes first.
    paths = ssl.get_default_verify_paths()
    trusted = ca_file or (Path(paths.cafile) if paths.cafile else None)
    roots = grpc.ssl_channel_credentials(trusted.read_bytes() if trusted else None)
    return grpc.secure_channel(target, roots, list(options.items()))
