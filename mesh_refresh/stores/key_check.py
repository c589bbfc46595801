"""The key check: a short text that a store keeps, sealed with the key of its rows. Opening it is opening the store.

It holds the store's id: so a writer of the database cannot make up an id.
"""

import secrets

from mesh_refresh.stores.sealing import Sealing

_TEXT = "mesh_refresh"
_CONTEXT = "key check"


def new_store_id() -> str:
    """An id that no other store has, drawn at random."""
    return secrets.token_hex(8)


def sealed_check(cipher: Sealing, store_id: str) -> bytes:
    """The key check of the store with this id, to be kept in it."""
    return cipher.seal(f"{_TEXT} {store_id}", _CONTEXT)


def check(cipher: Sealing, sealed: bytes) -> str:
    """The id of the store. Raises `WrongKey` where `cipher` lacks the key that the store was written with."""
    return cipher.open(sealed, _CONTEXT).partition(" ")[2]
