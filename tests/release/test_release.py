"""A small part of `nox -s release`: one wheel of this tree, and what the versions say."""

import shutil
from pathlib import Path

import pytest

from mesh_refresh.version import VERSION
from tests.release import archives, installs
from tests.release.versions import ROOT, disagreements

pytestmark = pytest.mark.once
CHANGES = f"# Changes\n\n## {VERSION}, 2026-11-30\n\n## 0.0.9, not released\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a copy, so that nothing is left in the tree: by the backend itself, which needs no network."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "mesh_refresh", folder / "mesh_refresh", ignore=shutil.ignore_patterns(*archives.NEVER))
    (built,) = archives.build(folder, folder / "dist", "1000000000", "--wheel")
    return built


def test_the_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    assert not list(archives.faults_of_a_wheel(wheel))
    for name in ("py.typed", "service/api/openapi.json", "service/page/templates/login.html"):
        assert f"mesh_refresh/{name}" in archives.files_of_the_package()


def test_a_file_too_many_and_one_too_few_are_found(wheel: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "mesh_refresh", tmp_path / "mesh_refresh", ignore=shutil.ignore_patterns("py.typed"))
    (tmp_path / "mesh_refresh" / "forgotten.html").touch()
    assert list(archives.faults_of_a_wheel(wheel, tmp_path)) == [
        "mesh_refresh/forgotten.html is not in the wheel",
        "mesh_refresh/py.typed does not belong into the wheel",
    ]


def test_every_extra_is_tried() -> None:
    assert set(installs.extras()) == {*installs.PROGRAMS, "all"}


def test_the_versions_agree() -> None:
    assert not list(disagreements())


@pytest.mark.parametrize(
    ("changes", "version", "tag", "said"),
    [
        (CHANGES, VERSION, f"v{VERSION}", []),
        (CHANGES.replace("2026-11-30", "not released"), VERSION, None, []),
        (CHANGES.replace("2026-11-30", "not released"), VERSION, f"v{VERSION}", ["'not released' and no date"]),
        (CHANGES, VERSION, "v9.9.9", ["the tag is v9.9.9"]),
        (CHANGES.replace(VERSION, "9.9.9"), "8.8.8", None, ["pyproject.toml says 8.8.8", "CHANGELOG.md is not of"]),
    ],
)
def test_what_disagrees_is_named(changes: str, version: str, tag: str | None, said: list[str], tmp_path: Path) -> None:
    (tmp_path / "CHANGELOG.md").write_text(changes)
    (tmp_path / "pyproject.toml").write_text(f'[project]\nversion = "{version}"\n')
    found = list(disagreements(tmp_path, tag))
    assert len(found) == len(said)
    assert all(part in fault for part, fault in zip(said, found, strict=True))
