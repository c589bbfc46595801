"""What the docs must have and the code must keep: every public name, every row of a table, every link."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from enum import Enum, StrEnum
from inspect import getdoc, isclass
from pathlib import Path
from types import ModuleType

import pytest
from attrs import fields

import mesh_refresh
from mesh_refresh import MeshRefreshError, keeper, service, stores, strategies, sync, telemetry, testing
from mesh_refresh.keeper import AccountEvent, AccountState, BreakerEvent, Keeper, Policy
from mesh_refresh.stores import postgres, sqlite

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
ERRORS = (ROOT / "docs" / "errors-and-retries.md").read_text()
KEEPER = (ROOT / "docs" / "keeper.md").read_text()
EVENTS = (ROOT / "docs" / "events.md").read_text()

MODULES = [mesh_refresh, strategies, keeper, stores, sqlite, postgres, service, sync, telemetry, testing]
PUBLIC = [(module, name) for module in MODULES for name in module.__all__]
CONSTANTS = {"PRODUCTION_URL", "SANDBOX_URL", "Outcome", "Event", "AnsweredFrom", "Observation"}
"""What can have no docstring of its own."""
SECTIONS = {
    "The keeper": [keeper],
    "Without an event loop": [sync],
    "Stores": [stores, sqlite, postgres],
    "Telemetry": [telemetry],
    "Service": [service],
    "Testing": [testing],
}
"""Whose names these are: some names are of several modules, for different things."""


def rows(page: str) -> Iterator[list[str]]:
    """The cells of every row of the page's tables."""
    for line in page.splitlines():
        if line.startswith("|") and not line.startswith("|--"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def named(page: str) -> list[str]:
    """The names that the page's tables are about."""
    return [found[1] for cells in rows(page) if (found := re.fullmatch(r"`(\w+)`", cells[0]))]


def section(page: str, title: str) -> str:
    """What stands under a heading of the second order."""
    _, _, rest = page.partition(f"\n## {title}\n")
    return rest.partition("\n## ")[0]


def table(page: str, head: str) -> dict[str, list[str]]:
    """The rows of the table whose first column is headed so, by their first cells."""
    cells = list(rows(page))
    begin = next(index for index, row in enumerate(cells) if row[0] == head)
    found: dict[str, list[str]] = {}
    for first, *others in cells[begin + 1 :]:
        if not first.startswith("`"):
            break
        found[first.strip("`")] = others
    return found


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=lambda it: it if isinstance(it, str) else it.__name__)
def test_every_public_name_is_documented(module: ModuleType, name: str) -> None:
    """It has a row in the reference, and a docstring of its own."""
    assert name in named(REFERENCE), f"docs/reference.md has no row for {name}"
    thing = getattr(module, name)
    if name not in CONSTANTS:
        inherited = {getdoc(base) for base in thing.__mro__[1:]} if isclass(thing) else set()
        assert thing.__doc__, f"{name} has no docstring"
        assert thing.__doc__ not in inherited, f"{name} has no docstring of its own"
    if isclass(thing) and issubclass(thing, Enum):
        assert thing.__doc__ != Enum.__doc__


def test_the_reference_names_nothing_else() -> None:
    """A name that is gone is gone from the reference too, and each thing is there once, whatever modules have it."""
    things = {(name, id(getattr(module, name))) for module, name in PUBLIC}
    assert Counter(named(REFERENCE)) == Counter(name for name, _ in things)


@pytest.mark.parametrize("title", SECTIONS)
def test_each_name_is_where_it_belongs(title: str) -> None:
    """What a section says of a name is said of the module's that the section is about."""
    names = {name for module in SECTIONS[title] for name in module.__all__}
    assert set(named(section(REFERENCE, title))) == names


def test_every_verb_of_the_keeper_is_documented() -> None:
    """The reference has a row for each, and for no other."""
    rows_of_verbs = [cells[0] for cells in rows(section(REFERENCE, "The keeper")) if "(" in cells[0]]
    documented = [verb for cell in rows_of_verbs for verb in re.findall(r"`(\w+)\(", cell)]
    public = [name for name, it in vars(Keeper).items() if not name.startswith("_") and not isinstance(it, property)]
    assert sorted([*documented, "run"]) == sorted(public)


def test_every_field_of_the_policy_is_documented_with_its_default() -> None:
    """The table on the keeper's page."""
    units = r"(?P<number>\d+) (?P<unit>second|minute|hour|day)s?"

    def value(text: str) -> object:
        if found := re.fullmatch(units, text):
            return timedelta(**{f"{found['unit']}s": int(found["number"])})
        return None if text == "none" else float(text)

    documented = {name: value(cells[0]) for name, cells in table(KEEPER, "field").items()}
    assert documented == {field.name: field.default for field in fields(Policy)}


@pytest.mark.parametrize(
    ("page", "head", "members"),
    [
        (KEEPER, "state of an account", AccountState),
        (KEEPER, "reason", keeper.Reason),
        (EVENTS, "fault of a breaker", keeper.BreakerFault),
    ],
)
def test_every_state_reason_and_fault_is_documented(page: str, head: str, members: type[StrEnum]) -> None:
    """The tables have each, in order."""
    assert list(table(page, head)) == [str(member) for member in members]


def test_every_event_is_documented() -> None:
    """The page on events has a row for each, which names what that event alone carries."""
    kinds: list[type[AccountEvent | BreakerEvent]] = [*AccountEvent.__subclasses__(), *BreakerEvent.__subclasses__()]
    documented = table(EVENTS, "event")
    assert set(documented) == {kind.__name__ for kind in kinds}
    for kind in kinds:
        inherited = fields(AccountEvent if issubclass(kind, AccountEvent) else BreakerEvent)
        own = {field.name for field in fields(kind)} - {field.name for field in inherited} | (
            {"fault"} if issubclass(kind, BreakerEvent) else set()
        )
        assert set(re.findall(r"`(\w+)`", documented[kind.__name__][1])) == own


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_what_is_listed_is_there(module: ModuleType) -> None:
    """`__all__` is what `import *` finds, each name once."""
    assert len(module.__all__) == len(set(module.__all__))
    assert not [name for name in module.__all__ if not hasattr(module, name)]


def public_errors() -> dict[str, type[MeshRefreshError]]:
    """All of them but their root."""
    found = {name: getattr(mesh_refresh, name) for name in mesh_refresh.__all__}
    return {
        name: thing
        for name, thing in found.items()
        if isclass(thing) and issubclass(thing, MeshRefreshError) and thing is not MeshRefreshError
    }


def test_the_table_of_errors_is_right() -> None:
    """It has every error, and says of each what the class says of itself."""
    table = {cells[0].strip("`"): cells[2:5] for cells in rows(ERRORS) if cells[0].startswith("`")}
    words = {True: "yes", False: "no"}
    assert table == {
        name: [words[error.retryable], words[error.needs_reconnect], words[error.token_may_be_spent]]
        for name, error in public_errors().items()
    }


def test_the_table_of_exit_codes_is_right() -> None:
    """The page of the command line has every exit code of `mesh-refresh refresh`."""
    exits = pytest.importorskip("mesh_refresh.cli.terminal.exit_codes")
    page = (ROOT / "docs" / "command-line.md").read_text()
    codes = [int(code) for cells in rows(section(page, "Exit codes")) for code in re.findall(r"\d+", cells[0])]
    assert codes == sorted(exits.Exit)


def anchors(page: Path) -> set[str]:
    """Those that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ +(.+?)\s*$", without_code(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def without_code(text: str) -> str:
    """The prose of a page: no blocks, no comments."""
    text = re.sub(r"^<!--.*?-->", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Each link to a page of ours finds the page, and its heading."""
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert target.resolve().is_relative_to(ROOT), f"{link} leads out of the repository"
        assert not heading or heading in anchors(target), f"{link} has no such heading"


def test_every_page_is_listed() -> None:
    """No page of the docs is missing in their index."""
    index = ROOT / "docs" / "index.md"
    links = {(index.parent / link).resolve() for link in re.findall(r"\]\(([^)#\s]+)\)", index.read_text())}
    assert set(ROOT.glob("docs/**/*.md")) - {index} <= links


def test_the_readme_passes_the_tests_word_for_word() -> None:
    """`.ci/run` takes the command from this block."""
    command = 'python3 -m venv .venv && .venv/bin/pip install "nox[uv]" && .venv/bin/nox'
    assert f"<!-- command: tests -->\n```console\n{command}\n```\n" in (ROOT / "README.md").read_text()
