"""Whatever is read, only EdgewiseError comes out: a seeded, structure-aware mutator against every reader of outside bytes.

Mutated documents are put together again with fitting digests, checksums and signatures, so that the deeper readers are reached too.
A failure names its case; ``run_case(N)`` repeats it.
"""

import json
import random
import resource
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from edgewise.bundle.bundle import open_bundle
from edgewise.bundle.layout import EVIDENCE_TYPE
from edgewise.bundle.safetensors import dump_arrays, parse_arrays
from edgewise.bundle.source import Source
from edgewise.bundle.statement import PAYLOAD_TYPE, parse_envelope, parse_statement, pre_authentication_encoding
from edgewise.bundle.tarball import TarSource
from edgewise.errors import EdgewiseError
from edgewise.measure.npz import load_npz
from edgewise.testing.raw_layout import RawLayout
from edgewise.testing.sample_bundles import PUBLIC_TEST_KEYS, full_bundle, sample_root, signed_bundle
from edgewise.trust.root import TrustRoot
from edgewise.trust.verification import verify_bundle

QUICK, LONG = 5_000, 200_000
MEMORY = 256 << 20  # bytes that the process may grow by over a whole run

BUNDLE = signed_bundle(full_bundle())
ROOT = sample_root()
_RAW = RawLayout.of(BUNDLE)
_RAW.files()
PARTS = {"index": _RAW.index, "manifest": _RAW.manifest, "document": _RAW.document}
TAR = _RAW.tar()
STATEMENTS = [json.loads(envelope.payload) for envelope in BUNDLE.evidence().values()]
ENVELOPE = json.loads(next(iter(BUNDLE.evidence().values())).to_bytes())
ARRAYS = dump_arrays({"in/x": np.ones((2, 3), np.float32), "b": np.zeros(4, bool), "empty": np.zeros((0, 2), np.int8)})
NPZ = BytesIO()
np.savez_compressed(NPZ, x=np.ones((3, 2), np.float32), y=np.arange(3), t=np.array(["a", "bc"]))

INTERESTING: list[Any] = [
    None, True, False, 0, -1, 1, 2, 255, 2**31, 2**31 - 1, 2**53, 2**53 - 1, 2**63, 2**64, -(2**63), 0.0, -0.0, 1e-300, 1e300, 0.5,
    "", "a", "..", "/", "\\", "\x00", "\x1b[2J", "\ud800", "\u202e", "\U0001f600", "sha256:" + "0" * 64, "sha256:", "x" * 300,
    "x" * 20_000, [], {}, [[]], [{}], {"": ""}, [0], [None], {"a": {"b": {"c": []}}}, float("nan"), float("inf"), "NaN", "1",
    "true", "urn:edgewise:predicate:release:v1",
]  # fmt: skip
FIELDS = [
    (0, 100),
    (100, 8),
    (124, 12),
    (136, 12),
    (148, 8),
    (156, 1),
    (157, 100),
    (257, 8),
    (345, 155),
]  # of a ustar header


def run_case(number: int) -> str:
    """Make case ``number``, read it, and return the class of what came out."""
    chance = random.Random(number)
    make, read = chance.choice(CASES)
    data = make(chance)
    try:
        read(data)
    except EdgewiseError as error:
        str(error).encode("utf-8")  # it can be printed, whatever the input held
        return type(error).__name__
    return "accepted"


def _accept(source: Source) -> None:
    bundle = open_bundle(source)
    bundle.write(BytesIO())
    bundle.check_blobs()
    bundle.evidence()
    if bundle.document.golden:
        parse_arrays(bundle.read(bundle.document.golden.file), "the golden set")
    verify_bundle(bundle, ROOT)


def _read_tar(data: bytes) -> None:
    _accept(TarSource(BytesIO(data)))


def _read_envelope(data: bytes) -> None:
    parse_statement(parse_envelope(data).payload)


def _read_arrays(data: bytes) -> None:
    for array in parse_arrays(data, "the arrays").values():
        array.sum()


def _read_npz(data: bytes) -> None:
    for array in load_npz(data).values():
        array.tolist()


# ------------------------------------------------------------------------------------------------ mutators


def mutate_bytes(chance: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(out) + 1)
        length = chance.choice((1, 2, 8, 64, 512))
        action = chance.randrange(7)
        if action == 0 and out:
            out[at % len(out)] ^= 1 << chance.randrange(8)
        elif action == 1:
            del out[at:]
        elif action == 2:
            del out[at : at + length]
        elif action == 3:
            out[at:at] = out[at : at + length]
        elif action == 4:
            start = chance.randrange(len(out) + 1)
            out[at : at + length] = out[start : start + length]
        elif action == 5:
            out[at : at + length] = chance.choice((b"\xff", b"\0", b'"', b"[", b"9", b"\xc3")) * length
        else:
            out[at : at + 8] = chance.choice((0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)).to_bytes(8, "little")
    return bytes(out)


def mutate_json(chance: random.Random, value: Any) -> Any:
    """A copy with some nodes replaced, removed, repeated, nested deeper or renamed."""
    value = json.loads(json.dumps(value))
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        holders = [node for node in _nodes(value) if isinstance(node, (dict, list)) and node]
        if not holders:
            return deepcopy(chance.choice(INTERESTING))
        holder = chance.choice(holders)
        key = chance.choice(list(holder)) if isinstance(holder, dict) else chance.randrange(len(holder))
        action = chance.randrange(8)
        if action < 4:
            holder[key] = deepcopy(chance.choice(INTERESTING))
        elif action == 4:
            del holder[key]
        elif action == 5:
            holder[key] = [holder[key]] if chance.random() < 0.5 else {"a": holder[key]}
        elif action == 6 and isinstance(holder, dict):
            holder[chance.choice(("x", "", "name", "digest", "\x00"))] = holder.pop(key)
        elif isinstance(holder, list):
            holder.extend(deepcopy(holder[key]) for _ in range(chance.choice((1, 2, 300))))
    return value


def _nodes(value: Any) -> list[Any]:
    found = [value]
    for node in found:
        found.extend(node.values() if isinstance(node, dict) else node if isinstance(node, list) else [])
        if len(found) > 2000:
            break
    return found


def dumped(chance: random.Random, value: Any) -> bytes:
    """JSON text; now and then with a key twice or spoiled as text."""
    data = json.dumps(value, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    if chance.random() < 0.1:
        data = mutate_bytes(chance, data)
    if chance.random() < 0.05 and data[:1] == b"{":
        data = b'{"name":0,"name":1,' + data[1:]
    return data


# --------------------------------------------------------------------------------------------------- cases


def _tar_bytes(chance: random.Random) -> bytes:
    return mutate_bytes(chance, TAR)


def _tar_headers(chance: random.Random) -> bytes:
    out = bytearray(TAR)
    headers = [at for at in range(0, len(out), 512) if out[at + 257 : at + 262] == b"ustar"]
    at = chance.choice(headers)
    start, length = chance.choice(FIELDS)
    field = bytes(out[at + start : at + start + length])
    texts = (
        b"../../x",
        b"/etc/passwd",
        b"77777777777",
        b"\x80" + b"\xff" * 11,
        b"-1",
        b"5",
        b"2",
        b"index.json",
        b"\xff" * length,
    )
    out[at + start : at + start + length] = (
        mutate_bytes(chance, field) if chance.random() < 0.5 else chance.choice(texts)
    )[:length].ljust(length, b"\0")
    if chance.random() < 0.9:
        out[at + 148 : at + 156] = b" " * 8
        out[at + 148 : at + 156] = b"%06o\0 " % sum(out[at : at + 512])
    if chance.random() < 0.2:
        other = chance.choice(headers)
        out[at:at] = out[other : other + 512]
    return bytes(out)


def _layout(chance: random.Random) -> RawLayout:
    part = chance.choice(("index", "manifest", "document"))
    raw = RawLayout(*json.loads(json.dumps(list(PARTS.values()))), dict(_RAW.blobs))
    changed = mutate_json(chance, PARTS[part])
    keeps_digests = chance.random() < 0.7 and part != "document" and isinstance(changed, dict)
    setattr(raw, part, changed if keeps_digests else dumped(chance, changed))
    return raw


def _layout_source(chance: random.Random) -> Source:
    raw = _layout(chance)
    try:
        return raw.source()
    except (
        TypeError,
        AttributeError,
        KeyError,
        ValueError,
    ):  # the mutation left nothing to put digests into: store it as it is
        raw.manifest, raw.index = (dumped(chance, part) for part in (raw.manifest, raw.index))
        return raw.source()


def _evidence(chance: random.Random) -> Source:
    """A mutated statement under a valid signature, or a mutated envelope around a valid statement."""
    raw = RawLayout(*json.loads(json.dumps(list(PARTS.values()))), dict(_RAW.blobs))
    if chance.random() < 0.7:
        payload = dumped(chance, mutate_json(chance, chance.choice(STATEMENTS)))
        key = PUBLIC_TEST_KEYS[chance.choice(("publisher", "laboratory"))]
        signature = b64encode(key.sign(pre_authentication_encoding(PAYLOAD_TYPE, payload))).decode()
        envelope: Any = {
            "payloadType": PAYLOAD_TYPE,
            "payload": b64encode(payload).decode(),
            "signatures": [{"keyid": key.public.key_id, "sig": signature}],
        }
        data = json.dumps(envelope).encode()
    else:
        data = dumped(chance, mutate_json(chance, ENVELOPE))
    if chance.random() < 0.5:
        raw.manifest["layers"] = [layer for layer in raw.manifest["layers"] if layer["mediaType"] != EVIDENCE_TYPE]
    raw.manifest["layers"].append({"mediaType": EVIDENCE_TYPE, **raw.add(data)})
    return raw.source()


def _envelope(chance: random.Random) -> bytes:
    return dumped(chance, mutate_json(chance, ENVELOPE))


def _root(chance: random.Random) -> bytes:
    return dumped(chance, mutate_json(chance, json.loads(ROOT.to_bytes())))


def _arrays(chance: random.Random) -> bytes:
    if chance.random() < 0.3:
        return mutate_bytes(chance, ARRAYS)
    length = int.from_bytes(ARRAYS[:8], "little")
    text = dumped(chance, mutate_json(chance, json.loads(ARRAYS[8 : 8 + length])))
    return len(text).to_bytes(8, "little") + text + ARRAYS[8 + length :]


def _npz(chance: random.Random) -> bytes:
    return mutate_bytes(chance, NPZ.getvalue())


CASES: list[tuple[Callable[[random.Random], Any], Callable[[Any], object]]] = [
    (_tar_bytes, _read_tar), (_tar_headers, _read_tar), (_layout_source, _accept), (_layout_source, _accept), (_evidence, _accept),
    (_envelope, _read_envelope), (_root, TrustRoot.parse), (_arrays, _read_arrays), (_npz, _read_npz),
]  # fmt: skip


def run_cases(first: int, count: int) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for number in range(first, first + count):
        try:
            outcomes[run_case(number)] += 1
        except Exception as error:
            raise AssertionError(f"case {number} raised {type(error).__name__}: {error!s:.200}") from error
    return outcomes


def _check(outcomes: Counter[str], before: int) -> None:
    # The mutator is worth something only if it reaches acceptance and each family of refusal.
    assert {"accepted", "HostileBundleError", "SignatureError", "KeyFileError", "DataError"} <= set(outcomes), outcomes
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before < MEMORY


def test_only_edgewise_errors_come_out_of_5000_mutations() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    _check(run_cases(0, QUICK), before)


@pytest.mark.long
def test_only_edgewise_errors_come_out_of_200000_mutations() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    _check(run_cases(1_000_000, LONG), before)
