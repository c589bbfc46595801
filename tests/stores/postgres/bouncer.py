"""A real PgBouncer before a server, as Debian packages it."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

PROGRAM = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
MISSING = "PgBouncer is not installed, and its tests did NOT run: apt-get install pgbouncer"
_CONFIG = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = 4
pidfile = {folder}/pid
logfile = {folder}/log
"""


@contextmanager
def bouncing(url: str, mode: str) -> Iterator[str]:
    """The URL of a PgBouncer in this mode, before the server at `url`."""
    parts = urlsplit(url)
    host = parts.hostname or parse_qs(parts.query).get("host", ["localhost"])[0]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        settings = {"host": host, "port": parts.port or 5432, "user": parts.username or "postgres", "listen": listen}
        config = Path(folder, "ini")
        config.write_text(_CONFIG.format(mode=mode, folder=folder, **settings))
        process = subprocess.Popen([PROGRAM, "-q", str(config)], stderr=subprocess.DEVNULL, **_who(host, folder))
        try:
            _wait_for(listen, process)
            yield f"postgresql://{settings['user']}@127.0.0.1:{listen}{parts.path}"
        finally:
            process.kill()
            process.wait()


def _who(host: str, folder: str) -> dict[str, Any]:
    """It does not run as root, and must be let into the folder of the server's socket."""
    if os.getuid():
        return {}
    owner = Path(host).stat().st_uid if host.startswith("/") else 65534
    for path in (folder, Path(folder, "ini")):
        os.chown(path, owner, owner)
    return {"user": owner, "group": owner}


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.01)
            continue
        return
    raise AssertionError("PgBouncer ended")
