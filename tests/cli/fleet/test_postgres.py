"""The commands on a PostgreSQL database: the same as on a file, after `migrate`; and `copy` between both."""

import asyncio
import json
import os
import re
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import asyncpg
import pytest

from mesh_refresh.cli.fleet.store.copy import _Progress
from mesh_refresh.cli.fleet.support.store_location import StoreLocation
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.keeper import Copied
from mesh_refresh.keeper.transfer.step import Carrier
from mesh_refresh.stores import Cipher, Row
from mesh_refresh.stores.postgres.queries import migrations
from tests.cli.fleet.conftest import OpenFleet
from tests.postgres_server import with_options
from tests.stores.postgres.postgres_handles import new_schema

pytestmark = pytest.mark.once


@pytest.fixture
def url(postgres: str) -> str:
    """A place for a store of its own."""
    return with_options(postgres, schema=new_schema("cli"))


@pytest.fixture
def database(fleet: OpenFleet, url: str) -> OpenFleet:
    """``mesh-refresh`` with that store in its environment, its tables made."""
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_STORE", url)
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_SPOOL", "spool")
    assert fleet("migrate").code == 0
    return fleet


def test_tables_must_be_made_first(fleet: OpenFleet, url: str) -> None:
    """The error says how; and making them twice does no harm."""
    for command in (("status",), ("import", "-"), ("run", "--once")):
        ran = fleet(*command, "--store", url)
        assert ran.code == Exit.STORE
        assert "mesh-refresh migrate" in ran.err
    for said in ("were made, with version 1.", "exist, and have version 1: there was nothing to do."):
        ran = fleet("migrate", "--store", url)
        assert (ran.code, ran.err) == (0, f"mesh-refresh: the tables {said}\n")
    assert json.loads(fleet("status", "--json", "--store", url).out)["logins"] == 0


@pytest.mark.parametrize("command", [("status",), ("run",), ("migrate",), ("copy", "fleet.db")])
def test_what_only_a_person_can_mend_is_no_reason_to_run_it_again(
    fleet: OpenFleet, url: str, command: tuple[str, ...]
) -> None:
    """The role may not log in, there is no such database, or it may not use the tables."""
    fleet.add("user-7")
    parts = urlsplit(url)
    wrong = {
        "refused the login": parts._replace(netloc=f"no_such_role:planted-secret@{parts.netloc.rpartition('@')[2]}"),
        "has no such database": parts._replace(path="/no_such_database"),
    }
    for text, store in wrong.items():
        ran = fleet(*command, *([] if command[0] == "copy" else ["--store"]), store.geturl())
        assert ran.code == Exit.STORE
        assert text in ran.err
        assert "An operator has to fix this" in ran.err
        assert "planted-secret" not in ran.err


def test_without_its_driver_a_database_is_a_store_that_will_not_do(fleet: OpenFleet, url: str) -> None:
    """The error names the extra."""
    fleet.cli.monkeypatch.setitem(sys.modules, "asyncpg", None)
    for command in ("status", "migrate"):
        ran = fleet(command, "--store", url)
        assert ran.code == Exit.INVALID
        assert "the extra postgres brings" in ran.err


def test_a_worker_may_migrate_where_there_is_nothing_to_do(fleet: OpenFleet, url: str) -> None:
    """With the rights that the docs grant to it, and no others."""
    assert fleet("migrate", "--store", url).code == 0
    page = (Path(__file__).parents[3] / "docs" / "postgresql.md").read_text()
    grants = page.partition("### Rights")[2].partition("```sql\n")[2].partition("```")[0]
    parts = urlsplit(url)
    schema = dict(parse_qsl(parts.query))["schema"]
    role = f"worker_of_{schema}"

    async def run(text: str) -> None:
        connection = await asyncpg.connect(url.replace(f"&schema={schema}", "").replace(f"?schema={schema}", ""))
        await connection.execute(text)
        await connection.close()

    granted = grants.replace("mesh_refresh", schema).replace("TO fleet", f"TO {role}")
    asyncio.run(run(f"CREATE ROLE {role} LOGIN PASSWORD 'x'; {granted}"))
    try:
        worker = parts._replace(netloc=f"{role}:x@{parts.netloc.rpartition('@')[2]}").geturl()
        assert fleet("migrate", "--store", worker).code == 0
        assert fleet("migrate", "--store", f"{worker}_other").code == Exit.STORE
    finally:
        asyncio.run(run(f"DROP OWNED BY {role}; DROP ROLE {role}"))


def test_no_key_is_needed_to_make_the_tables(fleet: OpenFleet, url: str) -> None:
    fleet.cli.monkeypatch.delenv("MESH_REFRESH_KEYS")
    assert fleet("migrate", "--store", url, "--partitions", "3").code == 0


def test_it_is_said_which_version_the_tables_had(fleet: OpenFleet, url: str) -> None:
    assert fleet("migrate", "--store", url).code == 0
    more = {**migrations(), 2: "CREATE TABLE {schema}.more (n int);"}
    fleet.cli.monkeypatch.setattr("mesh_refresh.stores.postgres.schema.migrate.migrations", lambda: more)
    ran = fleet("migrate", "--store", url)
    assert (ran.code, ran.err) == (0, "mesh-refresh: the tables were upgraded from version 1 to version 2.\n")


@pytest.mark.parametrize(("made", "found"), [((), "no"), (("--partitions", "3"), "3")])
def test_other_partitions_than_there_are_cannot_be_had(
    fleet: OpenFleet, url: str, made: tuple[str, ...], found: str
) -> None:
    """They were passed over in silence. As many as there are, or not said how many, is as before."""
    ran = fleet("migrate", "--store", url, *made)
    assert ("and 3 partitions" in ran.err) is bool(made)
    ran = fleet("migrate", "--store", url, "--partitions", "5")
    assert ran.code == Exit.INVALID
    assert f"has {found} partitions, and 5 were asked for." in ran.err
    assert "Nothing was changed." in ran.err
    assert fleet("migrate", "--store", url, *made).code == fleet("migrate", "--store", url).code == 0


def test_a_file_is_made_or_there(fleet: OpenFleet) -> None:
    for said in ("was made.", "exists, and has this version."):
        assert fleet("migrate").err == f"mesh-refresh: the store {said}\n"


def test_a_file_has_no_partitions(fleet: OpenFleet) -> None:
    assert fleet("migrate", "--partitions", "3").code == Exit.INVALID


def test_a_fleet_is_kept(database: OpenFleet) -> None:
    """Imported, refreshed, listed, paused, asked for a code, sealed anew, removed."""
    database.add("user-7")
    coded = database.add("user-8", "vanguard", mfa=True)
    assert database.once().code == Exit.CODE_NEEDED
    assert database.states() == {"user-7": "active", "user-8": "mfa_required"}
    assert database("mfa", "user-8", "--code-stdin", stdin=f"{coded.code}\n").code == 0
    assert set(database.states().values()) == {"active"}
    assert database("pause", "coinbase").code == 0
    assert json.loads(database("status", "--json").out)["paused"] == ["coinbase"]
    assert database("resume", "coinbase").code == 0
    database.cli.monkeypatch.setenv("MESH_REFRESH_KEYS", f"{Cipher.generate_key()},{database.key}")
    assert "2 logins" in database("key", "reseal").err
    assert database("remove", "user-7", "--yes").code == 0
    assert list(database.states()) == ["user-8"]


def test_the_spool_of_a_database_is_in_the_users_own_folder(fleet: OpenFleet, url: str) -> None:
    """Where nothing else is said; and two databases have two."""
    fleet.cli.monkeypatch.setenv("XDG_STATE_HOME", "/state")
    one, other = (StoreLocation(each).spool(None) for each in (url, f"{url}_2"))
    assert one.parent == other.parent == Path("/state/mesh-refresh")
    assert one != other
    assert StoreLocation(with_options(url, password="planted-secret")).spool(None) == one, "it is the same database"


def test_a_fleet_is_moved_from_a_file_to_a_database_and_back(fleet: OpenFleet, url: str) -> None:
    """With a key of its own there. Workers on the file have nothing to do any more; a second run neither."""
    for number in range(5):
        fleet.add(f"user-{number}", access_lifetime=timedelta(hours=1))
    fleet("pause", "robinhood")
    key = Cipher.generate_key()
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_TO_KEYS", key)
    assert fleet("migrate", "--store", url).code == 0
    paused = "mesh-refresh: paused in TO as in FROM: robinhood. `mesh-refresh resume` ends a pause.\n"
    for said in (f"5 logins moved.\n{paused}", "there was nothing to move.\n"):
        ran = fleet("copy", "--yes", "fleet.db", url)
        assert (ran.code, ran.err) == (0, f"mesh-refresh: {said}")
    assert "Moved to another store: 5." in fleet("status").out
    assert {it["moving"] for it in fleet.listed()} == {"moved"}
    assert fleet.once().code == 0
    assert not fleet.fake.requests
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_TO_KEYS", fleet.key)
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_KEYS", key)
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_STORE", url)
    assert fleet.once().code == 0
    assert len(fleet.fake.requests) == 5
    assert fleet("copy", "--yes", url, "fleet.db").err == "mesh-refresh: 5 logins moved.\n"
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_KEYS", fleet.key)
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_STORE", "fleet.db")
    assert {it["moving"] for it in fleet.listed()} == {None}
    assert set(fleet.states().values()) == {"active"}
    assert json.loads(fleet("status", "--json").out)["paused"] == ["robinhood"]
    assert not fleet.fake.sent_twice()


def test_what_is_at_work_is_left_with_a_word(fleet: OpenFleet) -> None:
    """`--no-wait` tells how many, and when; the exit code says that it must be run again."""
    fleet.add("user-7")

    async def leased(store: object) -> None:
        await store.claim_one("user-7", "somebody", timedelta(minutes=3))  # type: ignore[attr-defined]

    fleet.store(leased)
    ran = fleet("copy", "--yes", "--no-wait", "fleet.db", "other.db")
    assert ran.code == Exit.TRY_AGAIN
    assert "1 cannot be moved yet" in ran.err


def test_a_wait_is_told_once_and_for_what(fleet: OpenFleet) -> None:
    """Again only where something has changed: the end of a lease comes out a little different at each look."""
    now = datetime.now(UTC)
    fleet.cli.monkeypatch.setattr("mesh_refresh.keeper.transfer.copy_fleet._LONGEST_PAUSE", timedelta(milliseconds=10))
    fleet.add("user-7")

    async def leased(store: object) -> None:
        await store.claim_one("user-7", "somebody", timedelta(seconds=1))  # type: ignore[attr-defined]

    fleet.store(leased)
    told = fleet("copy", "--yes", "--resend-after", "0s", "fleet.db", "other.db").err.splitlines()
    assert len(told) == 2
    assert re.fullmatch(
        r"\S+ 0 logins moved, 1 cannot be moved yet, the last .*Z\. Waiting: a worker holds .*", told[0]
    )
    assert told[1] == "mesh-refresh: 1 login moved."

    progress = _Progress(quiet=False)
    fleet.cli.capsys.readouterr()
    for seconds, left in ((60, 2), (61, 2), (60, 2), (60, 1), (180, 1), (182, 1)):
        progress(Copied(left=left, until=now + timedelta(seconds=seconds)))
        progress(Copied(left=left, until=now + timedelta(seconds=seconds), waits=True))
    assert len(fleet.cli.capsys.readouterr().err.splitlines()) == 3


def test_a_copy_needs_two_stores_and_their_keys(fleet: OpenFleet) -> None:
    """Nothing is moved where one of them does not open."""
    fleet.add("user-7")
    assert fleet("copy", "fleet.db", "fleet.db").code == Exit.INVALID
    Path("symlink.db").symlink_to("fleet.db")
    Path("hardlink.db").hardlink_to("fleet.db")
    Path("copied.db").write_bytes(Path("fleet.db").read_bytes())
    for name, said in (
        ("symlink", "are the same store"),
        ("hardlink", "are the same store"),
        ("copied", "are the same store"),
    ):
        ran = fleet("copy", "fleet.db", f"{name}.db")
        assert ran.code == Exit.INVALID
        assert said in ran.err
        Path(f"{name}.db").unlink()
    assert fleet("copy", "none.db", "other.db").code == Exit.INVALID
    assert fleet("copy", "fleet.db", "other.db", "--from-plaintext").code == Exit.INVALID
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_KEYS", Cipher.generate_key())
    ran = fleet("copy", "fleet.db", "other.db")
    assert ran.code == Exit.STORE
    assert "mesh-refresh: FROM: What the store holds is not sealed with any of these keys." in ran.err
    assert "Its keys are in MESH_REFRESH_KEYS. Nothing was moved by this run." in ran.err
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_KEYS", fleet.key)
    assert fleet.states() == {"user-7": "active"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_copy_that_is_told_to_end_leaves_no_lease(fleet: OpenFleet, url: str, number: int, code: int) -> None:
    """What is under way is moved first, so that the next run has to wait for nothing; it is said how far it came."""
    lines = "".join(fleet.line(f"user-{it:02}", fleet.fake.login("coinbase")) for it in range(30))
    assert fleet("import", "-", "-q", stdin=lines).code == 0
    assert fleet("migrate", "--store", url).code == 0
    begun, carry = [], Carrier.carry

    async def interrupted(carrier: Carrier, row: Row) -> str:
        begun.append(row)
        if len(begun) == 15:
            os.kill(os.getpid(), number)
        return await carry(carrier, row)

    fleet.cli.monkeypatch.setattr("mesh_refresh.keeper.transfer.copy_fleet._AT_A_TIME", 10)
    fleet.cli.monkeypatch.setattr(Carrier, "carry", interrupted)
    ran = fleet("copy", "--yes", "fleet.db", url)
    far = "20 logins moved. Moved logins stay in TO. Run it again for the rest."
    assert (ran.code, ran.err) == (code, f"mesh-refresh: interrupted. {far}\n")
    ran = fleet("copy", "--yes", "--no-wait", "fleet.db", url)
    assert (ran.code, ran.err) == (0, "mesh-refresh: 10 logins moved.\n")


def test_a_database_is_checked_and_pruned(database: OpenFleet, url: str) -> None:
    """What the server has noticed is found; a login that was written since it was seen stays."""
    database.add("user-7")
    found = json.loads(database("check", "--json").out)
    assert (found["ok"], found["logins"], found["findings"]) == (True, 1, [])
    schema = dict(parse_qsl(urlsplit(url).query))["schema"]

    async def spoil() -> None:
        connection = await asyncpg.connect(url.replace(f"&schema={schema}", "").replace(f"?schema={schema}", ""))
        text = "UPDATE pg_catalog.pg_index SET indisvalid = FALSE WHERE indexrelid = $1::text::regclass"
        await connection.execute(text, f"{schema}.login_states")
        await connection.close()

    asyncio.run(spoil())
    ran = database("check", "--json")
    assert ran.code == Exit.STORE
    assert [it["what"] for it in json.loads(ran.out)["findings"]] == [
        "The store is damaged: the index login_states is not valid."
    ]
    assert "0 logins removed" in database("prune", "--parked-before", "0s", "--yes").err
    assert "pg_dump" in database("backup", "backup.db").err
