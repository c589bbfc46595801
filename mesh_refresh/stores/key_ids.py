"""Which key sealed a value: its id lies at the beginning of the value."""

VERSION = b"\x01"
PLAIN = b"plain\0"
ID = 4
"""Bytes of an id, which is derived from the key and says nothing of it."""
KEY_PREFIX = len(VERSION) + ID
"""So many bytes of a sealed value are enough for `key_id_of`."""


def key_id_of(sealed: bytes) -> str:
    """The id of the key that sealed a value, as `Cipher.key_ids` has it; ``plain`` where none did, else empty."""
    if sealed[:KEY_PREFIX] == PLAIN[:KEY_PREFIX]:
        return "plain"
    is_sealed = sealed[: len(VERSION)] == VERSION and len(sealed) >= KEY_PREFIX
    return sealed[len(VERSION) : KEY_PREFIX].hex() if is_sealed else ""
