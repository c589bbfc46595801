"""Every example of the README and the docs is a test: Sybil runs it against a `FakeMesh`, without a network.

The examples of one page share a namespace, an event loop and an empty working directory. A FakeMesh with the sandbox's
control routes runs beside them in a thread of its own, so that an example may be a whole program with an `asyncio.run`
in it, or a second process; ``MESH_CLIENT_ID``, ``MESH_CLIENT_SECRET`` and ``MESH_BASE_URL`` lead to it. What an example
needs and a reader does not, what must hold after it, and whether it is run in another way, is not in the page:
tests/docs/blocks has it, see tests/docs/blocks_beside.py. The other ways:

``process``  in a Python of its own; it reads `typed` from standard input, and `printed` is what it wrote.
``pytest``   as a file of tests, all of which must pass.
``shell``    for a ``console`` example: by bash. Those that are not marked for it are not run here.

Close every client: a warning that comes between two examples makes Sybil fail with an ``IndexError`` of its own.
"""

import ast
import asyncio
import inspect
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, chdir
from pathlib import Path
from types import CodeType
from typing import Any, Self
from unittest.mock import patch

import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser

from mesh_refresh.testing import FakeMesh
from mesh_refresh.testing.fake.serve import add_control_routes
from tests.docs.blocks_beside import Cell, cells_of

# A shell starts what ends in `&` with SIGINT and SIGQUIT ignored, `nohup` with SIGHUP, and children inherit that: tests
# that send one would wait for it.
signal.signal(signal.SIGINT, signal.default_int_handler)
for ignored in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(ignored, signal.SIG_DFL)

_TESTS = "test_of_the_page.py"


class Behind:
    """A FakeMesh in a thread and a loop of its own. Logins can be made from any thread; its gates cannot be opened."""

    fake: FakeMesh

    def __init__(self) -> None:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(30):
            pytest.fail("FakeMesh did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self.fake = FakeMesh()
        add_control_routes(self.fake)
        await self.fake.start()
        self._ready.set()
        await self._over.wait()
        await self.fake.stop()  # by hand: an example may ask for a fault and send nothing


class Page:
    """What the examples of one page share beside their names."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self._open = ExitStack()
        self._runner = self._open.enter_context(asyncio.Runner())
        fake = self._open.enter_context(Behind()).fake
        programs = Path(self._open.enter_context(tempfile.TemporaryDirectory()))
        command = programs / "mesh-refresh"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mesh_refresh "$@"\n')
        command.chmod(0o755)
        environment = {
            "MESH_CLIENT_ID": fake.client_id,
            "MESH_CLIENT_SECRET": fake.client_secret,
            "MESH_BASE_URL": fake.base_url,
            "PATH": os.pathsep.join((str(programs), *os.get_exec_path())),
        }
        self._open.enter_context(patch.dict(os.environ, environment))
        self._open.enter_context(chdir(self._open.enter_context(tempfile.TemporaryDirectory())))
        namespace.update(fake=fake, page=self, typed="", printed="", __name__="__main__")

    def close(self) -> None:
        """The page is through."""
        self._open.close()

    def run(self, code: CodeType, namespace: dict[str, Any]) -> None:
        """Run a block. A bare ``await`` in it works, as in ``python -m asyncio``."""
        if not code.co_flags & inspect.CO_COROUTINE:
            exec(code, namespace)  # noqa: S102 - it is our own page
            return

        async def awaited() -> None:
            await eval(code, namespace)  # noqa: S307 - as above

        self._runner.run(awaited())


def python(example: Example) -> None:
    """Run a Python example, in the way that its page's blocks say, and what is to be run around it."""
    namespace, mark = example.namespace, _mark(example)
    _around(example, "before")
    if mark == "process":
        namespace["printed"] = _ran([sys.executable, "-W", "error", "-c", str(example.parsed)], namespace["typed"])
    elif mark == "pytest":
        Path(_TESTS).write_text(example.parsed)
        Path("pytest.ini").write_text("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
        # Without the plugins that happen to be installed: pytest starts in a fraction of the time.
        with patch.dict(os.environ, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"):
            options = ["-q", "-p", "pytest_asyncio.plugin", "-c", "pytest.ini", "-W", "error"]
            _ran([sys.executable, "-m", "pytest", *options, _TESTS])
    else:
        # Blank lines before it, so that a traceback shows the line of the page.
        source = "\n" * (example.line + example.parsed.line_offset) + example.parsed
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        namespace["page"].run(compile(source, example.path, "exec", flags=flags, dont_inherit=True), namespace)
    namespace["shown"] = str(example.parsed)
    _around(example, "after")


def console(example: Example) -> None:
    """Run a console example that is marked for it, and what is to be run around it."""
    _around(example, "before")
    if _mark(example) == "shell":
        if missing := [name for name in ("bash", "curl") if shutil.which(name) is None]:
            pytest.skip(f"there is no {missing[0]} on this machine")
        command = ["bash", "-euo", "pipefail", "-c", example.parsed]
        example.namespace["printed"] = _ran(command, example.namespace["typed"])
    _around(example, "after")


def _cells(example: Example) -> list[Cell]:
    return [cell for cell in cells_of(Path(example.path)) if cell.example == example.start]


def _mark(example: Example) -> str | None:
    return next((cell.kind for cell in _cells(example) if cell.kind not in {"before", "after"}), None)


def _around(example: Example, kind: str) -> None:
    """Run the cells of this kind that the example has."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    for cell in _cells(example):
        if cell.kind == kind:
            code = compile(cell.source, str(cell.file), "exec", flags=flags, dont_inherit=True)
            example.namespace["page"].run(code, example.namespace)


def _ran(command: list[str], typed: str = "") -> str:
    ran = subprocess.run(command, input=typed, capture_output=True, text=True, timeout=240, check=False)  # noqa: S603
    if ran.returncode:
        pytest.fail(f"exit code {ran.returncode}\n{ran.stdout}\n{ran.stderr}")
    return ran.stdout


def _open(namespace: dict[str, Any]) -> None:
    Page(namespace)


def _close(namespace: dict[str, Any]) -> None:
    namespace["page"].close()


pytest_collect_file = Sybil(
    parsers=[CodeBlockParser("python", python), CodeBlockParser("console", console)],
    patterns=["README.md", "docs/*.md", "docs/**/*.md"],
    path=str(Path(__file__).parent),
    setup=_open,
    teardown=_close,
).pytest()
