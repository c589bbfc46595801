"""Which store is meant, and with which keys it opens."""

import hashlib
import os
import stat
from pathlib import Path

from attrs import field, frozen

from mesh_refresh import InvalidRequest
from mesh_refresh.cli.fleet.support.store_names import check_name, is_postgres, path_of
from mesh_refresh.cli.terminal.messages import Failure
from mesh_refresh.stores import Cipher, PlainText
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.stores.sqlite.connection.one_name import SIDES

STORE_VARIABLE = "MESH_REFRESH_STORE"
KEYS_VARIABLE = "MESH_REFRESH_KEYS"
KEY_VARIABLE = "MESH_REFRESH_KEY"

_SUFFIXES = (".db", ".sqlite", ".sqlite3")
_LONGEST_SUFFIX, _LONGEST_NAME = 8, 40

AnyStore = SqliteStore | PostgresStore


@frozen
class StoreLocation:
    """A store that a command is to work on. Raises `Failure` for a name that cannot be one, before anything is done."""

    store: str | None = field(repr=lambda value: "None" if value is None else "***")  # a URL may hold a password
    plaintext: bool = False
    keys_variable: str = KEYS_VARIABLE
    """Where its keys are; where that is not set, they are in `KEYS_VARIABLE`."""
    named_by: str = "--store"
    """Where the store's name comes from: the option, or the variable."""

    def __attrs_post_init__(self) -> None:
        if self.store:
            check_name(self.store, self.named_by)

    @property
    def in_postgres(self) -> bool:
        """Whether it is a database, and no file."""
        return is_postgres(self.url())

    def opened(self, *, create: bool) -> AnyStore:
        """The store, to be entered. Raises `Failure` where none is named, and where it must be there and is not."""
        cipher = self.cipher()
        if not self.in_postgres:
            return SqliteStore.open(self._path(create=create), cipher=cipher, create=create)
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
            # Beside the file itself: by a link to it, the next start must find the same spool.
            return Path(f"{os.path.realpath(self._file())}.spool")
        try:
            home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        except RuntimeError:
            raise Failure("There is no home folder for the spool: name a place with --spool, or set HOME.") from None
        shown = repr(PostgresStore.open(self.url(), cipher=PlainText()))
        return home / "mesh-refresh" / f"{hashlib.sha256(shown.encode()).hexdigest()[:16]}.spool"

    def other_key(self) -> str:
        """What to do about a login that is sealed with another key than the store itself, or not at all."""
        if self.plaintext:
            return f"this store is plain text. Leave out --plaintext, and put their key into {KEYS_VARIABLE}."
        variable = self.keys_variable
        return f"put the key that sealed it into {variable} too, behind the others. See mesh-refresh key --help."

    def used_variable(self) -> str:
        """Where its keys are looked for."""
        return self.keys_variable if os.environ.get(self.keys_variable) else KEYS_VARIABLE

    def is_same_file(self, other: "StoreLocation") -> bool:
        """Whether both are one file, by whatever names: a hard link, say."""
        if self.in_postgres or other.in_postgres or not (self.has_file() and other.has_file()):
            return False
        return Path(self._file()).samefile(path_of(other.url()))

    def cipher(self) -> Cipher | PlainText:
        """What seals. Raises `Failure` where there is no key, and it was not said that there is none."""
        variable = self.used_variable()
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

    def _file(self) -> str:
        """The path of the file."""
        return path_of(self.url())

    def _path(self, *, create: bool) -> Path:
        path = Path(self._file())
        if not create and not self.has_file():
            raise Failure(
                f"There is no store at the path in {self.named_by}, {_shown(self._file())}: "
                "`mesh-refresh import` makes one, and so does `migrate`."
            )
        return path

    def has_file(self) -> bool:
        """Whether there is one already, or the log of one; an empty file is none yet."""
        return any(_size(Path(f"{self._file()}{side}")) for side in ("", "-wal"))

    def open_to_others(self) -> list[str]:
        """What every user of the machine may read or write of the store's files. A group may be meant to share them."""
        if self.in_postgres or os.name != "posix":
            return []
        path = os.path.realpath(self._file())
        readable = [name for name in (path, *(path + side for side in SIDES)) if _mode(name) & 0o007]
        told = [f"others can read the store's files; chmod 600 {' '.join(readable)}"] if readable else []
        if _mode(folder := str(Path(path).parent)) & 0o002:
            told.append(f"others can write to {folder}, and put another file in the place of the store or of its log.")
        return told


def _size(path: Path) -> int:
    """Bytes; one for what is no file, which opening it tells."""
    try:
        found = path.stat()
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 1


def _mode(path: str) -> int:
    try:
        return Path(path).stat().st_mode
    except OSError:
        return 0


def _shown(name: str) -> str:
    """The path, whole, where it can be nothing but one: a key or a token may have got into the wrong variable."""
    path = Path(name)
    has_suffix = 1 < len(path.suffix) <= _LONGEST_SUFFIX and len(path.name) <= _LONGEST_NAME
    is_one = (
        path.suffix in _SUFFIXES
        or name.startswith("./")
        or (has_suffix and path.parent.is_dir())
        or any(folder.name and folder.is_dir() for folder in path.parents)
    )
    return str(path.absolute()) if is_one else "which is not shown, since it may be a key"


def _keys(variable: str) -> list[str]:
    """The first seals, and all open."""
    single = os.environ.get(KEY_VARIABLE, "") if variable == KEYS_VARIABLE else ""
    values = f"{os.environ.get(variable, '')},{single}".split(",")
    return list(dict.fromkeys(value.strip() for value in values if value.strip()))
