"""Tells a path from a URL, and refuses names that are neither. Pure. No error shows a name: it may hold a password."""

import re

from mesh_refresh.cli.terminal.messages import Failure
from mesh_refresh.masking import hides_locals
from mesh_refresh.stores.postgres.connection.addresses import other_scheme

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
