"""Versions of aiohttp that this one does not know: a copy of it, with other names for what is not promised to stay."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(aiohttp.__file__).parent


def reads_as(folder: Path, *changes: tuple[str, str, str]) -> None:
    """In the copy in `folder`, `old` becomes `new` in each of the files."""
    for name, old, new in changes:
        file = folder / "aiohttp" / name
        text, count = re.subn(old, new, file.read_text())
        assert count, f"{old} is not in {name}: this aiohttp is another one already"
        file.write_text(text)


def versioned(folder: Path) -> None:
    """The next major version."""
    reads_as(folder, ("__init__.py", r'__version__ = "[^"]+"', '__version__ = "4.0.0a1"'))


def renamed(folder: Path) -> None:
    """The next major version, with the methods renamed that its development branch has renamed."""
    versioned(folder)
    for name in ("client.py", "client_reqrep.py", "connector.py"):
        text = (folder / "aiohttp" / name).read_text()
        text = re.sub(r"\b(req|proxy_req)\.send\(", r"\1._send(", text).replace("async def send(", "async def _send(")
        (folder / "aiohttp" / name).write_text(text.replace("write_bytes", "_write_bytes"))


def connects_otherwise(folder: Path) -> None:
    """The version as it is, and a connector that takes other arguments."""
    reads_as(
        folder,
        ("connector.py", r'self, req: ClientRequest, traces: list\["Trace"\], timeout: "ClientTimeout"\n    \) -> Conn',
         'self, req: ClientRequest, *, spans: object, limits: "ClientTimeout"\n    ) -> Conn'),
        ("connector.py", r"(async def connect\([^)]*\) -> Connection:\n(?:.*\n)?.*\"\"\"\n)",
         r"\1        traces, timeout = spans, limits\n"),
        ("client.py", "req, traces=traces, timeout=real_timeout", "req, spans=traces, limits=real_timeout"),
    )  # fmt: skip


def without_middlewares(folder: Path) -> None:
    """The version as it is, and no `middlewares` in a request."""
    reads_as(folder, ("client.py", r"\bmiddlewares\b", "interceptors"))


def without_protocols(folder: Path) -> None:
    """The version as it is, and connections that do not show their transport."""
    reads_as(
        folder,
        (
            "connector.py",
            r"def transport\(self\) -> asyncio.Transport \| None:\n",
            "def channel(self) -> asyncio.Transport | None:\n",
        ),
    )


@pytest.mark.parametrize("change", [versioned, renamed, connects_otherwise, without_middlewares, without_protocols])
def test_nothing_is_sent_twice_and_nothing_lost(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """With any other aiohttp requests go by its session: it says so once, and keeps what can be kept there."""
    shutil.copytree(HERE, tmp_path / "aiohttp")
    change(tmp_path)
    found = ran(tmp_path)
    assert found["way"] == "session"
    assert found["refreshed"]
    assert found["cut as"] == "OutcomeUnknown"
    assert found["before_send is asked"]
    assert found["requests"] == 3
    assert found["saved"] == 2
    assert found["lost"] == []
    assert len(found["warnings"]) == 1
    assert "aiohttp" in found["warnings"][0]


def test_the_one_that_is_known(tmp_path: Path) -> None:
    """The installed one goes the direct way, and warns of nothing."""
    found = ran(tmp_path)
    assert (found["way"], found["warnings"], found["requests"], found["lost"]) == ("direct", [], 3, [])


def ran(folder: Path) -> dict[str, Any]:
    """What the program saw, with the modules in `folder` before all others."""
    program = "import sys; sys.path.insert(0, sys.argv[1]); from runpy import run_module; run_module('tests.transport.other_aiohttp', run_name='__main__')"  # noqa: E501
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found
