"""The server starts again while claims and swaps are under way in it, with a plain stop and as after a crash."""

import asyncpg
import pytest

from mesh_refresh.keeper import AccountState
from tests.keeper.processes.postgres import Mode, Server
from tests.keeper.processes.scene import Scene, until

pytestmark = pytest.mark.once

MANY = 8
_HOLD = """
CREATE FUNCTION {schema}.hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_postmaster_start_time() = '{started}' THEN PERFORM pg_sleep(600); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER hold BEFORE UPDATE ON {schema}.login FOR EACH ROW EXECUTE FUNCTION {schema}.hold();
"""
"""Until the server starts again, what changes a login does not come to an end."""
_UNDER_WAY = """
SELECT array_agg(DISTINCT substring(query FROM '^(UPDATE|WITH RECURSIVE)')) FROM pg_stat_activity
WHERE wait_event = 'PgSleep' AND application_name = 'mesh_refresh'
"""


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_server_that_restarts_under_claims_and_swaps_costs_nothing(
    postgres_scene: Scene, server: Server, mode: Mode
) -> None:
    """Two keepers: what they have rotated is written when it is back, and what they had claimed is refreshed."""
    scene = postgres_scene
    # However long it takes to be back, nobody sends what is spent: there is time to write what came instead.
    scene.policy |= {"lease": 20.0, "resend_after": 20.0}
    scene.deadline, scene.busy = 10.0, 60.0
    await scene.add(scene.fake.login("coinbase", revokes_on_reuse=True) for _ in range(MANY))
    gate = scene.fake.hold(after_rotation=True, times=MANY)
    workers = [await scene.worker() for _ in range(2)]
    await gate.arrivals(MANY)
    address, _, schema = scene.where.partition("&schema=")
    looker = await asyncpg.connect(address)
    started = await looker.fetchval("SELECT pg_postmaster_start_time()::text")
    await looker.execute(_HOLD.format(schema=schema, started=started))
    await scene.add(scene.fake.login("coinbase", revokes_on_reuse=True) for _ in range(MANY))
    gate.release()
    await until(lambda: looker.fetchval(_UNDER_WAY), lambda kinds: kinds == ["UPDATE", "WITH RECURSIVE"])
    await server.restart(mode)
    looker.terminate()
    await until(lambda: scene.fake.exchanges["succeeded"] >= 2 * MANY)
    await until(scene.lost, lambda lost: not lost)
    await until(lambda: scene.spooled == 0)
    assert [await worker.end() for worker in workers] == [0, 0]
    await scene.assert_whole()
    assert {account.state for _, account in await scene.accounts()} == {AccountState.ACTIVE}
