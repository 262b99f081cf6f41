"""How much a reader takes in before it gives up. Generous for real models, finite for hostile ones."""

from edgewise.records import dataclass

__all__ = ["DEFAULT_LIMITS", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what is read; sizes in bytes.

    ``json_bytes`` follows the 4 MiB that the OCI distribution specification asks registries to accept for a manifest.
    """

    json_bytes: int = 4 << 20
    json_depth: int = 32
    json_digits: int = 32  # digits in one number; 2**64 has 20
    json_values: int = 1 << 17  # in one document; an empty object takes 3 bytes in a file and 72 in memory
    blobs: int = 4096
    blob_bytes: int = (8 << 30) - 1  # what the size field of a ustar header can say
    total_bytes: int = 64 << 30
    evidence: int = 1024
    evidence_bytes: int = 8 << 20  # all of it; a receipt has about 2 KB
    array_bytes: int = 1 << 30  # one golden set, unpacked
    expansion: int = 200  # unpacked bytes per packed byte; deflate of real arrays stays below 100


DEFAULT_LIMITS = Limits()
