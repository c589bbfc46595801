"""A store that fails is asked again: at first as often as ever, then less and less often."""

from collections import Counter

import pytest

from mesh_refresh.keeper import AccountRefreshed
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.stores import StoreError, StoreRefused, StoreUnavailable
from tests.keeper.stage import HOUR, FaultyStore, Stage

USUAL, LONGEST = 0.01, 10.0
"""Seconds: `Policy.poll` of a stage, and what it may grow to."""


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """How long the loop would have paused, each time. Here, nothing takes so long."""
    found: list[float | None] = []
    change = Runtime.change

    async def noted(core: Runtime, seconds: float | None, *, since: int | None = None) -> None:
        found.append(seconds)
        await change(core, 0.0, since=since)

    monkeypatch.setattr(Runtime, "change", noted)
    return found


async def test_the_pause_between_two_claims_grows_to_its_cap(stage: Stage, pauses: list[float | None]) -> None:
    """Each worker pauses by a chance of its own, so that a server that comes back is not asked by all at once."""
    store = FaultyStore(stage.store)
    store.lose("claim")
    async with stage.keeper(store=store, background=True), stage.keeper(store=store, background=True):
        await store.has_failed("claim", 60)
    known = [pause for pause in pauses if pause is not None]
    assert known[:2] == [USUAL, USUAL]
    assert min(known) >= USUAL
    assert LONGEST / 2 <= max(known) <= LONGEST
    assert len({pause for pause in known if pause >= LONGEST / 2}) > 10


@pytest.mark.parametrize("error", [StoreUnavailable, StoreRefused])
async def test_a_claim_that_succeeds_ends_that(
    stage: Stage, pauses: list[float | None], caplog: pytest.LogCaptureFixture, error: type[StoreError]
) -> None:
    """It is logged, once for each outage. Nor does a password end a keeper that is wrong while it is changed."""
    store = FaultyStore(stage.store)
    store.error = error
    store.lose("claim")
    async with stage.keeper(store=store, background=True) as keeper:
        await keeper.add("a", stage.fake.login("coinbase").token)
        stage.clock.advance(2 * HOUR)
        await store.has_failed("claim", 20)
        assert max(pause or 0 for pause in pauses) > USUAL
        store.come_back()
        await stage.notes.until(AccountRefreshed)
        assert pauses[-1] == USUAL
        assert [record.message for record in caplog.records if "the store" in record.message] == [
            "the store failed at a claim; it is asked again",
            "the store works again",
        ]
        assert keeper.health().ok


async def test_a_pair_that_cannot_be_written_is_logged_once_with_the_reason(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it is tried; and that it is written."""
    store = FaultyStore(stage.store)
    async with stage.keeper(store=store, background=True) as keeper:
        for name in "ab":
            await keeper.add(name, stage.fake.login("coinbase", access_lifetime=HOUR).token)
        store.lose("swap")
        stage.clock.advance(2 * HOUR)
        await store.has_failed("swap", 4)
        store.come_back()
        await stage.notes.until(AccountRefreshed, 2)
    told = Counter((record.message, getattr(record, "reason", None)) for record in caplog.records)
    assert told == {
        ("new tokens could not be written; they are kept, and it is tried again", str(StoreUnavailable())): 2,
        ("the new tokens are written now", None): 2,
    }
