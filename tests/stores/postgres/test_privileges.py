"""A worker's role needs few rights, and is told when it lacks one."""

from functools import partial
from typing import Any

import asyncpg
import pytest
from attrs import evolve

from mesh_refresh.stores import NoticePage, Page, ProcessReport, StoredFigures, StoreUnavailable
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.stores.postgres.connection.failures import failure
from mesh_refresh.testing.conformance.store_kit import LEASE, NOW, a_request, a_row, fill, kept
from mesh_refresh.testing.conformance.store_outbox import a_notice
from tests.stores.postgres.bystander import Fleet, a_role

pytestmark = pytest.mark.once

LEAST = {
    "schema": "GRANT USAGE ON SCHEMA {schema} TO {role}",
    "version": "GRANT SELECT ON {schema}.version TO {role}",
    "seal": "GRANT SELECT, INSERT, UPDATE ON {schema}.seal TO {role}",
    "login": "GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.login TO {role}",
    "pause": "GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.pause TO {role}",
    "notice": "GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.notice TO {role}",
    "report": "GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.report TO {role}",
    "duty": "GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.duty TO {role}",
    "figures": "GRANT SELECT, INSERT, UPDATE ON {schema}.figures TO {role}",
    "resumed": "GRANT SELECT, INSERT, UPDATE ON {schema}.resumed TO {role}",
}
"""The docs show these."""


async def every_verb(store: PostgresStore) -> None:
    await fill(store, a_row(sealed=store.cipher.seal("text", "login:a")), a_row("b"))
    assert await store.swap(evolve(await kept(store), states=frozenset({"mfa_required"})))
    assert len(await store.claim(a_request())) == 2
    assert await store.claim_one("a", "me", LEASE)
    assert await store.delete("b")
    assert len(await store.rows(Page(1, states=frozenset(["mfa_required"])))) == 1
    assert len(await store.counts(NOW)) == 1
    for paused in (True, True, False):
        await store.pause("x", paused=paused)
    assert not await store.paused()
    assert set(await store.resumed()) == {"x"}
    assert (await store.reseal()).number == 1
    await every_verb_of_the_parts(store)


async def every_verb_of_the_parts(store: PostgresStore) -> None:
    outbox, registry = store.outbox, store.registry
    sealed = store.cipher.seal("text", "notice:1:1:c")
    assert await store.insert(a_row("c"), notices=[a_notice("1", "c", sealed=sealed)])
    assert await store.swap(await kept(store, "c"), notices=[a_notice("2", "c")])
    for end in (partial(outbox.give_back, due_at=NOW), outbox.bury):
        assert [it.id for it in await outbox.claim("me", LEASE, now=NOW, limit=9)] == ["1"]
        assert await end("1", "me")
    assert await outbox.resend("1", NOW)
    assert await outbox.claim("me", LEASE, now=NOW, limit=9)
    assert await outbox.take("2", "me")
    assert await outbox.reseal("1", sealed)
    assert await outbox.put(await outbox.of("c")) == 0
    assert (await outbox.counts()).waiting == len(await outbox.page(NoticePage(9))) == 1
    assert await outbox.purge(NOW - LEASE) == await outbox.drop(["none"]) == 0
    assert await store.delete("c")
    await registry.put_report(ProcessReport("me", "run", NOW, b""))
    await registry.put_report(ProcessReport("me", "run", NOW, b""))
    assert len(await registry.reports()) == 1
    assert await registry.purge_reports(NOW) == 0
    assert await registry.delete_report("me")
    assert [await registry.claim_duty("count", owner, LEASE) for owner in ("me", "me", "other")] == [True, True, False]
    assert await registry.release_duty("count", "me")
    for _ in range(2):
        await registry.put_figures(StoredFigures(NOW, b""))
    assert await registry.figures()


@pytest.mark.parametrize("partitions", [0, 2])
async def test_the_least_rights_suffice_for_every_verb(empty: Fleet, partitions: int) -> None:
    """Of the parts of a table none are needed."""
    async with empty.store(migrate=True, partitions=partitions):
        pass
    await empty.sql("DELETE FROM {schema}.seal")
    async with a_role(empty, *LEAST.values()) as url, empty.store(url=url) as store:
        await every_verb(store)


async def test_each_of_them_is_needed(fleet: Fleet) -> None:
    """Without it the store says so, at opening or by the verb that needs it."""
    for missing in LEAST:
        grants = [grant for name, grant in LEAST.items() if name != missing]
        async with a_role(fleet, *grants) as url:
            thing = f"schema {fleet.schema}" if missing == "schema" else f"table {missing}"
            text = rf"does not let this role do that: .* \(SQLSTATE 42501, permission denied for {thing}\)"
            with pytest.raises(StoreUnavailable, match=text):
                await _open_and_use(fleet, url)


def test_of_what_the_server_says_only_the_name_of_a_thing_is_shown() -> None:
    """Other messages may have values in them, or be in another language."""
    for said in (
        "permission denied for table a planted value", "permission denied for table login\nplanted",
        "permission denied to set parameter \"planted\"", "keine Berechtigung für Tabelle planted",
    ):  # fmt: skip
        error = asyncpg.InsufficientPrivilegeError(said)
        error.message = said
        assert "names under Rights what it needs. (SQLSTATE 42501)" in str(failure(error, "x"))


async def _open_and_use(fleet: Fleet, url: str) -> None:
    async with fleet.store(url=url) as store:
        await store.claim(a_request())
        await store.pause("x")
        await store.resumed()
        await every_verb_of_the_parts(store)


async def test_each_single_right_is_needed(fleet: Fleet) -> None:
    """So that the docs name none too many."""
    needed: dict[str, Any] = {
        "INSERT ON {schema}.login": lambda store: store.insert(a_row("b")),
        "UPDATE ON {schema}.login": lambda store: store.claim(a_request()),
        "DELETE ON {schema}.login": lambda store: store.delete("a"),
        "INSERT ON {schema}.pause": lambda store: store.pause("x"),
        "UPDATE ON {schema}.pause": lambda store: store.pause("x"),
        "DELETE ON {schema}.pause": lambda store: store.pause("x", paused=False),
        "INSERT ON {schema}.resumed": lambda store: store.pause("x", paused=False),
        "UPDATE ON {schema}.resumed": lambda store: store.pause("x", paused=False),
        "INSERT ON {schema}.notice": lambda store: store.insert(a_row("n"), notices=[a_notice("1", "n")]),
        "UPDATE ON {schema}.notice": lambda store: store.outbox.claim("me", LEASE, now=NOW, limit=1),
        "DELETE ON {schema}.notice": lambda store: store.delete("a"),
        "INSERT ON {schema}.report": lambda store: store.registry.put_report(ProcessReport("me", "", NOW, b"")),
        "UPDATE ON {schema}.report": lambda store: store.registry.put_report(ProcessReport("me", "", NOW, b"")),
        "DELETE ON {schema}.report": lambda store: store.registry.delete_report("me"),
        "INSERT ON {schema}.duty": lambda store: store.registry.claim_duty("count", "me", LEASE),
        "UPDATE ON {schema}.duty": lambda store: store.registry.claim_duty("count", "me", LEASE),
        "DELETE ON {schema}.duty": lambda store: store.registry.release_duty("count", "me"),
        "INSERT ON {schema}.figures": lambda store: store.registry.put_figures(StoredFigures(NOW, b"")),
        "UPDATE ON {schema}.figures": lambda store: store.registry.put_figures(StoredFigures(NOW, b"")),
        "UPDATE ON {schema}.seal": lambda store: store.reseal(),
    }
    for right, verb in needed.items():
        async with (
            a_role(fleet, *LEAST.values(), f"REVOKE {right} FROM {{role}}") as url,
            fleet.store(url=url) as store,
        ):
            with pytest.raises(StoreUnavailable, match="SQLSTATE 42501"):
                await verb(store)


async def test_whoever_migrates_needs_more(fleet: Fleet) -> None:
    """To make the schema; where it is of this version already, the least rights suffice for that too."""
    async with a_role(fleet, *LEAST.values()) as url:
        async with fleet.store(url=url, migrate=True) as store:
            await every_verb(store)
        late = fleet.store(url=url, schema=f"{fleet.schema}_other", migrate=True)
        with pytest.raises(StoreUnavailable, match="does not let this role"):
            _ = await late
