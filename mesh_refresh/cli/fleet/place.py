"""Which store is meant, and with which keys it opens."""

import hashlib
import os
from pathlib import Path

from attrs import field, frozen

from mesh_refresh import InvalidRequest
from mesh_refresh.cli.lines import Failure
from mesh_refresh.stores import Cipher, PlainText
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.stores.sqlite import SqliteStore

STORE_VARIABLE = "MESH_REFRESH_STORE"
KEYS_VARIABLE = "MESH_REFRESH_KEYS"
KEY_VARIABLE = "MESH_REFRESH_KEY"

_SQLITE = "sqlite:///"
_LONGEST_SUFFIX, _LONGEST_NAME = 8, 40

AnyStore = SqliteStore | PostgresStore


@frozen
class Place:
    """A store that a command is to work on."""

    store: str | None = field(repr=lambda value: "None" if value is None else "***")  # a URL may hold a password
    plaintext: bool = False
    keys_variable: str = KEYS_VARIABLE
    """Where its keys are; where that is not set, they are in `KEYS_VARIABLE`."""
    named_by: str = "--store"
    """Where the store's name comes from: the option, or the variable."""

    @property
    def in_postgres(self) -> bool:
        """Whether it is a database, and no file."""
        return self._scheme in ("postgresql", "postgres")

    def opened(self, *, create: bool) -> AnyStore:
        """The store, to be entered. Raises `Failure` where none is named, and where it must be there and is not."""
        cipher = self.cipher()
        if not self.in_postgres:
            return SqliteStore.open(self._path(create=create), cipher=cipher)
        try:
            return PostgresStore.open(self.url(), cipher=cipher)
        except InvalidRequest as error:
            raise Failure(str(error)) from None

    def url(self) -> str:
        """What was named. Raises `Failure` where nothing was."""
        if not self.store:
            raise Failure(f"Which store? Name it with --store, or in {STORE_VARIABLE}.")
        return self.store

    def spool(self, folder: str | None) -> Path:
        """Where new tokens wait while the store is gone: `folder`, or a place beside the store's file.

        A database has no place beside it that outlives this machine's processes: its spool is in the user's own folder
        for what programs keep (the XDG Base Directory Specification), under a name that is this database's alone.
        """
        if folder:
            return Path(folder)
        if not self.in_postgres:
            return Path(f"{self._file()}.spool")
        home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        shown = repr(PostgresStore.open(self.url(), cipher=PlainText()))
        return home / "mesh-refresh" / f"{hashlib.sha256(shown.encode()).hexdigest()[:16]}.spool"

    def other_key(self) -> str:
        """What to do about a login that is sealed with another key than the store itself, or not at all."""
        if self.plaintext:
            return f"this store is plain text. Leave out --plaintext, and put their key into {KEYS_VARIABLE}."
        variable = self.keys_variable
        return f"put the key that sealed it into {variable} too, behind the others. See mesh-refresh key --help."

    def cipher(self) -> Cipher | PlainText:
        """What seals. Raises `Failure` where there is no key, and it was not said that there is none."""
        variable = self.keys_variable if os.environ.get(self.keys_variable) else KEYS_VARIABLE
        keys = _keys(variable)
        if self.plaintext:
            if keys:
                raise Failure(f"--plaintext, and yet there is a key in {variable}: which of both is meant?")
            return PlainText()
        if not keys:
            raise Failure(
                f"There is no key: put what `mesh-refresh key generate` prints into {KEYS_VARIABLE}, "
                "and keep it; without it, the store cannot be opened."
            )
        try:
            return Cipher(keys)
        except InvalidRequest as error:
            raise Failure(f"{variable}: {error}") from None

    @property
    def _scheme(self) -> str:
        return self.url().partition("://")[0] if "://" in self.url() else ""

    def _file(self) -> str:
        """The path of the file."""
        name = self.url().removeprefix(_SQLITE)
        if not name or "://" in name:
            raise Failure("The store should be the path of an SQLite file, or a URL that begins with postgresql://.")
        return name

    def _path(self, *, create: bool) -> Path:
        path = Path(self._file())
        if not create and not path.exists():
            shown = _shown(path)
            name = f", {shown}" if shown else ""
            raise Failure(
                f"There is no store at the path in {self.named_by}{name}: `mesh-refresh import` makes one, and so does "
                "`run`."
            )
        return path

    def read_by_others(self) -> bool:
        """Whether there is a file that the whole machine may read. A group may be meant to share it."""
        if self.in_postgres or os.name != "posix":
            return False
        try:
            return bool(Path(self._file()).stat().st_mode & 0o007)
        except OSError:
            return False


def _shown(path: Path) -> str:
    """The path, whole, where it can be nothing but one: a key that got into the wrong variable is not shown."""
    is_one = path.parent.is_dir() and 1 < len(path.suffix) <= _LONGEST_SUFFIX and len(path.name) <= _LONGEST_NAME
    return str(path.absolute()) if is_one else ""


def _keys(variable: str) -> list[str]:
    """The first seals, and all open."""
    single = os.environ.get(KEY_VARIABLE, "") if variable == KEYS_VARIABLE else ""
    values = f"{os.environ.get(variable, '')},{single}".split(",")
    return list(dict.fromkeys(value.strip() for value in values if value.strip()))
