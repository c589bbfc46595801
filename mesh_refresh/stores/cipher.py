"""Seals values that must not be read in a database, a backup or a file, by AES-256-GCM. Keys can be rotated."""

import base64
import binascii
import hmac
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.masking import MaskedBytes, MaskedStr, hides_locals
from mesh_refresh.stores.errors import StoreDamaged, WrongKey, package_missing
from mesh_refresh.stores.key_ids import ID, KEY_PREFIX, PLAIN, VERSION

_SALT, _NONCE, _KEY, _RANDOM = 16, 12, 32, 32
_PURPOSE = b"mesh_refresh seal 1"
_UNIQUE = b"mesh_refresh salt and nonce 1"
_KEY_ID = b"mesh_refresh key id 1"
_AT_ONCE = 2_047
"""Bytes. For more of them at once, hashlib lets other threads run meanwhile."""


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
    def __init__(self, keys: Iterable[str | bytes]) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - an extra
        except ImportError:
            raise package_missing("Cipher", "cryptography", "keeper") from None
        self._aead: Any = AESGCM
        found = _keys(keys)
        self._keys = tuple((_id_of(key), hmac.new(key, _PURPOSE, "sha256")) for key in found)
        self._unique = hmac.new(found[0], _UNIQUE, "sha256")

    def __repr__(self) -> str:
        return f"<Cipher with {len(getattr(self, '_keys', ()))} key(s)>"  # one that was refused has none

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the keys, in their order: `Store.key_usage` counts by them. They say nothing of the keys."""
        return tuple(key_id.hex() for key_id, _ in self._keys)

    @staticmethod
    def generate_key() -> str:
        """A new key, drawn at random. Keep it where no backup of the store is: both together open everything."""
        return base64.urlsafe_b64encode(os.urandom(_KEY)).decode()

    def seal(self, text: str, context: str = "") -> bytes:
        """`text`, to be opened only with the same `context`."""
        text = MaskedStr(text)
        plain, bound = _encoded(text), _encoded(context)
        unique = self._drawn(plain, bound)
        key_id, key = self._keys[0]
        return VERSION + key_id + unique + self._apply("encrypt", key, unique, plain, bound)

    def open(self, sealed: bytes, context: str = "") -> str:
        """The text. Raises `WrongKey` where no key opens it, or it was sealed in another context."""
        sealed, bound = MaskedBytes(sealed), _encoded(context)
        random, body = sealed[KEY_PREFIX : KEY_PREFIX + _SALT + _NONCE], sealed[KEY_PREFIX + _SALT + _NONCE :]
        if sealed[: len(VERSION)] == VERSION:
            from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - an extra

            for key in [key for key_id, key in self._keys if key_id == sealed[len(VERSION) : KEY_PREFIX]]:
                try:
                    return MaskedBytes(self._apply("decrypt", key, random, body, bound)).decode()
                except (InvalidTag, ValueError):
                    continue
        if sealed.startswith(PLAIN):
            raise WrongKey("This is not sealed but plain text: open it with PlainText().")
        raise WrongKey

    def _drawn(self, text: bytes, context: bytes) -> bytes:
        """A salt and a nonce, made of fresh random bytes, the context and the text.

        The system's own random bytes may repeat for a moment where a whole machine was cloned. Even then two texts do
        not get the same salt and nonce, with which an attacker could open both.
        """
        mixed = self._unique.copy()
        mixed.update(_random() + len(context).to_bytes(8, "big") + context)
        for start in range(0, len(text), _AT_ONCE):
            mixed.update(text[start : start + _AT_ONCE])
        return mixed.digest()[: _SALT + _NONCE]

    def _apply(self, verb: str, key: hmac.HMAC, random: bytes, text: bytes, context: bytes) -> bytes:
        # Not `hmac.digest`: that lets other threads run meanwhile, and a busy one gives the turn back late.
        derived = key.copy()
        derived.update(random[:_SALT])
        own = self._aead(derived.digest())
        result: bytes = getattr(own, verb)(random[_SALT:], text, context)
        return result


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


def _id_of(key: bytes) -> bytes:
    return hmac.digest(key, _KEY_ID, "sha256")[:ID]


def _encoded(text: str) -> bytes:
    """`text` as bytes, masked. Raises `InvalidRequest` for what is not Unicode text."""
    try:
        return MaskedBytes(text.encode())
    except UnicodeEncodeError:
        del text  # a traceback may be rendered with its locals
    raise InvalidRequest("What is to be sealed must be Unicode text.")


def _keys(given: object) -> list[bytes]:
    """The keys. Raises `InvalidRequest` for what is none."""
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise InvalidRequest("Cipher takes a list of keys, even of one.")
    found: list[bytes] = []
    for text in given:
        key = b""
        if isinstance(text, str | bytes):
            with suppress(binascii.Error, ValueError):
                key = base64.b64decode(text, altchars=b"-_", validate=True)
        if len(key) != _KEY:
            raise InvalidRequest(
                "This is not a key: it should be 32 bytes in URL-safe base64, as Cipher.generate_key() makes them."
            )
        found.append(MaskedBytes(key))
    if not found:
        raise InvalidRequest("Cipher needs at least one key: Cipher.generate_key() makes one.")
    return found
