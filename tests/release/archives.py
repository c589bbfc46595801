"""Builds what is published, and looks into it."""

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.release.versions import ROOT

PROGRAMS = Path(sys.executable).parent
NEVER = {"__pycache__", ".hypothesis"}


def run(*command: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """What a command prints, which must succeed. A program of a package is beside this Python."""
    program = PROGRAMS / command[0]
    found = program if program.exists() else command[0]
    ran = subprocess.run(
        [found, *command[1:]], stdout=-1, text=True, check=True, cwd=cwd, env={**os.environ, **environment}
    )
    return ran.stdout


def build(source: Path, into: Path, epoch: str, *kinds: str) -> list[Path]:
    """The sdist, and the wheel that is built from it; or of `kinds` alone, such as ``--wheel``."""
    run("uv", "build", "--quiet", *kinds, "--out-dir", into, source, SOURCE_DATE_EPOCH=epoch)
    return sorted(path for path in into.iterdir() if path.suffix in (".whl", ".gz"))


def files_of_the_package(root: Path = ROOT) -> set[str]:
    """Everything below mesh_refresh, by paths from the root: what a wheel must have, data files too."""
    found = (path for path in (root / "mesh_refresh").rglob("*") if path.is_file())
    return {str(path.relative_to(root)) for path in found if NEVER.isdisjoint(path.parts)}


def faults_of_a_wheel(wheel: Path, root: Path = ROOT) -> Iterator[str]:
    """Files too many, or too few, in words."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = files_of_the_package(root)
    yield from (f"{name} is not in the wheel" for name in sorted(wanted - names))
    yield from (f"{name} does not belong into the wheel" for name in sorted(names - wanted))


def faults_of_an_sdist(sdist: Path) -> Iterator[str]:
    """What must be in it, so that it can be built and tested, in words."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = ["LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "noxfile.py", "conftest.py"]
    wanted += ["tests/conftest.py", "docs/index.md", ".github/CONTRIBUTING.md", *sorted(files_of_the_package())]
    yield from (f"{name} is not in the sdist" for name in wanted if name not in names)


def differing(first: Sequence[Path], second: Sequence[Path]) -> list[str]:
    """Names of archives that are not the same to the byte."""
    pairs = zip(first, second, strict=True)
    return [one.name for one, other in pairs if one.name != other.name or one.read_bytes() != other.read_bytes()]
