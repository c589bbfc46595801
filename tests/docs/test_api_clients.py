"""The clients of docs/api.md, word for word, against ``mesh-refresh sandbox --serve``."""

import json
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.sandbox import served_sandbox

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text()
LOGINS = ("active", "webull", "mfa-required", "reconnect-required", "moved", "a/b")
REPLACED = "active replaced\nwebull replaced\n"
REASONS = "mfa-required mfa_pending\nreconnect-required reconnect_required\nmoved login_moved\na/b unknown_login\n"

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """A sandbox in a process of its own, and the variables that it prints."""
    with served_sandbox() as found:
        yield {**os.environ, **found}


def block(language: str) -> str:
    """The example of the page in this language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def run(environment: dict[str, str], *command: str) -> str:
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_client_in_curl(environment: dict[str, str]) -> None:
    if shutil.which("curl") is None:
        pytest.skip("NOT RUN: there is no curl on this machine")
    printed = run(environment, "bash", "-euo", "pipefail", "-c", block("bash"))
    replaced, pending = printed.removesuffix("}").split("}{")
    assert json.loads(f"{replaced}}}")["accessToken"]
    assert json.loads(f"{{{pending}}}")["reason"] == "mfa_pending"


def test_its_metrics_are_open_on_loopback(environment: dict[str, str]) -> None:
    """As those of `mesh-refresh serve` are there."""
    with urllib.request.urlopen(f"{environment['MESH_REFRESH_URL']}/metrics") as reply:  # noqa: S310 - of the sandbox
        assert b"mesh_refresh_logins" in reply.read()


def test_the_client_in_node(environment: dict[str, str], tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("NOT RUN: there is no node on this machine")
    program = tmp_path / "mesh-refresh.mjs"
    program.write_text(block("js"))
    assert run(environment, "node", str(program), *LOGINS) == REPLACED + REASONS


def test_the_client_in_go(environment: dict[str, str], tmp_path: Path) -> None:
    if shutil.which("go") is None:
        pytest.skip("NOT RUN: there is no Go toolchain on this machine")
    program = tmp_path / "mesh-refresh.go"
    program.write_text(block("go"))
    go = {**environment, "GO111MODULE": "off", "GOFLAGS": "", "GOCACHE": str(tmp_path / "cache")}
    assert run(go, "go", "run", str(program), *LOGINS) == REPLACED + REASONS
