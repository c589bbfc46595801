"""``mesh-refresh sandbox --serve`` in a process of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def served_sandbox() -> Iterator[dict[str, str]]:
    """The variables that it prints: the URL of its service and an access key."""
    command = [sys.executable, "-u", "-m", "mesh_refresh", "sandbox", "--serve", "--port", "0", "--serve-port", "0"]
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **path}) as sandbox:
        try:
            assert sandbox.stdout is not None
            printed = ""
            while "/openapi.json" not in printed:
                line = sandbox.stdout.readline()
                assert line, "the sandbox did not start"
                printed += line
            found = dict(re.findall(r"^  (MESH_REFRESH_\w+)=(.+)$", printed, re.MULTILINE))
            assert found.keys() == {"MESH_REFRESH_URL", "MESH_REFRESH_ACCESS_KEY"}
            yield found
        finally:
            sandbox.terminate()
