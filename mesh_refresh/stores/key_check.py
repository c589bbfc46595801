"""A short text that a store keeps, sealed with the key of its rows: with another key it is not opened at all."""

from mesh_refresh.stores.sealing import Sealing

_TEXT = "mesh_refresh"
_CONTEXT = "key check"


def sealed_check(cipher: Sealing) -> bytes:
    """What a store keeps."""
    return cipher.seal(_TEXT, _CONTEXT)


def check(cipher: Sealing, sealed: bytes) -> None:
    """Raises `WrongKey` where `cipher` has not the key that the store was written with."""
    cipher.open(sealed, _CONTEXT)
