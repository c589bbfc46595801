"""Seals values that must not be read in a database, a backup or a file, by AES-256-GCM. Keys can be rotated."""

import base64
import inspect
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import Any, TypeVar

from mesh_refresh.clock import Clock
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.masking import MaskedBytes, MaskedStr, hides_locals
from mesh_refresh.stores.errors import StoreDamaged, WrongKey, package_missing
from mesh_refresh.stores.key_ids import ID, PLAIN, VERSION
from mesh_refresh.stores.key_ring import KEY, KeyedHash, KeyFile, KeyRing, read_keys
from mesh_refresh.tasks import all_of

_SALT, _NONCE, _RANDOM = 16, 12, 32
_HEAD = Struct(f"{len(VERSION)}s{ID}s{_SALT}s{_NONCE}s")
"""The version, the id of the key, the salt and the nonce: they are before what is sealed, and no secret."""
_AT_ONCE = 2_047
"""Bytes. For more of them at once, hashlib lets other threads run meanwhile."""

_Wrapped = TypeVar("_Wrapped")


class Cipher:
    """Seals with the first of `keys`, and opens with any of them.

    Keys are what `generate_key` gives: 32 random bytes in URL-safe base64. To rotate, put the new key first and keep
    the old ones behind it until nothing is sealed with them any more. A value opens only in the `context` in which it
    was sealed, so that one person's tokens moved to another one's row do not open.

    Each value has a key of its own, derived from yours and 128 random bits (HMAC-SHA-256), and is sealed with it by
    AES-256-GCM (NIST SP 800-38D): no number of values wears a key out, and no clone of a machine repeats one. Needs the
    extra ``keeper``. Raises `InvalidRequest` for what is no key, without showing it.
    """

    @hides_locals
    def __init__(self, keys: Iterable[str | bytes] | KeyFile) -> None:
        try:
            from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - an extra
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - as above
        except ImportError:
            raise package_missing("Cipher", "cryptography", "keeper") from None
        self._aead: Any = AESGCM
        self._invalid: type[Exception] = InvalidTag
        if isinstance(keys, KeyFile):
            self._ring = keys.ring
        else:
            ring = KeyRing.of(read_keys(keys))
            self._ring = lambda: ring

    @classmethod
    @hides_locals
    def from_file(cls, path: str | Path, *, named: str = "of Cipher.from_file", clock: Clock | None = None) -> "Cipher":
        """A cipher with the keys in a file, between which are commas or line breaks.

        The file is read again while it is used, so that keys are rotated without a restart. A key that newly comes
        first opens at once and seals after ten minutes, because other processes see the change at other times. The key
        that sealed goes on until then, and so does the second one at the start, where the file is younger than that. A
        file that is gone or broken meanwhile changes nothing, and is an error in the log. Raises `InvalidRequest` where
        there are no keys in it now; `named` follows "The file" there.
        """
        return cls(KeyFile(path, named, clock=clock))

    @classmethod
    async def from_wrapped(
        cls, wrapped: Iterable[_Wrapped], *, unwrap: Callable[[_Wrapped], Awaitable[str | bytes] | str | bytes]
    ) -> "Cipher":
        """A cipher with keys that another key wraps, as a KMS or Vault does: each is unwrapped once, here.

        `unwrap` is given each of `wrapped` and returns the key, as `generate_key` made it or as 32 bytes. All are
        unwrapped at the same time. Raises what `unwrap` raises, and `InvalidRequest` for what is no key.
        """
        if isinstance(wrapped, str | bytes) or not isinstance(wrapped, Iterable):
            raise InvalidRequest("Cipher.from_wrapped takes a list of wrapped keys, even of one.")
        if not callable(unwrap):
            raise InvalidRequest("unwrap must be a function that gives the key in a wrapped one.")
        return cls(await all_of([_unwrapped(key, unwrap) for key in wrapped]))

    def __repr__(self) -> str:
        ring = getattr(self, "_ring", None)  # one that was refused has none
        return f"<Cipher with {len(ring().ids) if ring else 0} key(s)>"

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the keys, in their order: `Store.key_usage` counts by them. They say nothing of the keys."""
        return tuple(key_id.hex() for key_id in self._ring().ids)

    @property
    def seals_with(self) -> str:
        """The id of the key that seals now: the first, or the one before it where the first is new in a file."""
        return self._ring().sealing[0].hex()

    @staticmethod
    def generate_key() -> str:
        """A new key, drawn at random. Keep it where no backup of the store is: both together open everything."""
        return base64.urlsafe_b64encode(os.urandom(KEY)).decode()

    def seal(self, text: str, context: str = "") -> bytes:
        """`text`, to be opened only with the same `context`."""
        text = MaskedStr(text)
        plain, bound = _encoded(text), _encoded(context)
        ring = self._ring()
        salt, nonce = _drawn(ring.unique, plain, bound)
        key_id, key = ring.sealing
        sealed: bytes = self._aead(key.digest(salt)).encrypt(nonce, plain, bound)
        return _HEAD.pack(VERSION, key_id, salt, nonce) + sealed

    def open(self, sealed: bytes, context: str = "") -> str:
        """The text. Raises `WrongKey` where no key opens it, or it was sealed in another context."""
        sealed, bound = MaskedBytes(sealed), _encoded(context)
        if sealed.startswith(VERSION) and len(sealed) >= _HEAD.size:
            _, key_id, salt, nonce = _HEAD.unpack_from(sealed)
            body = sealed[_HEAD.size :]
            for key in [key for its_id, key in self._ring().opening if its_id == key_id]:
                try:
                    return MaskedBytes(self._aead(key.digest(salt)).decrypt(nonce, body, bound)).decode()
                except (self._invalid, ValueError):
                    continue
        if sealed.startswith(PLAIN):
            raise WrongKey("This is not sealed but plain text: open it with PlainText().")
        raise WrongKey


async def _unwrapped(
    wrapped: _Wrapped, unwrap: Callable[[_Wrapped], Awaitable[str | bytes] | str | bytes]
) -> str | bytes:
    """The key in `wrapped`, in base64."""
    found = unwrap(wrapped)
    key = await found if inspect.isawaitable(found) else found
    if isinstance(key, bytes):
        return MaskedBytes(base64.urlsafe_b64encode(key) if len(key) == KEY else key)
    return MaskedStr(key) if isinstance(key, str) else key


def _drawn(unique: KeyedHash, text: bytes, context: bytes) -> tuple[bytes, bytes]:
    """A salt and a nonce, made of fresh random bytes, the context and the text.

    The system's own random bytes may repeat for a moment where a whole machine was cloned. Even then two texts do
    not get the same salt and nonce, with which an attacker could open both.
    """
    parts = (text,) if len(text) <= _AT_ONCE else [text[at : at + _AT_ONCE] for at in range(0, len(text), _AT_ONCE)]
    drawn = unique.digest(_random() + len(context).to_bytes(8, "big") + context, *parts)
    return drawn[:_SALT], drawn[_SALT : _SALT + _NONCE]


def _random() -> bytes:
    """Random bytes from the system. None are drawn ahead.

    A machine that was cloned from a snapshot has the same memory, and would seal with the same bytes.
    """
    if sys.platform == "linux":
        # Unlike `os.urandom`, it lets no other thread run meanwhile: a busy one gives the turn back late.
        with suppress(OSError):  # an old kernel, or a sandbox
            return os.getrandom(_RANDOM)
    return os.urandom(_RANDOM)


class PlainText:
    """Seals nothing: for tests, and for stores that are sealed in another way. A reader of a row reads its tokens."""

    key_ids = ("plain",)
    """As of `Cipher`."""
    seals_with = "plain"
    """As of `Cipher`."""

    def __repr__(self) -> str:
        return "<PlainText>"

    def seal(self, text: str, context: str = "") -> bytes:  # noqa: ARG002 - as `Cipher.seal`
        """`text`, as bytes."""
        text = MaskedStr(text)
        return PLAIN + _encoded(text)

    def open(self, sealed: bytes, context: str = "") -> str:  # noqa: ARG002 - as `Cipher.open`
        """The text. Raises `WrongKey` where it is sealed."""
        sealed = MaskedBytes(sealed)
        if not sealed.startswith(PLAIN):
            raise WrongKey("This is sealed: open it with the Cipher that sealed it.")
        try:
            return sealed[len(PLAIN) :].decode()
        except UnicodeDecodeError:
            sealed = b""  # a traceback may be rendered with its locals
        raise StoreDamaged("A plain value in the store is not text.")


def _encoded(text: str) -> bytes:
    """`text` as bytes, masked. Raises `InvalidRequest` for what is not Unicode text."""
    try:
        return MaskedBytes(text.encode())
    except UnicodeEncodeError:
        del text  # a traceback may be rendered with its locals
    raise InvalidRequest("What is to be sealed must be Unicode text.")
