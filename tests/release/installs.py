"""Installs a wheel with and without each extra, into new environments, and imports what that extra is for."""

import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.release.archives import run
from tests.release.versions import ROOT

CORE = "import mesh_refresh, mesh_refresh.strategies, mesh_refresh.testing"
PROGRAMS = {
    "": f"{CORE}\nimport mesh_refresh.stores.sqlite",
    "cli": "from mesh_refresh.cli import main\nimport mesh_refresh.keeper",
    "keeper": "from mesh_refresh.stores import Cipher\nimport mesh_refresh.keeper\nCipher([Cipher.generate_key()])",
    "postgres": "import asyncpg\nfrom mesh_refresh.stores.postgres import PostgresStore",
    "prometheus": "from mesh_refresh.telemetry import PrometheusObserver\nPrometheusObserver()",
    "otel": "from mesh_refresh.telemetry import OtelObserver\nOtelObserver()",
    "service": "from mesh_refresh.service import Service, Webhooks",
}
"""What must run with an extra, and with no extra."""
FOR_DEVELOPERS = {"dev", "bench", "docs", "release"}


def extras() -> list[str]:
    """The extras that users install; and no extra at all."""
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    return ["", *sorted(set(named) - FOR_DEVELOPERS)]


def program_of(extra: str) -> str:
    """What must run where `extra` is installed."""
    return "\n".join(PROGRAMS.values()) if extra == "all" else f"{CORE}\n{PROGRAMS[extra]}"


def install(wheel: Path, extra: str, python: str, folder: Path) -> Path:
    """A new environment with it. Gives its Python."""
    run("uv", "venv", "--quiet", "--python", python, folder)
    wanted = f"mesh-refresh[{extra}] @ {wheel.as_uri()}" if extra else str(wheel)
    run("uv", "pip", "install", "--quiet", "--python", folder, wanted)
    return python_of(folder)


def python_of(folder: Path) -> Path:
    """The Python of an environment."""
    return folder / ("Scripts/python.exe" if (folder / "Scripts").exists() else "bin/python")


def faults(wheel: Path, pythons: Iterable[str], folder: Path) -> Iterator[str]:
    """Which extra does not work on which Python."""
    for python in pythons:
        for extra in extras():
            found = install(wheel, extra, python, folder / f"{python}-{extra or 'none'}")
            try:
                run(found, "-W", "error", "-c", program_of(extra), cwd=folder)
                if extra in ("cli", "all"):
                    run(found.with_name("mesh-refresh"), "--version", cwd=folder)
            except (OSError, subprocess.CalledProcessError) as error:
                yield f"{extra or 'no extra'} on {python}: {error}"
