"""Keepers: their errors, with all that a traceback shows of our own frames."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mesh_refresh import MeshClient
from mesh_refresh.keeper import Keeper
from mesh_refresh.keeper.attempts import Attempt, Entry, Success
from mesh_refresh.keeper.spool import Spool
from mesh_refresh.stores import MemoryStore, PlainText
from mesh_refresh.testing import FakeMesh
from tests.keeper.unit.making import START
from tests.leaks.witness import KEYS, TOKENS, Witness, outcome_of, planted

SECRET = planted("secret")
ATTEMPT = Attempt("a", "L", 1, "e", SECRET, (("e", SECRET),), START)
KEPT = Success((Entry(TOKENS, own_refresh_token=True, brought_access=True, asked=True),))


@pytest.mark.parametrize(
    "wrong", [SECRET, SECRET.encode(), {"a": SECRET}, [SECRET], [("a", SECRET)], [("a", [SECRET])]]
)
async def test_what_is_no_login(watched: Witness, fake: FakeMesh, wrong: Any) -> None:
    """A secret where logins should be, or with a span that is none."""
    async with (
        MeshClient(fake.client_id, KEYS["client secret"], base_url=fake.base_url) as mesh,
        Keeper(mesh, MemoryStore(), background=False) as keeper,
    ):
        watched.look_at(await outcome_of(keeper.add_many(wrong)))
        watched.look_at(await outcome_of(keeper.add("a", wrong)))
        watched.look_at(await outcome_of(keeper.add_many([("a", TOKENS)], spread=timedelta(-1))))


async def test_a_spool_in_plain_text(watched: Witness, tmp_path: Path) -> None:
    """Files that cannot be written, that are damaged, and that are sealed with another key."""
    spool = Spool(tmp_path / "spool", PlainText())
    path = await spool.write(ATTEMPT, KEPT)
    whole = path.read_bytes()
    for content in (whole[:-9], whole.replace(b"number", b"numero"), whole[1:]):
        path.write_bytes(content)
        watched.look_at(await outcome_of(spool.read()))
    (tmp_path / "no folder").write_text("")
    watched.look_at(await outcome_of(Spool(tmp_path / "no folder", PlainText()).write(ATTEMPT, KEPT)))
