"""Each error has an entry in docs/troubleshooting.md, and the commands that the docs name can be typed."""

import re
from inspect import isclass
from pathlib import Path

import click
import pytest

from mesh_refresh import MeshRefreshError
from mesh_refresh.cli.app import cli
from mesh_refresh.service import WebhookNotTaken
from tests.cli.test_app import commands
from tests.docs.test_public_names import MODULES, PAGES, ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
ENTRIES = re.findall(r"^### (\w+)\n\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.once


def command_of(names: tuple[str, ...]) -> click.Command:
    """The command that is typed so."""
    command: click.Command = cli
    for name in names:
        assert isinstance(command, click.Group)
        below = command.get_command(click.Context(command), name)
        assert below is not None
        command = below
    return command


COMMANDS = {names: command_of(names) for names in commands(cli) if names}


def test_every_error_has_an_entry() -> None:
    """Each public class once, and no other."""
    things = {name: getattr(module, name) for module in MODULES for name in module.__all__}
    errors = [name for name, it in things.items() if isclass(it) and issubclass(it, MeshRefreshError | WebhookNotTaken)]
    assert sorted(name for name, _ in ENTRIES) == sorted(set(errors) - {"MeshRefreshError"})


@pytest.mark.parametrize(("name", "text"), ENTRIES, ids=[name for name, _ in ENTRIES])
def test_every_entry_says_what_to_do(name: str, text: str) -> None:
    """What it means, and what to do."""
    assert "**Means.** " in text
    assert "**Do.** " in text


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_has_a_sentence(words: tuple[str, ...]) -> None:
    """Of every command, and the command has one too."""
    command = COMMANDS[words]
    assert (command.help or "").partition("\n\n")[0].strip().endswith("."), "the command says what it does"
    for option in command.params:
        if isinstance(option, click.Option):
            assert re.search(r"[A-Z].*\.", option.help or ""), f"{option.opts} has no sentence"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda it: it.stem)
def test_the_commands_of_the_docs_can_be_typed(page: Path) -> None:
    """A command that a page names is there, with the options that stand behind it."""
    for text in re.findall(r"mesh-refresh ([a-z][^`\n|#>;&]*)", page.read_text()):
        first, *others = text.split()
        if (first,) not in COMMANDS:
            continue  # the words of a sentence, such as "mesh-refresh sandbox"
        words = (first, others[0]) if others and (first, others[0]) in COMMANDS else (first,)
        known = {name for option in COMMANDS[words].params for name in (*option.opts, *option.secondary_opts)}
        for option in re.findall(r"(?<=\s)--[a-z][\w-]*", text):
            assert option in known | {"--help"}, f"{' '.join(words)} has no {option}"
