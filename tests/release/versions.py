"""The version stands in four places: the project, the package, the changes, and the tag of a release."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from mesh_refresh.version import VERSION

ROOT = Path(__file__).parents[2]


def disagreements(root: Path = ROOT, tag: str | None = None) -> Iterator[str]:
    """What is not of one version, in words. With a tag, the changes must say when it was released."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    if project != VERSION:
        yield f"pyproject.toml says {project}, mesh_refresh/version.py {VERSION}"
    heading = re.search(r"^## (\d\S*), (.+)$", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    if heading is None or heading[1] != VERSION:
        yield f"the newest heading of CHANGELOG.md is not of {VERSION}: {heading and heading[0]}"
    elif tag is not None and not re.fullmatch(r"\d{4}-\d\d-\d\d", heading[2]):
        yield f"CHANGELOG.md says {heading[2]!r} and no date"
    if tag is not None and tag != f"v{VERSION}":
        yield f"the tag is {tag}, the version {VERSION}"
