"""The page for people who change this package names files, folders and functions that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
PATHS = sorted(set(re.findall(r"`([\w./-]+(?:/|\.py|\.md))`", PAGE)))
PLACES = sorted(set(re.findall(r"`([A-Za-z_]\w*)`\s+in\s+`([\w./-]+\.py)`", PAGE)))
RULES = (ROOT / "mesh_refresh" / "keeper" / "rules" / "__init__.py").read_text()

pytestmark = pytest.mark.once


def found(path: str) -> Path | None:
    """The file or folder that the page means: below the package, or from the root."""
    return next((place for place in (ROOT / "mesh_refresh" / path, ROOT / path) if place.exists()), None)


def test_the_page_names_files() -> None:
    """Else the other tests would prove nothing."""
    assert len(PATHS) > 50
    assert len(PLACES) > 15


@pytest.mark.parametrize("path", PATHS)
def test_every_path_exists(path: str) -> None:
    """A file that moves takes the page along."""
    assert found(path) is not None, f"docs/architecture.md names {path}"


@pytest.mark.parametrize(("name", "path"), PLACES)
def test_every_name_is_where_the_page_says(name: str, path: str) -> None:
    """A function or class of that name stands in that file."""
    file = found(path)
    assert file is not None
    assert re.search(rf"^(async )?(def|class) {name}\b", file.read_text(), re.MULTILINE), f"{name} is not in {path}"


def test_every_folder_of_the_package_is_on_the_map() -> None:
    """Each of the first order, and those of the keeper."""
    folders = [path.parent for path in ROOT.glob("mesh_refresh/*/__init__.py")]
    folders += [path.parent for path in ROOT.glob("mesh_refresh/keeper/*/__init__.py")]
    missing = {f"{path.relative_to(ROOT / 'mesh_refresh')}/" for path in folders}.difference(PATHS)
    assert not missing


@pytest.mark.parametrize("path", sorted(ROOT.glob("mesh_refresh/keeper/rules/*.py")), ids=lambda path: path.stem)
def test_every_rule_names_its_page(path: Path) -> None:
    """A reader of a rule finds why it is so."""
    assert "docs/" in (ast.get_docstring(ast.parse(path.read_text())) or "")


def test_the_rules_name_pages_that_exist() -> None:
    """The decisions that the page of rules links to, and those of every module beside it."""
    sources = [*ROOT.glob("mesh_refresh/keeper/rules/*.py"), *ROOT.glob("mesh_refresh/keeper/limits/*.py")]
    pages = {page for source in sources for page in re.findall(r"docs/[\w/-]+\.md", source.read_text())}
    assert "docs/decisions/the-keeper.md" in pages
    assert not [page for page in pages if not (ROOT / page).exists()]
    assert all((ROOT / path).exists() for path in re.findall(r"tests/[\w/]+\.py", RULES))
