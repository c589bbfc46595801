"""Which store is meant, and with which keys it opens."""

import os
from pathlib import Path

from attrs import frozen

from mesh_refresh import InvalidRequest
from mesh_refresh.cli.lines import Failure
from mesh_refresh.stores import Cipher, PlainText, Store
from mesh_refresh.stores.sqlite import SqliteStore

STORE_VARIABLE = "MESH_REFRESH_STORE"
KEYS_VARIABLE = "MESH_REFRESH_KEYS"
KEY_VARIABLE = "MESH_REFRESH_KEY"


@frozen
class Place:
    """A store that a command is to work on."""

    store: str | None
    plaintext: bool = False

    def path(self, *, create: bool) -> Path:
        """The file. Raises `Failure` where none is named, and where it must be there and is not."""
        if not self.store:
            raise Failure(f"Which store? Name its file with --store, or in {STORE_VARIABLE}.")
        if self.store.partition("://")[0] in ("postgresql", "postgres"):
            raise Failure("PostgreSQL is not supported yet: name an SQLite file.")
        if "://" in self.store:
            raise Failure("The store should be the path of an SQLite file, not a URL.")
        path = Path(self.store)
        if not create and not path.exists():
            raise Failure("There is no store at this path: `mesh-refresh import` makes one, and so does `run`.")
        return path

    def spool(self, folder: str | None) -> Path:
        """Where new tokens wait while the store is gone: `folder`, or a place beside the store."""
        return Path(folder) if folder else Path(f"{self.store}.spool")

    def cipher(self) -> Cipher | PlainText:
        """What seals. Raises `Failure` where there is no key, and it was not said that there is none."""
        keys = _keys()
        if self.plaintext:
            if keys:
                raise Failure(f"--plaintext, and yet there is a key in {KEYS_VARIABLE}: which of both is meant?")
            return PlainText()
        if not keys:
            raise Failure(
                f"There is no key: put what `mesh-refresh key generate` prints into {KEYS_VARIABLE}, "
                "and keep it; without it, the store cannot be opened."
            )
        try:
            return Cipher(keys)
        except InvalidRequest as error:
            raise Failure(f"{KEYS_VARIABLE}: {error}") from None


def opened_store(place: Place, *, create: bool) -> Store:
    """The store of `place`, to be entered."""
    return SqliteStore.open(place.path(create=create), cipher=place.cipher())


def _keys() -> list[str]:
    """The first seals, and all open."""
    values = f"{os.environ.get(KEYS_VARIABLE, '')},{os.environ.get(KEY_VARIABLE, '')}".split(",")
    return list(dict.fromkeys(value.strip() for value in values if value.strip()))
