"""What the page of the service says of options, limits and scopes is so."""

import re
from pathlib import Path

import pytest

from mesh_refresh.cli.fleet.worker.serve import serve
from mesh_refresh.service import Scope
from mesh_refresh.service.web.connection import ServedConnection
from mesh_refresh.service.web.guard import Guard
from mesh_refresh.service.web.listening import Listening
from mesh_refresh.service.web.routes import LARGE_BODY, SMALL_BODY
from tests.docs.test_public_names import table

pytestmark = pytest.mark.once

PAGE = (Path(__file__).parents[2] / "docs" / "service.md").read_text()


def options_of(words: list[str]) -> dict[str, object]:
    # click keeps the help option that it makes first, also for the tests that follow in this process.
    return serve.make_context("serve", words, help_option_names=["-h", "--help"]).params


def test_the_ways_to_listen_can_be_typed() -> None:
    shown = re.findall(r"^\| (?:on|elsewhere).*?`(--.*?)`", PAGE, re.MULTILINE)
    assert len(shown) == 3
    for words in shown:
        assert options_of(words.split())["listen"]


def test_every_scope_is_listed() -> None:
    assert list(table(PAGE, "scope")) == [scope.value for scope in Scope]


def test_the_limits_are_those_of_the_code() -> None:
    limits = re.search(r"\| what \| limit.*?\n\n", PAGE, re.DOTALL)
    assert limits is not None
    most_waiting = Guard.__attrs_attrs__.most_waiting.default
    assert f"| {Listening.limit:,}," in limits[0]
    assert f"| {most_waiting} |" in limits[0]
    assert limits[0].count(f"{ServedConnection.patience:.0f} seconds") == 2
    assert f"{SMALL_BODY >> 10} KiB, for `PUT` {LARGE_BODY >> 20} MiB" in limits[0]
