"""What the name of a store can be. Pure; nothing of a name gets into an error, because it may hold a password."""

import re

from mesh_refresh.cli.terminal.messages import Failure
from mesh_refresh.stores.postgres.connection.addresses import other_scheme

_POSTGRES = ("postgresql://", "postgres://")
_SQLITE = "sqlite:///"
_PATH = re.compile(r"\.{0,2}/(?!/)|\.{1,2}\\|[A-Za-z]:[\\/]|\\\\")
"""How a path begins that says it is one: ``/``, ``./``, ``../``, and what Windows has."""
_NO_PATH = (
    (re.compile(r".*:", re.DOTALL), "a URL, or a host and a port"),
    (re.compile(r"(//)?[^/]*@.*/|postgres\w*//"), "a URL"),
    (re.compile(r"[\w-]{43}=(,|$)"), "a key"),
    (re.compile(r"(.*[\s?&;])?\w+\s*=\s*[^\s=]", re.DOTALL), "a connection string"),
)
"""How a name begins that is none, and what it is taken for."""
"""As SQLAlchemy has it. The scheme is shown, since it is one of these words and no secret."""


def is_postgres(name: str) -> bool:
    """Whether it is the URL of a database, and no path."""
    return name.startswith(_POSTGRES)


def path_of(name: str) -> str:
    """The path in the name of a file."""
    return name.removeprefix(_SQLITE)


def check_name(name: str, named_by: str) -> None:
    """Raises `Failure` for what looks like neither a path nor a URL of PostgreSQL.

    SQLite makes a file of any name, and so one with a password in it where a URL was mistyped. A path that looks like
    something else is taken where it begins like a path.
    """
    if is_postgres(name) or _PATH.match(path := path_of(name)):
        return
    found = [what for pattern, what in _NO_PATH if pattern.match(path)]
    if not name.startswith(_SQLITE) and (scheme := other_scheme(name)) is not None:
        found = [f"a URL that begins with {scheme}"]
    if path and not found:
        return
    del name, path  # a traceback may be rendered with its locals
    raise Failure(
        f"What {named_by} names looks like {[*found, 'a URL'][0]}, and is not shown. Name a store by the path of an "
        "SQLite file (./NAME, where the name is an odd one), or by a URL such as postgresql://USER@HOST/DATABASE."
    )
