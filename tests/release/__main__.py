"""Builds and checks a release: ``python -m tests.release [v0.1.0] 3.11 3.12 ...``, for a tag, on these Pythons.

What is committed is built twice, in folders with other names and another umask. The two must be the same to the byte.
"""

import argparse
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mesh_refresh.version import VERSION
from tests.release import archives, installs
from tests.release.versions import ROOT, disagreements


def main() -> int:
    """1 where anything is wrong, and then dist/ is left as it was."""
    parser = argparse.ArgumentParser(prog="python -m tests.release")
    parser.add_argument("tag_and_pythons", nargs="+")
    words = parser.parse_args().tag_and_pythons
    tags = [word for word in words if word.startswith("v")]
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "dist")
        found = list(faults(Path(folder), made, next(iter(tags), None), [word for word in words if word not in tags]))
        if not found:
            shutil.copytree(made, ROOT / "dist", dirs_exist_ok=True)
            for path in sorted(made.glob("mesh_refresh-*")):
                sys.stdout.write(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  dist/{path.name}\n")
    for fault in found:
        sys.stderr.write(f"{fault}\n")
    return 1 if found else 0


def faults(folder: Path, made: Path, tag: str | None, pythons: list[str]) -> Iterator[str]:
    """What is wrong with a release, in words. Leaves archives and SBOM in `made`."""
    yield from disagreements(tag=tag)
    if archives.run("git", "status", "--porcelain", cwd=ROOT):
        yield "something is not committed, and would not be published"
    epoch = archives.run("git", "log", "-1", "--format=%ct", cwd=ROOT).strip()
    wheel, sdist = first = archives.build(_committed(folder / "one"), made, epoch)
    before = os.umask(0o077)
    second = archives.build(_committed(folder / "another of another length"), folder / "second", epoch)
    os.umask(before)
    yield from (f"{name} is not built the same twice" for name in archives.differing(first, second))
    yield from archives.faults_of_a_wheel(wheel)
    yield from archives.faults_of_an_sdist(sdist)
    archives.run("twine", "check", "--strict", *first)
    archives.run("check-wheel-contents", wheel)
    yield from installs.faults(wheel, pythons, folder / "installed")
    everything = installs.python_of(folder / "installed" / f"{pythons[-1]}-all")
    sbom = made / f"mesh_refresh-{VERSION}.cdx.json"
    options = ("--mc-type", "library", "--output-reproducible", "--pyproject", ROOT / "pyproject.toml", "-o", sbom)
    archives.run("cyclonedx-py", "environment", *options, everything, SOURCE_DATE_EPOCH=epoch)


def _committed(folder: Path) -> Path:
    """What HEAD holds, in a new folder."""
    tarred = subprocess.run(["git", "archive", "HEAD"], stdout=-1, check=True, cwd=ROOT).stdout
    with tarfile.open(fileobj=io.BytesIO(tarred)) as archive:
        archive.extractall(folder, filter="data")
    return folder


if __name__ == "__main__":
    sys.exit(main())
