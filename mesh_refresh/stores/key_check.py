"""A short text that a store keeps, sealed with the key of its rows: with another key it is not opened at all.

It holds the store's id, so that an id cannot be made up by a writer of the database.
"""

import secrets

from mesh_refresh.stores.sealing import Sealing

_TEXT = "mesh_refresh"
_CONTEXT = "key check"


def new_store_id() -> str:
    """A name that no other store has."""
    return secrets.token_hex(8)


def sealed_check(cipher: Sealing, store_id: str) -> bytes:
    """What a store keeps."""
    return cipher.seal(f"{_TEXT} {store_id}", _CONTEXT)


def check(cipher: Sealing, sealed: bytes) -> str:
    """The id of the store. Raises `WrongKey` where `cipher` has not the key that the store was written with."""
    return cipher.open(sealed, _CONTEXT).partition(" ")[2]
