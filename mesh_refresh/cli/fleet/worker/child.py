"""One of the processes of ``run --processes``, started with ``python -m``: its name, its socket, and a command line.

Its standard input is a socket whose other end its parent holds, which gets the report of the process there. When that
closes because the parent is gone, killed perhaps, the process stops in order. Its standard output is that of the
parent, for what an `App` prints.
"""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

from mesh_refresh.cli import main
from mesh_refresh.cli.terminal.child import CHILD, Child


def run(name: str, socket: Path, *arguments: str) -> int:
    """Run the command as a child of another process. Returns the exit code."""
    CHILD.set(Child(name, socket))
    is_alone = Event()
    Thread(target=_wait_for_parent, args=(is_alone,), daemon=True).start()
    sys.argv = ["mesh-refresh", *arguments]
    code = main()
    if is_alone.is_set():
        with suppress(OSError):  # not empty: the last of the processes removes it
            socket.parent.rmdir()
    return code


def _wait_for_parent(is_alone: Event) -> None:
    with suppress(OSError):
        while os.read(0, 1):
            """The parent writes nothing."""
    is_alone.set()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
