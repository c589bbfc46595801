"""The keys of a cipher: which seals, and which open. Pure, but for the file that `KeyFile` watches."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import field, frozen

from mesh_refresh.clock import Clock, SystemClock
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.files import WatchedFile
from mesh_refresh.masking import MaskedBytes
from mesh_refresh.stores.key_ids import ID

KEY = 32
"""Bytes of a key."""
SEALS_AFTER = 600.0
"""Seconds. A key that newly comes first in a file opens at once, and seals after this: processes see it at different
times, and each must open what another one has sealed."""

_PURPOSE = b"mesh_refresh seal 1"
_UNIQUE = b"mesh_refresh salt and nonce 1"
_KEY_ID = b"mesh_refresh key id 1"
_BLOCK = hashlib.sha256().block_size
_INNER_PAD, _OUTER_PAD = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
_BETWEEN = re.compile(r"[\s,]+")


class KeyedHash:
    """HMAC-SHA-256 by one key of texts that begin alike, as RFC 2104 defines it.

    It keeps the two states of SHA-256 after the key and that beginning: copying these takes half of the time that
    `hmac.HMAC.copy` takes. And `hmac.digest` lets other threads run meanwhile: a busy one gives the turn back late.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes, beginning: bytes) -> None:
        block = MaskedBytes(key.ljust(_BLOCK, b"\0"))  # a key of ours is shorter than a block
        self._inner = hashlib.sha256(block.translate(_INNER_PAD) + beginning)
        self._outer = hashlib.sha256(block.translate(_OUTER_PAD))

    def digest(self, *parts: bytes) -> bytes:
        """That of the beginning and all of `parts`."""
        inner, outer = self._inner.copy(), self._outer.copy()
        for part in parts:
            inner.update(part)
        outer.update(inner.digest())
        return outer.digest()


@frozen
class KeyRing:
    """Keys, made ready for use."""

    ids: tuple[bytes, ...]
    """In their order: the first is the one that seals, now or soon."""
    opening: tuple[tuple[bytes, KeyedHash], ...] = field(repr=False)
    """Each with its id: all that open."""
    sealing: tuple[bytes, KeyedHash] = field(repr=False)
    unique: KeyedHash = field(repr=False)
    """Makes salts and nonces different even where random bytes repeat."""

    @classmethod
    def of(cls, keys: Sequence[bytes], *, sealing: bytes | None = None, retired: Iterable[bytes] = ()) -> "KeyRing":
        """`keys` in their order. `sealing`: the one that seals, where that is not the first. `retired` only open."""
        first = sealing or keys[0]
        all_keys = dict.fromkeys((*keys, *retired))
        ready = {key: (_id_of(key), KeyedHash(key, _PURPOSE)) for key in all_keys}
        return cls(
            tuple(ready[key][0] for key in keys),
            tuple(ready.values()),
            ready[first],
            KeyedHash(first, _UNIQUE),
        )


class KeyFile:
    """The keys in a file, with commas or blanks between them. A key that leaves the file opens until the process ends.

    Raises `InvalidRequest` where there is no key in it.
    """

    def __init__(self, path: str | Path, named: str, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._file = WatchedFile(path, named, _read_text, clock=self._clock)
        self._keys = self._file()
        self._retired: dict[bytes, None] = {}
        written_at = Path(path).stat().st_mtime
        age = max(0.0, self._clock.now().timestamp() - written_at)
        # A file that was just written may have a key first that other processes have not seen yet.
        self._seals_at = self._clock.monotonic() + max(0.0, SEALS_AFTER - age)
        self._ring = self._turned(self._keys[1 if age < SEALS_AFTER and len(self._keys) > 1 else 0])

    def ring(self) -> KeyRing:
        """The keys as they are now."""
        keys, now = self._file(), self._clock.monotonic()
        if keys != self._keys:
            before, self._keys = self._keys, keys
            self._retired.update(dict.fromkeys(before))
            if keys[0] != before[0]:
                self._seals_at = now + SEALS_AFTER
            # A key that has left the file must not seal: a process that starts now could not open that.
            self._ring = self._turned(self._sealer if self._sealer in keys else keys[1 if len(keys) > 1 else 0])
        if self._sealer != keys[0] and now >= self._seals_at:
            self._ring = self._turned(keys[0])
        return self._ring

    def _turned(self, sealer: bytes) -> KeyRing:
        self._sealer = sealer
        return KeyRing.of(self._keys, sealing=sealer, retired=self._retired)


def _read_text(text: str) -> list[bytes]:
    return read_keys(dict.fromkeys(filter(None, _BETWEEN.split(text))))


def read_keys(given: object) -> list[bytes]:
    """The keys. Raises `InvalidRequest` for what is none."""
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise InvalidRequest("Cipher takes a list of keys, even of one.")
    found: list[bytes] = []
    for text in given:
        key = b""
        if isinstance(text, str | bytes):
            with suppress(binascii.Error, ValueError):
                key = base64.b64decode(text, altchars=b"-_", validate=True)
        if len(key) != KEY:
            raise InvalidRequest(
                "This is not a key: it should be 32 bytes in URL-safe base64, as Cipher.generate_key() makes them."
            )
        found.append(MaskedBytes(key))
    if not found:
        raise InvalidRequest("Cipher needs at least one key: Cipher.generate_key() makes one.")
    return found


def _id_of(key: bytes) -> bytes:
    return hmac.digest(key, _KEY_ID, "sha256")[:ID]
