"""Logging: one logger, structured facts, and not a secret in any record, at any level."""

import json
import logging
import traceback
from datetime import timedelta
from typing import Any

import pytest

from mesh_refresh import MeshRefreshError
from mesh_refresh.keeper import Keeper
from mesh_refresh.testing import Fault
from tests.keeper.stage import HOUR, MINUTE, FaultyStore, Stage

STANDARD = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def texts(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Everything that a formatter could write of each record, tracebacks and facts too."""
    found = []
    for record in caplog.records:
        extra = {name: value for name, value in record.__dict__.items() if name not in STANDARD}
        trace = "".join(traceback.format_exception(record.exc_info[1])) if record.exc_info else ""
        found.append(f"{record.getMessage()} {record.args!r} {extra!r} {trace}")
    return found


async def a_bad_day(stage: Stage, keeper: Keeper, store: FaultyStore) -> list[str]:
    """Everything that a keeper logs about, once; gives what its errors say."""
    said: list[str] = []
    for number, name in enumerate([*Fault.all(), "cut", "broken json"]):
        login = stage.fake.login("coinbase")
        await keeper.add(f"u{number}", login.token)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(Fault.all()[name], login=login)
        try:
            await keeper.tokens(f"u{number}", max_wait=timedelta(milliseconds=1))
        except MeshRefreshError as error:
            said.append(f"{error!r} {error}")
        await keeper.refresh_due()
        await keeper.remove(f"u{number - 3}")  # it was refreshed with the three that followed
    coded = stage.fake.login("vanguard", mfa=True)
    await keeper.add("v", coded.token)
    stage.clock.advance(2 * HOUR)
    await keeper.refresh_due()
    await keeper.add("s", stage.fake.login("coinbase").token)
    store.mute = ["swap"]
    await keeper.refresh("s")
    store.mute = ["swap"]
    for code in ("000000", coded.code):
        try:
            await keeper.submit_mfa("v", code)
        except MeshRefreshError as error:
            said.append(f"{error!r} {error}")
    return said


@pytest.mark.parametrize("fails", [False, True])
async def test_no_secret_is_ever_logged(
    stage: Stage, caplog: pytest.LogCaptureFixture, tmp_path: Any, fails: bool
) -> None:
    """Tokens, codes and the client secret, in every record at DEBUG."""
    store = FaultyStore(stage.store)

    def handler(event: Any) -> None:
        if fails:
            raise RuntimeError("no")

    with caplog.at_level(logging.DEBUG):
        async with stage.keeper(store=store, spool=tmp_path / "spool", resend_after=MINUTE, on_event=handler) as keeper:
            errors = await a_bad_day(stage, keeper, store)
    said = "\n".join((*texts(caplog), *errors))
    assert "mesh_refresh.keeper" in {record.name for record in caplog.records}
    assert "fake-refresh" not in said
    assert "fake-access" not in said
    assert stage.fake.client_secret not in said
    for login in stage.fake.logins.values():
        assert login.code not in said or login.broker != "vanguard"


async def test_records_have_facts_that_a_machine_can_read(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Each event has its name and its fields; login ids are there to search for."""
    with caplog.at_level(logging.INFO, "mesh_refresh.keeper"):
        async with stage.keeper() as keeper:
            await keeper.add("user-7", stage.fake.login("coinbase").token)
            await keeper.refresh("user-7")
    (record,) = [record for record in caplog.records if record.__dict__.get("event") == "AccountRefreshed"]
    facts = record.__dict__
    assert (facts["login_id"], facts["broker"], record.name) == ("user-7", "coinbase", "mesh_refresh.keeper")
    json.dumps({name: str(value) for name, value in facts.items() if name not in STANDARD})


async def test_a_store_that_fails_at_every_look_is_logged_once(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """And not a hundred times a second."""
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store, background=True, poll=timedelta(milliseconds=2)) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        store.lose("claim")
        await store.has_failed("claim", 10)
        store.come_back()
    assert sum("claim" in record.getMessage() for record in caplog.records) == 1


async def test_what_a_person_has_to_see_is_a_warning(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """A breaker that opens, a login that must be made anew."""
    async with stage.keeper(resend_after=MINUTE) as keeper:
        login = stage.fake.login("coinbase")
        await keeper.add("a", login.token)
        login.refused = True
        stage.clock.advance(2 * HOUR)
        await keeper.refresh_due()
        stage.clock.advance(MINUTE)
        await keeper.refresh_due()
        await keeper.add("b", stage.fake.login("kraken").token)
        stage.clock.advance(2 * HOUR)
        stage.fake.fail(Fault.client_refused())
        await keeper.refresh_due()
    warned = {record.__dict__.get("event") for record in caplog.records if record.levelno == logging.WARNING}
    assert {"ReconnectRequired", "BreakerOpened"} <= warned
