"""Which Pythons this machine has, and where packages come from. For `noxfile.py`: nothing but the standard library."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13", "3.14")


def found_versions() -> list[str]:
    """Versions to test on, of which the interpreters are put where nox looks for them: on PATH."""
    found: dict[str, Path] = {}
    for python in interpreters():
        named = python.name.removeprefix("python")
        if named in found or (python != Path(sys.executable) and not python.is_file()):
            continue
        if (version := version_of(python)) is not None and version in VERSIONS:
            found.setdefault(version, python)
    folders = [str(python.parent) for python in found.values() if python != Path(sys.executable)]
    os.environ["PATH"] = os.pathsep.join(chain(dict.fromkeys(folders), os.get_exec_path()))
    return [version for version in VERSIONS if version in found]


def interpreters() -> Iterator[Path]:
    """Interpreters that may be there: the one that runs nox, those on PATH, those that pyenv has installed."""
    yield Path(sys.executable)
    for folder in os.get_exec_path():
        for version in VERSIONS:
            yield Path(folder, f"python{version}")
    for version in VERSIONS:
        root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
        releases = (found for found in root.glob(f"versions/{version}.*") if re.fullmatch(r"[\d.]+", found.name))
        newest_first = sorted(releases, key=lambda found: [int(part) for part in found.name.split(".")], reverse=True)
        yield from (found / "bin" / f"python{version}" for found in newest_first)


def version_of(python: Path) -> str | None:
    """`3.12` for an interpreter that starts and can make environments; a pyenv shim of a version that is off cannot."""
    program = "import ssl, sys, venv; print('%d.%d' % sys.version_info[:2])"
    try:
        ran = subprocess.run([python, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ran.stdout.strip() if ran.returncode == 0 else None


def same_index_as_pip() -> None:
    """Where pip is told to use a mirror or a certificate of its own, tell uv, which does not read pip's settings."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    settings = dict(re.findall(r"^\S+?\.([a-z-]+)='(.*)'$", listed.stdout, re.MULTILINE))
    for setting, variable in (("index-url", "UV_DEFAULT_INDEX"), ("cert", "SSL_CERT_FILE")):
        if setting in settings:
            os.environ.setdefault(variable, settings[setting])
