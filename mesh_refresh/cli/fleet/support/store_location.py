"""The store that a command works on, and the keys that open it. No error shows a name: it may hold a password."""

import hashlib
import os
import re
import stat
from pathlib import Path

from attrs import field, frozen

from mesh_refresh import InvalidRequest
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure, format_count, say
from mesh_refresh.masking import hides_locals
from mesh_refresh.stores import Cipher, PlainText
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.stores.postgres.connection.addresses import other_scheme
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
    """Names a store, and where its keys are. Raises `Failure` for a name that cannot be one, before any I/O."""

    store: str | None = field(repr=lambda value: "None" if value is None else "***")  # a URL may hold a password
    plaintext: bool = False
    keys_variable: str = KEYS_VARIABLE
    """The variable with its keys; if it is not set, `KEYS_VARIABLE` has them."""
    named_by: str = "--store"
    """Where the name comes from, for messages: the option, the argument or the variable."""

    def __attrs_post_init__(self) -> None:
        if self.store:
            check_name(self.store, self.named_by)

    @property
    def in_postgres(self) -> bool:
        """Whether it is a PostgreSQL database. Raises `Failure` if no store was named."""
        return is_postgres(self.url())

    def open_store(self, *, create: bool, read_only: bool = False) -> AnyStore:
        """The store, to be entered. Raises `Failure` if none was named, or if there is none and `create` is false.

        `read_only`: a file is not upgraded. Raises `InvalidRequest` for a wrong URL.
        """
        cipher = self.cipher()
        if not self.in_postgres:
            return SqliteStore.open(self.path(create=create), cipher=cipher, create=create, read_only=read_only)
        return PostgresStore.open(self.url(), cipher=cipher)

    def url(self) -> str:
        """The path or the URL. Raises `Failure` if none was given."""
        if not self.store:
            raise Failure(f"No store was named. Give it with --store, or in {STORE_VARIABLE}.")
        return self.store

    def shown(self) -> str:
        """The store without a password, for logs: the path of its file, or user, server and database."""
        if not self.in_postgres:
            return os.path.realpath(self._file())
        return repr(PostgresStore.open(self.url(), cipher=PlainText())).partition(" ")[2].rstrip(">")

    def spool(self, folder: str | None) -> Path:
        """The spool, where new tokens wait while the store cannot be written: `folder`, or one beside the store's file.

        The spool of a database is in the user's folder for program state (the XDG Base Directory Specification), under
        a name that only this database has. Raises `Failure` if there is no home folder.
        """
        if folder:
            return Path(folder)
        if not self.in_postgres:
            # Beside the file itself: a start by a link to it must find the same spool.
            return Path(f"{os.path.realpath(self._file())}.spool")
        try:
            home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        except RuntimeError:
            raise Failure("There is no home folder for the spool. Name a folder with --spool, or set HOME.") from None
        shown = repr(PostgresStore.open(self.url(), cipher=PlainText()))
        return home / "mesh-refresh" / f"{hashlib.sha256(shown.encode()).hexdigest()[:16]}.spool"

    def other_key(self) -> str:
        """Advice about a login that is sealed with another key than the store, or in a store without keys."""
        if self.plaintext:
            return f"this store is plain text. Leave out --plaintext, and put the key into {KEYS_VARIABLE}."
        variable = self.keys_variable
        return f"add the key that sealed it at the end of {variable}. See mesh-refresh key --help."

    def report_unopened(self, number: int) -> Exit:
        """Say that so many logins do not open, and were not changed. Gives the exit code; for none, 0."""
        if not number:
            return Exit.REFRESHED
        say(f"{format_count(number, 'login')} cannot be opened or read, and {'was' if number == 1 else 'were'} left.")
        say(self.other_key())
        return Exit.STORE

    def used_variable(self) -> str:
        """The variable from which its keys are read."""
        has_own = os.environ.get(self.keys_variable) or os.environ.get(f"{self.keys_variable}_FILE")
        return self.keys_variable if has_own else KEYS_VARIABLE

    def is_same_file(self, other: "StoreLocation") -> bool:
        """Whether both name one file: by a hard link, for example."""
        if self.in_postgres or other.in_postgres or not (self.has_file() and other.has_file()):
            return False
        return Path(self._file()).samefile(path_of(other.url()))

    def cipher(self) -> Cipher | PlainText:
        """What seals the store. Raises `Failure` if there is no key and no --plaintext, or both."""
        variable = self.used_variable()
        file = f"{variable}_FILE"
        keys, path = _keys(variable), os.environ.get(file)
        if keys and path:
            raise Failure(f"{variable} and {file} are both set. Leave out one of them.")
        if self.plaintext:
            if keys or path:
                has_key = file if path else variable
                raise Failure(f"--plaintext was given, and {has_key} has a key. Leave out one of them.")
            return PlainText()
        if path:
            try:
                return Cipher.from_file(path, named=f"in {file}")
            except InvalidRequest as error:
                raise Failure(str(error)) from None
        if not keys:
            raise Failure(
                f"There is no key in {KEYS_VARIABLE}. Put there what `mesh-refresh key generate` prints, or into a "
                f"file, and its path into {KEYS_VARIABLE}_FILE. Keep it: without the key, the store cannot be opened."
            )
        try:
            return Cipher(keys)
        except InvalidRequest as error:
            raise Failure(f"{variable}: {error}") from None

    def _file(self) -> str:
        """The path of an SQLite store."""
        return path_of(self.url())

    def path(self, *, create: bool) -> Path:
        """The file of an SQLite store. Raises `Failure` if there is none and `create` is false."""
        path = Path(self._file())
        if not create and not self.has_file():
            raise Failure(
                f"There is no store at the path in {self.named_by}, {_show_path(self._file())}. "
                "Correct the path; `mesh-refresh import`, `migrate` and `serve --create` make a new store."
            )
        return path

    def has_file(self) -> bool:
        """Whether there is a store file, or the log of one. An empty file is no store yet."""
        return any(_size(Path(f"{self._file()}{side}")) for side in ("", "-wal"))

    def open_to_others(self) -> list[tuple[str, str]]:
        """What every user of the machine may do to files of the store, read or replace them; and what to do about it.

        Permissions of a group are no reason to warn: its members may share the store on purpose.
        """
        if self.in_postgres or os.name != "posix":
            return []
        path = os.path.realpath(self._file())
        readable = [name for name in (path, *(path + side for side in SIDES)) if _mode(name) & 0o007]
        told = [("other users can read the store's files", f"chmod 600 {' '.join(readable)}")] if readable else []
        if _mode(folder := str(Path(path).parent)) & 0o002:
            what = f"other users can write to {folder}, and replace the store or its log"
            told.append((what, "use a private folder"))
        return told


def _size(path: Path) -> int:
    """Bytes. 1 for what is no ordinary file: opening it gives the error."""
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


def _show_path(name: str) -> str:
    """The path, if it can be nothing else: a key or a token may stand in the wrong variable."""
    path = Path(name)
    has_suffix = 1 < len(path.suffix) <= _LONGEST_SUFFIX and len(path.name) <= _LONGEST_NAME
    is_one = (
        path.suffix in _SUFFIXES
        or name.startswith("./")
        or (has_suffix and path.parent.is_dir())
        or any(folder.name and folder.is_dir() for folder in path.parents)
    )
    return str(path.absolute()) if is_one else "which is not shown because it may be a key"


def _keys(variable: str) -> list[str]:
    """The keys in `variable`: the first seals, and each of them opens."""
    single = os.environ.get(KEY_VARIABLE, "") if variable == KEYS_VARIABLE else ""
    values = f"{os.environ.get(variable, '')},{single}".split(",")
    return list(dict.fromkeys(value.strip() for value in values if value.strip()))


_POSTGRES = ("postgresql://", "postgres://")
_SQLITE = "sqlite:///"
"""As SQLAlchemy writes the URL of a file. An error may show it, since it holds no secret."""
_PATH = re.compile(r"\.{0,2}/(?!/)|\.{1,2}\\|[A-Za-z]:[\\/]|\\\\")
"""How a name begins that is a path without doubt: ``/``, ``./``, ``../``, and the forms of Windows."""
_NO_PATH = (
    (re.compile(r".*:", re.DOTALL), "a URL, or a host and a port"),
    (re.compile(r"(//)?[^/]*@.*/|postgres\w*//"), "a URL"),
    (re.compile(r"[\w-]{43}=(,|$)"), "a key"),
    (re.compile(r"(.*[\s?&;])?\w+\s*=\s*[^\s=]", re.DOTALL), "a connection string"),
)
"""How a name begins that is no path, and what it looks like."""


def is_postgres(name: str) -> bool:
    """Whether it is the URL of a PostgreSQL database."""
    return name.startswith(_POSTGRES)


def path_of(name: str) -> str:
    """The path of an SQLite store, named by a path or by a URL that begins with ``sqlite:///``."""
    return name.removeprefix(_SQLITE)


@hides_locals
def check_name(name: str, named_by: str) -> None:
    """Raises `Failure` for a name that looks like neither a path nor a URL of PostgreSQL.

    SQLite makes a file of any name: a mistyped URL would become a file with a password in its name. An unusual file
    name is accepted when it begins like a path. `named_by` is the option or variable, for the message.
    """
    if is_postgres(name) or _PATH.match(path := path_of(name)):
        return
    found = [what for pattern, what in _NO_PATH if pattern.match(path)]
    if not name.startswith(_SQLITE) and (scheme := other_scheme(name)) is not None:
        found = [f"a URL that begins with {scheme}"]
    if path and not found:
        return
    raise Failure(
        f"The name in {named_by} looks like {[*found, 'a URL'][0]}. It is not shown because it may hold a secret. Name "
        "a store by the path of an SQLite file (./NAME for an unusual name), or by a URL such as "
        "postgresql://USER@HOST/DATABASE."
    )
